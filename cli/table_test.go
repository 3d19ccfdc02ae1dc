package cli

import (
	"flag"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"vserver/guest"
	"vserver/host"
	"vserver/internal/need"
	"vserver/manual"
	"vserver/store/settings"
)

func TestMain(m *testing.M) { need.Main(m) }

var update = flag.Bool("update", false, "write the generated files anew")

// aTool is a tool that nobody runs, for its texts.
func aTool(t *testing.T) *tool {
	return &tool{program: "vserver", host: host.Open(guest.DefaultDirs("")), in: os.Stdin, out: &output{File: os.Stdout}, err: os.Stderr}
}

// Every verb is a name that no guest may have, and the other way round.
func TestVerbsAreReserved(t *testing.T) {
	var verbs []string
	for _, e := range table() {
		verbs = append(verbs, e.name)
	}
	slices.Sort(verbs)
	if reserved := slices.Sorted(slices.Values(guest.Verbs)); !slices.Equal(verbs, reserved) {
		t.Errorf("the table has\n%q\nguest.Verbs has\n%q", verbs, reserved)
	}
	if i := slices.IndexFunc(verbs, func(v string) bool { _, err := guest.ParseName(v); return err == nil }); i >= 0 {
		t.Errorf("a guest may be called %s", verbs[i])
	}
}

// Every command has the texts that help, man pages and doc/cli.md are made of, and
// none is wider than a terminal.
func TestPages(t *testing.T) {
	for _, e := range table() {
		p := e.page(e.construct(aTool(t)))
		if p.Long == "" || len(p.Examples) == 0 || p.Short == "" {
			t.Errorf("%s: text, example or summary is missing", e.name)
		}
		if len(e.name) > 14 || strings.HasSuffix(e.short, ".") {
			t.Errorf("%s: %q does not fit the overview", e.name, e.short)
		}
		for line := range strings.Lines(p.Help(true)) {
			if len(line) > manual.Width+1 && !strings.HasPrefix(line, "  vserver ") {
				t.Errorf("%s: %d columns: %s", e.name, len(line), line)
			}
		}
		for _, s := range p.Sections {
			for _, o := range s.Options {
				if o.Text == "" {
					t.Errorf("%s --%s: no text", e.name, o.Long)
				}
			}
		}
		for _, x := range p.Examples {
			for _, problem := range wrongCommands("`" + x + "`") {
				t.Errorf("%s: example %q: %s", e.name, x, problem)
			}
		}
	}
}

var commandRE = regexp.MustCompile(`(?:^|[^.\w])vserver ([A-Za-z0-9_.-]+)(?: ([A-Za-z0-9_.-]+))?`)

// wrongCommands finds command lines of ours in a text that have no verb.
func wrongCommands(text string) (problems []string) {
	for _, m := range commandRE.FindAllStringSubmatch(text, -1) {
		if !isVerb(m[1]) && !isVerb(m[2]) && m[1] != "--version" {
			problems = append(problems, m[0]+": no such command")
		}
	}
	return problems
}

// Hints of the whole program name commands that exist. What is put together from
// parts is checked up to the first part that is not a literal.
func TestHintsNameCommands(t *testing.T) {
	found := 0
	root := ".."
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
		if err != nil {
			return nil // another's work on its way; the compiler says more of it
		}
		ast.Inspect(file, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			var hint ast.Expr
			switch name := callee(call); {
			case name == "fault.Hint" && len(call.Args) == 2:
				hint = call.Args[1]
			case name == "usageHint" && len(call.Args) > 1:
				hint = call.Args[0]
			default:
				return true
			}
			found++
			text, whole := literals(hint)
			for _, problem := range wrongCommands(text) {
				t.Errorf("%s: hint %q: %s", path, text, problem)
			}
			if whole && !namesAWay(text) {
				t.Errorf("%s: hint %q names no command, file or setting", path, text)
			}
			return true
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if found < 20 {
		t.Errorf("found %d hints only", found)
	}
}

// namesAWay says whether a text names a command, a file or a setting.
func namesAWay(text string) bool {
	return strings.ContainsAny(text, "/`") || strings.Contains(text, "CONFIG_") || strings.Contains(text, "vserver ") || regexp.MustCompile(`\b(vkill|vserverd) `).MatchString(text) ||
		slices.ContainsFunc(settings.Keys(), func(k settings.Key) bool { return strings.Contains(text, k.Path) })
}

func callee(call *ast.CallExpr) string {
	switch f := call.Fun.(type) {
	case *ast.Ident:
		return f.Name
	case *ast.SelectorExpr:
		if x, ok := f.X.(*ast.Ident); ok {
			return x.Name + "." + f.Sel.Name
		}
	}
	return ""
}

// literals joins the parts of a text; a part that is computed stands as "…", and
// whole is false then.
func literals(e ast.Expr) (text string, whole bool) {
	switch e := e.(type) {
	case *ast.BasicLit:
		s, err := strconv.Unquote(e.Value)
		return s, err == nil
	case *ast.BinaryExpr:
		a, wholeA := literals(e.X)
		b, wholeB := literals(e.Y)
		return a + b, wholeA && wholeB
	case *ast.ParenExpr:
		return literals(e.X)
	}
	return "…", false
}

// doc/cli.md is made from the live help.
func TestDocIsCurrent(t *testing.T) {
	const path = "../doc/cli.md"
	want := aTool(t).markdown()
	if *update {
		if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if err != nil || string(got) != want {
		t.Errorf("%s is not current (%v): go test ./cli -run TestDocIsCurrent -update", path, err)
	}
}
