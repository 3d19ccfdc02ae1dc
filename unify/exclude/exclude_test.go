package exclude

import (
	"strings"
	"testing"
)

func TestList(t *testing.T) {
	conf, err := Conffiles(strings.NewReader(`Package: a
Conffiles:
 /usr/share/a/a[1].conf 0123456789abcdef
 /etc/a obsolete
Description: text
 /usr/no/conffile

Package: b
Conffiles:
 newconffile nothing
`))
	if err != nil || conf != "-/usr/share/a/a\\[1].conf\n-/etc/a\n" {
		t.Fatalf("%q, %v", conf, err)
	}
	x, err := Parse(strings.NewReader(conf), strings.NewReader(Usual), strings.NewReader(`
# a comment
+/opt/keep/*
- /not/trimmed
/opt
~/secret
/w[!a]t
`))
	if err != nil {
		t.Fatal(err)
	}
	for p, want := range map[string]bool{
		"/usr/bin/ls": true, "/usr/share/a/a[1].conf": false, "/usr/share/a/a1.conf": true, "/etc/passwd": false,
		"/etc/termcap": true, // no pattern matches the directory itself
		"/var/lib/x/y": false, "/variety": true, "/usr/lib/ls-R": false, "/opt/a": false, "/opt/keep/a": false,
		"/secret/a": false, "/wet": false, "/wat": true, "/f": true, "/etc2/f": true,
	} {
		if got := x.Wanted(p); got != want {
			t.Errorf("%s: %v", p, got)
		}
	}
	for _, bad := range []string{"[", "+", "/a[b"} {
		if _, err := Parse(strings.NewReader(bad)); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}

func FuzzList(f *testing.F) {
	f.Add(Usual, "/usr/bin/ls")
	f.Add("+[a-", "/a")
	f.Fuzz(func(t *testing.T, list, p string) {
		if x, err := Parse(strings.NewReader(list)); err == nil && strings.HasPrefix(p, "/") {
			first, second := x.Wanted(p), x.Wanted(p)
			if first != second {
				t.Error("undecided")
			}
		}
		text, err := Conffiles(strings.NewReader(list))
		if err != nil {
			return
		}
		if _, err := Parse(strings.NewReader(text)); err != nil {
			t.Errorf("%q gives %q: %v", list, text, err)
		}
	})
}
