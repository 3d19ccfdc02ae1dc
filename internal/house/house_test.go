package house

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"vserver/internal/need"
)

func TestMain(m *testing.M) { need.Main(m) }

// moduleRoot is where the module begins, seen from here.
const moduleRoot = "../.."

// TestRules holds this module against the rules of the house.
func TestRules(t *testing.T) {
	tree, err := Load(moduleRoot)
	if err != nil {
		t.Fatal(err)
	}
	findings, excused := Check(tree, Rules()...)
	for _, f := range findings {
		t.Error(f)
	}
	t.Logf("%d exceptions:", len(excused))
	for _, e := range excused {
		t.Log(e)
	}
}

// TestProportion wants enough test for the source. Half as much, and not 0.8: tests of
// whole lives through the real program, as scripts and on real distributions, cover
// much with few lines. Those scripts count as the tests they are. What is below internal
// serves the tests, bench measures: they are neither.
func TestProportion(t *testing.T) {
	tree, err := Load(moduleRoot)
	if err != nil {
		t.Fatal(err)
	}
	const least = 0.5
	var source, test int
	for _, f := range tree.Files {
		switch {
		case f.Made, !f.Test && (strings.HasPrefix(f.Path, "internal/") || strings.HasPrefix(f.Path, "bench/")):
		case f.Test:
			test += f.Lines
		default:
			source += f.Lines
		}
	}
	scripts, err := filepath.Glob(moduleRoot + "/*/testdata/script/*.txtar")
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range scripts {
		text, err := os.ReadFile(s)
		if err != nil {
			t.Fatal(err)
		}
		test += bytes.Count(text, []byte("\n"))
	}
	ratio := float64(test) / float64(source)
	t.Logf("%d lines of source, %d of test: %.2f", source, test, ratio)
	if ratio < least {
		t.Errorf("%.2f lines of test to a line of source, want %.1f", ratio, least)
	}
}

// tool runs a program at the module's root and wants it to find nothing: no output,
// no failure. What it says on stderr may be of downloads.
func tool(t *testing.T, name string, args ...string) {
	t.Helper()
	need.Long(t)
	c := exec.Command(need.Command(t, name), args...)
	c.Dir = moduleRoot
	var warnings strings.Builder
	c.Stderr = &warnings
	out, err := c.Output()
	if err != nil || len(out) > 0 {
		t.Errorf("%s %s: %v\n%s%s", name, strings.Join(args, " "), err, out, &warnings)
	}
}

func TestGofmt(t *testing.T) {
	dirs, err := filepath.Glob(moduleRoot + "/[a-z]*")
	if err != nil {
		t.Fatal(err)
	}
	args := []string{"-l", "-s"}
	for _, d := range dirs {
		if info, err := os.Stat(d); err == nil && info.IsDir() && filepath.Base(d) != "dist" && filepath.Base(d) != "bin" {
			args = append(args, filepath.Base(d))
		}
	}
	tool(t, "gofmt", args...)
}

func TestVet(t *testing.T) { tool(t, "go", "vet", "./...") }

func TestStaticcheck(t *testing.T) { tool(t, "go", "tool", "staticcheck", "./...") }

// TestTidy wants go.mod and go.sum to say what is used, no more and no less.
func TestTidy(t *testing.T) { tool(t, "go", "mod", "tidy", "-diff") }

// TestPrinciples wants a line in defence of every library that is asked for by name.
func TestPrinciples(t *testing.T) {
	text, err := os.ReadFile(moduleRoot + "/doc/principles.md")
	if err != nil {
		t.Fatal(err)
	}
	mod, err := os.ReadFile(moduleRoot + "/go.mod")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(mod)) {
		f := strings.Fields(strings.TrimPrefix(line, "require "))
		if len(f) >= 2 && strings.Contains(f[0], ".") && !strings.Contains(line, "// indirect") && !strings.Contains(string(text), "`"+f[0]+"`") {
			t.Errorf("doc/principles.md has no line for `%s`", f[0])
		}
	}
}
