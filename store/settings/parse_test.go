package settings

import (
	"errors"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"vserver/guest"
)

const web1 = `# the shop's front
xid: 12
hostname: web1.example.org
root:
  lower: [bookworm] # the image
init:
  style: plain
  stop_timeout: 2m
  environment:
    LANG: C.UTF-8
network:
  addresses:
    - 192.0.2.10/24
    - 2001:db8::10/64
limits:
  memory: 512M
  cpus: 1.5
  rlimits: {nofile: "1024:4096"}
boot:
  depends: [db1]
restart: on-failure
`

func TestParse(t *testing.T) {
	got, err := Parse("web1.yaml", []byte(web1))
	if err != nil {
		t.Fatal(err)
	}
	want := &guest.Spec{
		XID: 12, Hostname: "web1.example.org", Restart: guest.RestartOnFailure,
		Root: guest.Root{Lower: []string{"bookworm"}},
		Init: guest.Init{Style: guest.InitPlain, StopTimeout: guest.Duration(2 * time.Minute), Environment: map[string]string{"LANG": "C.UTF-8"}},
		Network: guest.Network{Addresses: []guest.Address{
			{Prefix: netip.MustParsePrefix("192.0.2.10/24")}, {Prefix: netip.MustParsePrefix("2001:db8::10/64")}}},
		Limits: guest.Limits{Memory: 512 << 20, CPUs: 1.5, Rlimits: map[string]guest.Rlimit{"nofile": {Soft: 1024, Hard: 4096}}},
		Boot:   guest.Boot{Depends: []guest.Name{"db1"}},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

// TestText takes what YAML would call a number or a truth as the text that it looks
// like, where text is wanted.
func TestText(t *testing.T) {
	spec, err := Parse("a.yaml", []byte(`
init:
  style: sysv
  runlevel: 3
  environment: {V: 1.10, B: true, D: 2024-01-01, Q: "x", N: "null", H: 0x10}
boot: {depends: [10]}
`))
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"V": "1.10", "B": "true", "D": "2024-01-01", "Q": "x", "N": "null", "H": "0x10"}
	if spec.Init.Runlevel != "3" || !reflect.DeepEqual(spec.Init.Environment, want) || spec.Boot.Depends[0] != "10" {
		t.Errorf("%+v", spec)
	}
}

// TestProblems holds the exact text of complaints: this is what a user works with.
func TestProblems(t *testing.T) {
	for text, want := range map[string]string{
		"xdi: 8":                                 "1:1: xdi: no such key; did you mean xid?",
		"memory: 1G":                             "1:1: memory: no such key here; did you mean limits.memory?",
		"limits: {xid: 8}":                       "1:10: limits.xid: no such key here; did you mean xid?",
		"boot:\n  what: ever":                    "2:3: boot.what: no such key; want marks, depends",
		"xid: 8\nxid: 9":                         "2:1: xid: is there twice, first in line 1",
		"limits:\n  rlimits: {core: 1, core: 2}": "2:22: limits.rlimits.core: is there twice",
		"xid: eight":                             `1:6: xid: xid "eight": want a number from 2 to 49151`,
		"xid: ~":                                 "1:6: xid: has no value; leave the key out for the default",
		"xid: [8]":                               "1:6: xid: want one value, not a list",
		"xid: {a: b}":                            "1:6: xid: want one value, not keys",
		"xid: 010":                               "1:6: xid: 010: want a plain decimal number",
		"limits: {pids: 0x10}":                   "1:16: limits.pids: 0x10: want a plain decimal number",
		"limits: {pids: 0}":                      `1:16: limits.pids: "0" is no value; leave the key out for the default (4096)`,
		"limits: {pids: 99999999999999999999}":   `1:16: limits.pids: "99999999999999999999": want a whole number, as 4096`,
		"idbase: 4294967296":                     "1:9: idbase: 4294967296: is out of range",
		"limits: {cpus: two}":                    `1:16: limits.cpus: "two": want a number, as 1.5`,
		"limits: {cpus: .nan}":                   `1:16: limits.cpus: ".nan": want a number, as 1.5`,
		"rights: {nesting: yes}":                 `1:19: rights.nesting: "yes": want true or false`,
		"userns: privat":                         `1:9: userns: "privat": want private, none; did you mean private?`,
		"init:\n  command: /sbin/init":           "2:12: init.command: want a list, as [/sbin/init]",
		"limits: 5":                              "1:9: limits: want keys and values below it",
		"- a":                                    "1:1: want keys and values, as xid: 8",
		"network: {addresses: [10.0.0.1]}":       `1:23: network.addresses[0]: "10.0.0.1": want its prefix length as well, as 10.0.0.1/32`,
		"network: {dns: [ns1]}":                  `1:17: network.dns[0]: "ns1": want an IPv4 or IPv6 address`,
		"init: {style: command}":                 "1:1: init.command: style command needs it",
		"boot:\n  depends: [db1, web1]":          "2:18: boot.depends[1]: a guest cannot depend on itself",
		"limits:\n\tpids: 5":                     "2:1: a tab cannot indent; use spaces",
		"limits:\n  pids: 5: 6":                  "2:3: mapping values are not allowed in this context",
		"xid: 8\n---\nxid: 9":                    "2:1: a second document begins; want one",
		"xid: !!str 8":                           "1:6: xid: the tag !!str has no place here",
		"xid: 8 # \u202e":                        "1:10: the character U+202E has no place in a spec",
		"# ä\x07":                                "1:4: the character U+0007 has no place in a spec",
		"# \xff":                                 "1:3: the byte 0xff is not UTF-8",
		"init: {environment: {A: \"\\x00\"}}":    `1:25: init.environment.A: "\x00": has a control character`,
		"init: {environment: &a {A: *a}}":        "1:28: init.environment.A: want one value, not keys",
		"boot: &b {}\n<<: *b":                    "2:1: <<: merged keys are not supported; write them out",
		"[a]: b":                                 "1:1: want a word as key",
	} {
		_, err := Parse("/etc/vservers/web1.yaml", []byte(text))
		var ps Problems
		if !errors.As(err, &ps) || !errors.Is(err, guest.ErrInvalid) {
			t.Errorf("%q: %v", text, err)
			continue
		}
		if got := strings.TrimPrefix(err.Error(), "/etc/vservers/web1.yaml:"); got != want {
			t.Errorf("%q:\ngot  %s\nwant %s", text, got, want)
		}
	}
}

// TestAllProblems tells several problems at once, in the order of the file, and no
// second one that only follows from the first.
func TestAllProblems(t *testing.T) {
	_, err := Parse("w.yaml", []byte(`xid: many
limits:
  memroy: 3
  pids: lots
  memory: 512
init: {style: command, command: 5}
network: {mode: host, addresses: [192.0.2.0/24, 1.2.3.4]}
hooks: [a]
`))
	want := `w.yaml:1:6: xid: xid "many": want a number from 2 to 49151
w.yaml:3:3: limits.memroy: no such key; did you mean memory?
w.yaml:4:9: limits.pids: "lots": want a whole number, as 4096
w.yaml:5:11: limits.memory: 512: is too few bytes; was 512M meant?
w.yaml:6:33: init.command: want a list, as [5]
w.yaml:7:35: network.addresses[0]: 192.0.2.0/24: is the address of the network itself; the guest needs one of its machines, such as 192.0.2.1
w.yaml:7:49: network.addresses[1]: "1.2.3.4": want its prefix length as well, as 1.2.3.4/32
w.yaml:8:8: hooks: want keys and values below it`
	if err == nil || err.Error() != want {
		t.Errorf("got\n%v\nwant\n%s", err, want)
	}
	var many strings.Builder
	for i := range 1000 {
		fmt.Fprintf(&many, "k%d: 1\n", i)
	}
	_, err = Parse("w.yaml", []byte(many.String()))
	if lines := strings.Split(err.Error(), "\n"); len(lines) != shown+1 || lines[shown] != "w.yaml: and 980 more" {
		t.Errorf("%d lines, the last %q", len(lines), lines[len(lines)-1])
	}
}

// TestBounds gives texts that would cost much, and checks that they are refused
// quickly.
func TestBounds(t *testing.T) {
	for name, text := range map[string]string{
		"size":    strings.Repeat("#", MaxSize+1),
		"deep":    strings.Repeat("[", 100000),
		"deeper":  "init: " + strings.Repeat("{a: ", 9000) + strings.Repeat("}", 9000),
		"aliases": "root: {lower: &a [x]}\ninit: {environment: {" + strings.Repeat("k: *a, ", 100) + "}}",
		"laughs":  laughs(),
	} {
		start := time.Now()
		if _, err := Parse("x.yaml", []byte(text)); !errors.Is(err, guest.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
		if took := time.Since(start); took > 20*time.Second {
			t.Errorf("%s: took %v", name, took)
		}
	}
	if _, err := Parse("x.yaml", []byte("root: {lower: &a [x, y]}\nboot: {marks: *a}\n")); err != nil {
		t.Errorf("an alias: %v", err)
	}
}

func laughs() string {
	text := "a0: &a0 [x, x]\n"
	for i := 1; i < 30; i++ {
		text += fmt.Sprintf("a%d: &a%d [*a%d, *a%d]\n", i, i, i-1, i-1)
	}
	return text + "root: {lower: *a29}\n"
}

// TestOddYAML gives the corners of the language; none may end in a panic.
func TestOddYAML(t *testing.T) {
	for _, text := range []string{"#\n-", "a: &x\n- *x", ": :", "? ", "{,}", "!<", "\ufeff", "--- |2\n x", "%YAML 1.1\n---\n"} {
		Parse("x.yaml", []byte(text))
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(web1))
	for _, s := range []string{"xid: 8", "a: &a [*a]", "init: {environment: {A: \"\\u0000\"}}", "? a\n: b", "limits:\n- 1", "xid: |\n  8\n", "\ufeffxid: 8"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		spec, err := Parse("a.yaml", text)
		if err != nil {
			var ps Problems
			if !errors.As(err, &ps) {
				t.Fatalf("no Problems: %v", err)
			}
			lines := strings.Count(string(text), "\n") + 1
			for _, p := range ps {
				if p.Line < 1 || p.Line > lines || p.Column < 1 {
					t.Fatalf("place %d:%d of a text of %d lines: %v", p.Line, p.Column, lines, p)
				}
			}
			return
		}
		again, err := Parse("a.yaml", Render("a", spec))
		if err != nil {
			t.Fatalf("what was written is not read: %v\n%s", err, Render("a", spec))
		}
		if meaning(again) != meaning(spec) {
			t.Fatalf("written and read again it differs:\n%s\n%s", meaning(spec), meaning(again))
		}
		full := spec.WithDefaults("a")
		if text, err := Get(&full, ""); err != nil {
			t.Fatal(err)
		} else if again, err = Parse("a.yaml", []byte(text)); err != nil {
			t.Fatalf("all of it is not read: %v\n%s", err, text)
		} else if meaning(again) != meaning(&full) {
			t.Fatalf("all of it differs:\n%s\n%s", meaning(&full), meaning(again))
		}
	})
}

var update = flag.Bool("update", false, "write the golden files anew")

func TestRender(t *testing.T) {
	spec, err := Parse("web1.yaml", []byte(web1))
	if err != nil {
		t.Fatal(err)
	}
	spec.Init.Command = []string{"/sbin/init", "a, b", "-x", "null", "3", "tab\tless", "#", "x: y", "", "ä"}
	spec.Network.DNS = []netip.Addr{}
	got := Render("web1", spec)
	if *update {
		if err := os.WriteFile("testdata/render.golden", got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile("testdata/render.golden")
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != string(want) {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if text := string(Render("a", &guest.Spec{})); strings.Count(text, "\n") != 2 {
		t.Errorf("a spec that says nothing:\n%s", text)
	}
}

func BenchmarkParse(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Parse("x.yaml", []byte(web1)); err != nil {
			b.Fatal(err)
		}
	}
}
