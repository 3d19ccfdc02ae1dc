package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// lines makes the JSON of a tier from a short form: "pkg test action [output]".
func lines(short ...string) string {
	var b strings.Builder
	for _, s := range short {
		f := strings.SplitN(s, " ", 4)
		name := f[1]
		if name == "-" {
			name = ""
		}
		b.WriteString(`{"Action":"` + f[2] + `","Package":"` + f[0] + `","Test":"` + name + `"`)
		if len(f) > 3 {
			b.WriteString(`,"Output":"` + f[3] + `\n"`)
		}
		b.WriteString("}\n")
	}
	return b.String()
}

func TestTier(t *testing.T) {
	for _, c := range []struct {
		name  string
		in    string
		ok    bool
		wants []string
	}{
		{"all well", lines("a T run", "a T pass", "a S run", "a S skip", "a - pass"), true,
			[]string{"ok   a", "tier x: 1 passed, 0 failed, 1 skipped"}},
		{"a failure shows its output", lines("a T run", "a T output wrong!", "a T fail", "a - fail"), false,
			[]string{"FAIL a", "wrong!", "0 passed, 1 failed, 0 skipped"}},
		{"no end is a failure", lines("a T run", "a T output stuck", "a - fail"), false,
			[]string{"stuck", "0 passed, 1 failed"}},
		{"a leak fails the package", lines("a T run", "a T pass", "a - output need: left behind", "a - fail"), false,
			[]string{"need: left behind", "1 passed, 1 failed"}},
		{"what does not compile", `{"ImportPath":"a","Action":"build-output","Output":"a.go:1: oh\n"}` + "\n" + lines("a - fail"), false,
			[]string{"a.go:1: oh", "0 passed, 1 failed"}},
		{"parents are not counted", lines("a T run", "a T/x run", "a T/y run", "a T/x pass", "a T/y skip", "a T pass", "a - pass"), true,
			[]string{"1 passed, 0 failed, 1 skipped"}},
		{"but when they fail alone", lines("a T run", "a T/x run", "a T/x pass", "a T fail", "a - fail"), false,
			[]string{"1 passed, 1 failed"}},
		{"strange lines", "hello\n{not json\n" + lines("a T run", "a T pass", "a - pass"), true,
			[]string{"1 passed, 0 failed"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "x.json")
			var out strings.Builder
			ok, err := run([]string{"tier", "x", file}, strings.NewReader(c.in), &out)
			if err != nil {
				t.Fatal(err)
			}
			if ok != c.ok {
				t.Errorf("ok %v, want %v", ok, c.ok)
			}
			for _, w := range c.wants {
				if !strings.Contains(out.String(), w) {
					t.Errorf("no %q in:\n%s", w, &out)
				}
			}
			kept, err := os.ReadFile(file)
			if err != nil || string(kept) != c.in {
				t.Errorf("kept %q, %v", kept, err)
			}
		})
	}
}

func TestSum(t *testing.T) {
	pure := lines("a T run", "a T skip", "a V run", "a V output need vm: no", "a V skip", "a P run", "a P pass", "a - pass")
	root := lines("a T run", "a T pass", "a V run", "a V output need vm: still no", "a V skip", "a - pass")
	vm := lines("a V run", "a V pass", "a - pass")
	bad := lines("a P run", "a P fail", "a - fail")
	for _, c := range []struct {
		name  string
		tiers []string
		ok    bool
		last  string
		has   string
	}{
		{"every test ran", []string{pure, root, vm}, true, "3 passed, 0 failed, 0 skipped", ""},
		{"one fell silent", []string{pure, root}, false, "2 passed, 0 failed, 1 skipped", "ran in no tier: a V: need vm: no; need vm: still no"},
		{"failed in one tier", []string{pure, root, vm, bad}, false, "2 passed, 1 failed, 0 skipped", "3: 1 failed"},
	} {
		t.Run(c.name, func(t *testing.T) {
			args := []string{"sum"}
			for i, text := range c.tiers {
				file := filepath.Join(t.TempDir(), string(rune('0'+i))+".json")
				if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
				args = append(args, file)
			}
			var out strings.Builder
			ok, err := run(args, nil, &out)
			if err != nil {
				t.Fatal(err)
			}
			got := strings.Split(strings.TrimSpace(out.String()), "\n")
			if ok != c.ok || got[len(got)-1] != c.last || !strings.Contains(out.String(), c.has) {
				t.Errorf("ok %v, want %v; last line wanted %q, somewhere %q:\n%s", ok, c.ok, c.last, c.has, &out)
			}
		})
	}
}

func TestSecondTry(t *testing.T) {
	first := lines("a T run", "a T/x run", "a T/x fail", "a T fail", "a U run", "a U fail", "a P run", "a P pass", "a - fail",
		"b V run", "b V pass", "b - output need: left behind", "b - fail")
	for _, c := range []struct {
		name, second string
		ok           bool
		wants        []string
	}{
		{"all passed", lines("a T run", "a T/x run", "a T/x pass", "a T pass", "a U run", "a U pass", "a - pass", "b V run", "b V pass", "b - pass"), true,
			[]string{"root: passed at the second try only: a T/x\n", "only: a U\n", "only: b \n", "4 passed, 0 failed"}},
		{"one failed again", lines("a T run", "a T/x run", "a T/x fail", "a T fail", "a U run", "a U pass", "a - fail", "b V run", "b V pass", "b - pass"), false,
			[]string{"root: 1 failed", "3 passed, 1 failed"}},
		{"a leak again", lines("a T run", "a T/x run", "a T/x pass", "a T pass", "a U run", "a U pass", "a - pass", "b V run", "b V pass", "b - fail"), false,
			[]string{"4 passed, 1 failed"}},
		{"nothing ran", "", false, []string{"2 passed, 3 failed"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "root.json")
			again := strings.TrimSuffix(file, ".json") + againSuffix
			for path, text := range map[string]string{file: first, again: c.second} {
				if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			var list, out strings.Builder
			if ok, err := run([]string{"failed", file}, nil, &list); !ok || err != nil || list.String() != "a ^(T|U)$\nb .\n" {
				t.Errorf("to be tried: %v, %v, %q", ok, err, &list)
			}
			ok, err := run([]string{"sum", file, again}, nil, &out)
			if ok != c.ok || err != nil {
				t.Errorf("ok %v, %v:\n%s", ok, err, &out)
			}
			for _, w := range c.wants {
				if !strings.Contains(out.String(), w) {
					t.Errorf("no %q in:\n%s", w, &out)
				}
			}
		})
	}
}

// Much that failed is no accident.
func TestNoSecondTry(t *testing.T) {
	file := filepath.Join(t.TempDir(), "root.json")
	var text []string
	for _, name := range strings.Fields("A B C D E F") {
		text = append(text, "a "+name+" run", "a "+name+" fail")
	}
	if err := os.WriteFile(file, []byte(lines(append(text, "a - fail")...)), 0o600); err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	if ok, err := run([]string{"failed", file}, nil, &out); ok || err != nil || out.String() != "" {
		t.Errorf("%v, %v, %q", ok, err, &out)
	}
}

func TestUsage(t *testing.T) {
	for _, args := range [][]string{nil, {"tier"}, {"sum"}, {"other", "x", "y"}, {"sum", "no-such-file"}, {"failed"}, {"failed", "no-such-file"}} {
		if ok, err := run(args, nil, &strings.Builder{}); ok || err == nil {
			t.Errorf("%q: ok %v, error %v", args, ok, err)
		}
	}
}
