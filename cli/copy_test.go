package cli

import (
	"testing"

	"vserver/guest"
)

func TestDestination(t *testing.T) {
	for word, want := range map[string][2]string{
		"host":                    {"host", "web1"},
		"root@host.example":       {"root@host.example", "web1"},
		"root@host:web2":          {"root@host", "web2"},
		"host:web2":               {"host", "web2"},
		"2001:db8::1":             {"2001:db8::1", "web1"},
		"root@2001:db8::1":        {"root@2001:db8::1", "web1"},
		"root@[2001:db8::1]:web2": {"root@2001:db8::1", "web2"},
		"[2001:db8::1]":           {"2001:db8::1", "web1"},
		"":                        {},
		"-oProxyCommand=x":        {},
		"root@":                   {},
		"@host":                   {},
		"host:":                   {},
		"host:../x":               {},
		"a b":                     {},
		"[::1]web2:x":             {},
	} {
		to, n, err := destination(word, "web1")
		if got := [2]string{to, string(n)}; got != want || (err == nil) != (to != "") {
			t.Errorf("%q: %q, %v, want %q", word, got, err, want)
		}
	}
}

func TestQuoted(t *testing.T) {
	f := importFlags{xid: 40, ips: []string{"192.0.2.1/24"}}
	f.wishes.sets, f.Fresh = []string{"hostname=it's; rm *"}, true
	want := `vserver import web2 - --trust --xid 40 --new-identity --ip 192.0.2.1/24 --set 'hostname=it'\''s; rm *'`
	if got := quoted(f.words(guest.Name("web2"))); got != want {
		t.Errorf("%s, want %s", got, want)
	}
}
