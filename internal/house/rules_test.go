package house

import (
	"slices"
	"strings"
	"testing"
)

// parse makes a tree from files: "== path" begins each.
func parse(t *testing.T, text string) *Tree {
	t.Helper()
	tree, err := Load(t.TempDir()) // an empty one
	if err != nil {
		t.Fatal(err)
	}
	for part := range strings.SplitSeq(text, "== ") {
		if name, src, ok := strings.Cut(part, "\n"); ok && name != "" {
			if err := tree.add(name, []byte(src)); err != nil {
				t.Fatal(err)
			}
		}
	}
	return tree
}

// lines gives findings as text.
func lines(findings []Finding) []string {
	var out []string
	for _, f := range findings {
		out = append(out, f.String())
	}
	return out
}

// TestEachRule breaks each rule once and keeps it once beside that.
func TestEachRule(t *testing.T) {
	for _, c := range []struct {
		name string
		rule Rule
		text string
		want []string
	}{
		{"init", NoInit, "== a/a.go\npackage a\nfunc init() {}\nfunc (x t) init() {}\n", []string{"a/a.go:2: func init"}},
		{"a name for no thing", Names, "== a/utils/x.go\npackage utils\n== utility/x.go\npackage utility\n",
			[]string{"a/utils/x.go:1: package utils is named for no thing"}},
		{"no text", Documented, "== a/a.go\npackage a\nfunc F() {}\nfunc (t) F() {}\nfunc (T) String() {}\n// G does.\nfunc G() {}\ntype T int\n// Group.\nconst (\n\tA = 1\n)\nvar V = 1\n",
			[]string{
				"a/a.go:2: exported F has no text", "a/a.go:7: exported T has no text",
				"a/a.go:12: exported V has no text", "a/a.go:1: package a has no text",
			}},
		{"variables that change", State, `== a/a.go
package a
var counted int
var changed = 1
var fixed = []int{1}
var taken = 1
var ErrOne = errors.New("x")
var re = regexp.MustCompile("x")
var small = map[int]int{1: 1}
var large = map[int]int{1: 1, 2: 1, 3: 1, 4: 1, 5: 1, 6: 1, 7: 1, 8: 1, 9: 1}
//go:embed x
var file string
var _ = f
func f() { changed = 2; fixed := 3; fixed = 4; g(&taken); small[1] = 1 }
`, []string{
			"a/a.go:2: variable counted of the package begins as nothing, so it is made to change",
			"a/a.go:3: variable changed of the package is changed",
			"a/a.go:5: variable taken of the package is changed",
			"a/a.go:7: variable re of the package is made by regexp.MustCompile at every start: sync.OnceValue makes it when wanted",
			"a/a.go:8: variable small of the package is changed",
			"a/a.go:9: variable large of the package is a map filled at every start: a function or sync.OnceValue makes it when wanted",
		}},
		{"errors", Errors, `== a/a.go
package a
var a = fmt.Errorf("x %d %%: %v", 1, err)
var b = fmt.Errorf("%s: %w", name, err)
var c = fmt.Errorf("%*d %s", 3, 4, e.openErr)
var d = errors.New("Cannot open")
var e = errors.New("EINTR came.")
var f = fmt.Errorf("error in %q", x)
var g = "we failed to do it"
`, []string{
			"a/a.go:2: %v of an error: %w keeps the cause",
			"a/a.go:4: %s of an error: %w keeps the cause",
			"a/a.go:5: an error begins with a capital: \"Cannot\"",
			"a/a.go:6: an error ends with a full stop",
			"a/a.go:7: an error says that it is one",
			"a/a.go:8: text with \"failed to\": say what, and why",
		}},
		{"places", Paths, "== a/a.go\npackage a\nvar x = \"/etc/vservers/web1.yaml\"\nvar y = \"see /etc/vservers\"\n== guest/d.go\npackage guest\nvar z = \"/run/vserver\"\n",
			[]string{"a/a.go:2: place /etc/vservers written out: guest.Dirs has it"}},
		{"long", Sizes, "== a/a.go\npackage a\nfunc f() {" + strings.Repeat("\n", 60) + "}\n" + strings.Repeat("\n", 400) + "== a/a_test.go\npackage a\nfunc g() {" + strings.Repeat("\n", 60) + "}\n",
			[]string{"a/a.go:1: file of 462 lines, budget 400", "a/a.go:2: func f of 61 lines, budget 60"}},
		{"methods", Sizes, "== a/a.go\npackage a\ntype T[X any] int\n" + strings.Repeat("func (t *T[X]) M() {}\nfunc (t *T[X]) m() {}\n", 26), []string{"a/a.go:2: type T has 26 exported methods, budget 25"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := lines(c.rule(parse(t, c.text))); !slices.Equal(got, c.want) {
				t.Errorf("got:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(c.want, "\n"))
			}
		})
	}
}

// imports is a table for the tests below.
const imports = `# layers
words: guest
ground: kernel/*
middle: daemon/proto store/*
top: daemon
tests: internal/*
also: kernel/a kernel/b because
only: log nobody
only: log/slog daemon
only: example.com/x store/*
`

func TestDirections(t *testing.T) {
	table, err := parseTable(imports)
	if err != nil {
		t.Fatal(err)
	}
	tree := parse(t, `== guest/g.go
package guest
import "vserver/kernel/a"
== kernel/a/a.go
package a
import "vserver/kernel/b"
== kernel/b/b.go
package b
import "vserver/kernel/a"
== kernel/b/b_test.go
package b
import "vserver/internal/need"
import "vserver/store"
== kernel/b/outside_test.go
package b_test
import "vserver/store"
== daemon/proto/p.go
package proto
import "vserver/daemon"
import "vserver/guest"
== daemon/d.go
package daemon
import "vserver/daemon/proto"
import "vserver/internal/need"
== store/s.go
package store
import "vserver/store/layout"
import "vserver/daemon/proto"
== other/o.go
package other
import "vserver/guest"
`)
	want := []string{
		"guest/g.go:2: guest may not import kernel/a",
		"kernel/b/b.go:2: kernel/b may not import kernel/a",
		"kernel/b/b_test.go:3: kernel/b may not import store",
		"daemon/proto/p.go:2: daemon/proto may not import daemon",
		"daemon/d.go:3: daemon may not import internal/need",
		"store/s.go:3: store may not import daemon/proto",
		"other/o.go:1: package other has no layer in internal/house/imports.txt",
	}
	if got := lines(table.directions(tree)); !slices.Equal(got, want) {
		t.Errorf("got:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestForeign(t *testing.T) {
	table, err := parseTable(imports)
	if err != nil {
		t.Fatal(err)
	}
	tree := parse(t, `== store/s.go
package store
import "log"
import "log/slog"
import "strings"
import "example.com/x/deep"
import "example.com/xy"
== store/s_test.go
package store
import "log"
== daemon/d.go
package daemon
import "log/slog"
`)
	want := []string{
		"store/s.go:2: store may not import log; nobody may",
		"store/s.go:3: store may not import log/slog; daemon may",
		"store/s.go:6: example.com/xy is not in internal/house/imports.txt",
	}
	if got := lines(table.foreign(tree)); !slices.Equal(got, want) {
		t.Errorf("got:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestTableErrors(t *testing.T) {
	for text, want := range map[string]string{
		"words":            "imports.txt:1: cannot be read",
		"a: b\nalso: x":    "imports.txt:2: cannot be read",
		"also: x y":        "imports.txt:1: no reason",
		"\n# c\n\nonly: x": "imports.txt:4: cannot be read",
	} {
		if _, err := parseTable(text); err == nil || err.Error() != want {
			t.Errorf("%q: error %v, want %s", text, err, want)
		}
	}
}

func TestExcuses(t *testing.T) {
	tree := parse(t, `== a/a.go
package a
func init() {} //house:allow first of all

//house:allow second of all
func init() {}

//house:allow
func init() {}

//house:allow nothing here
func other() {}
`)
	findings, excused := Check(tree, NoInit)
	want := []string{
		"a/a.go:7: an exception without a reason",
		"a/a.go:8: func init",
		"a/a.go:10: an exception that excuses nothing: nothing here",
	}
	if got := lines(findings); !slices.Equal(got, want) {
		t.Errorf("got:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	wantExcused := []string{"a/a.go:2: first of all (func init)", "a/a.go:4: second of all (func init)"}
	if !slices.Equal(excused, wantExcused) {
		t.Errorf("excused %q, want %q", excused, wantExcused)
	}
}
