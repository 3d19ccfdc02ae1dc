package compat

import (
	"bytes"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"vserver/compat/inventory"
	"vserver/guest"
	"vserver/internal/need"
)

var update = flag.Bool("update", false, "write the generated file anew")

func tables(t *testing.T) []inventory.Part {
	t.Helper()
	all, err := inventory.Load()
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// TestDocIsCurrent: doc/compat.md is made of the tables.
func TestDocIsCurrent(t *testing.T) {
	const path = "../doc/compat.md"
	var b bytes.Buffer
	if err := inventory.Write(&b, tables(t)); err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile(path, b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if now, err := os.ReadFile(path); err != nil || !bytes.Equal(now, b.Bytes()) {
		t.Errorf("%s is not current (%v): go test ./compat -run TestDocIsCurrent -update", path, err)
	}
}

// TestAnswers: each row has an answer, and one that is not the same has a reason.
func TestAnswers(t *testing.T) {
	seen := map[string]bool{}
	for _, p := range tables(t) {
		for i, r := range append([]inventory.Row{p.Row}, p.Rows...) {
			name := p.Names[0] + " " + r.Names[0]
			if r.Answer.String() == "?" {
				t.Errorf("%s: has no answer: %s", name, r.Why)
			}
			if r.Answer != inventory.Same && r.Why == "" {
				t.Errorf("%s: %s, and why?", name, r.Answer)
			}
			if seen[name] && i > 0 {
				t.Errorf("%s: twice", name)
			}
			seen[name] = true
		}
	}
}

// TestParsersKnow: an option that is the same, or has other means, is one that the tool's
// parser knows.
func TestParsersKnow(t *testing.T) {
	for _, p := range tables(t) {
		tool, ok := find(p.Names[0])
		if !ok || tool.raw && tool.name != "vmount" {
			continue // package cli holds its own; the others read their words themselves
		}
		c := &call{tool: tool}
		c.options()
		for _, r := range p.Rows {
			if r.Answer == inventory.None || r.Answer == inventory.Later {
				continue
			}
			for _, name := range r.Names {
				long, isLong := strings.CutPrefix(name, "--")
				short, isShort := strings.CutPrefix(name, "-")
				if isLong && c.flags.Lookup(long) == nil || !isLong && isShort && len(short) == 1 && c.flags.ShorthandLookup(short) == nil {
					t.Errorf("%s %s: is said to be %s, and the parser does not know it", tool.name, name, r.Answer)
				}
			}
		}
	}
}

// TestProved: a tool or option that is said to be the same is used by a script that runs
// the real program.
func TestProved(t *testing.T) {
	lines := scriptLines(t)
	for _, p := range tables(t) {
		tool := p.Names[0]
		if strings.ContainsAny(tool, " ;") || p.Answer != inventory.Same {
			continue // a group of words, proved by its own package's tests
		}
		for _, r := range append([]inventory.Row{p.Row}, p.Rows...) {
			if r.Answer != inventory.Same || strings.ContainsAny(r.Names[0], " :") {
				continue
			}
			used := func(name string) bool {
				return slices.ContainsFunc(lines, func(line []string) bool { return uses(line, tool, name) })
			}
			if !slices.ContainsFunc(r.Names, used) {
				t.Errorf("%s %s: no script uses it", tool, r.Names[0])
			}
		}
	}
}

// TestEndsProved: an exit code, a filter, a method or a method's option that is said to be
// the same is what a script sees of the real program, and what is said of its output is
// compared.
func TestEndsProved(t *testing.T) {
	lines := scriptLines(t)
	for _, p := range tables(t) {
		tool := p.Names[0]
		for _, r := range p.Rows {
			kind, what, ok := strings.Cut(r.Names[0], " ")
			if r.Answer != inventory.Same || !ok || strings.ContainsAny(tool, " ;") {
				continue
			}
			names := append([]string{what}, r.Names[1:]...)
			proved := false
			for i := range lines {
				proved = proved || len(lines[i]) > 0 && ends(lines[i:], tool, kind, names)
			}
			if !proved {
				t.Errorf("%s %s: no script sees it", tool, r.Names[0])
			}
		}
	}
}

// ends tells whether the first of lines, those behind it at hand, shows something of a
// tool: how it ends, what it prints, a filter, or a method and its options.
func ends(lines [][]string, tool, kind string, names []string) bool {
	line := lines[0]
	is := func(i int, words ...string) bool { return len(line) > i && slices.Contains(words, line[i]) }
	has := func(w string) bool { return slices.Contains(line, w) }
	switch kind {
	case "exit":
		return names[0] == "0" || has(tool) && (is(0, "exits") && is(1, names[0]) || has("code"))
	case "filter":
		return uses(line, tool, names[0])
	case "env":
		return is(0, "env") && len(line) > 1 && strings.HasPrefix(line[1], names[0]+"=")
	case "output", "output:":
		// What a file of a script prints is compared as a whole.
		return has(tool) && (!is(0, "exec", "exits") || len(lines) > 1 && len(lines[1]) > 0 && slices.Contains([]string{"stdout", "stderr", "cmp", "!"}, lines[1][0]))
	case "method":
		return follows(line, "-m", names[0])
	}
	// An option of a method.
	return tool != "vserver-build" || follows(line, "-m", kind) && (names[0] == "MANIFEST" || slices.ContainsFunc(names, has))
}

// follows tells whether a word stands behind another.
func follows(line []string, word, next string) bool {
	i := slices.Index(line, word)
	return i >= 0 && i+1 < len(line) && line[i+1] == next
}

// TestWordsProved: a flag or capability, and a key of a directory of util-vserver's, that is said
// to be the same is in a script of the real program.
func TestWordsProved(t *testing.T) {
	all := texts(t, "../cli/testdata/script/*.txtar", "testdata/script/*.txtar", "../internal/script/old.go")
	for _, p := range tables(t) {
		group := p.Names[0]
		key := strings.HasPrefix(group, "key") || group == "files at the top"
		if !key && !strings.HasSuffix(group, " flags") && !strings.HasSuffix(group, " capabilities") {
			continue
		}
		for _, r := range p.Rows {
			word := r.Names[0]
			if key {
				word = strings.TrimSuffix(strings.Replace(strings.TrimPrefix(word, "interfaces/X"), "/X/", "/0/", 1), "/X")
			}
			if r.Answer == inventory.Same && !strings.Contains(all, word) {
				t.Errorf("%s %s: no script has it", group, r.Names[0])
			}
		}
	}
}

// TestKeysExplained: what is said of a key is what the program itself says of a directory with it.
func TestKeysExplained(t *testing.T) {
	need.Swift(t)
	fates := map[inventory.Answer][]string{inventory.Same: {"same"}, inventory.Other: {"near", "passed"}, inventory.None: {"refused"}}
	program := need.Binary(t)
	for _, p := range tables(t) {
		for _, r := range p.Rows {
			if r.Files == nil {
				continue
			}
			name := r.Names[0]
			dirs := guest.DefaultDirs(t.TempDir())
			if err := os.CopyFS(dirs.Config, r.Files); err != nil {
				t.Fatal(err)
			}
			c := exec.Command(program, string(inventory.KeyGuest), "config", "--explain")
			c.Env = append(os.Environ(), guest.RootVar+"="+strings.TrimSuffix(dirs.Config, guest.DefaultDirs("").Config))
			out, _ := c.CombinedOutput() // a directory that is refused has an exit code
			said := false
			for line := range strings.Lines(string(out)) {
				f := strings.Fields(line)
				said = said || len(f) > 1 && slices.Contains(fates[r.Answer], f[0]) && (strings.SplitN(f[1], ":", 2)[0] == name || f[1] == filepath.Dir(name)+"/setting")
			}
			if !said {
				t.Errorf("%s is said to be %s; the program says:\n%s", name, r.Answer, out)
			}
		}
	}
}

// texts gives what is in files, one behind the other.
func texts(t *testing.T, patterns ...string) string {
	t.Helper()
	var all strings.Builder
	for _, pattern := range patterns {
		files, err := filepath.Glob(pattern)
		if err != nil || len(files) == 0 {
			t.Fatal(pattern, err)
		}
		for _, f := range files {
			text, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			all.Write(text)
		}
	}
	return all.String()
}

// scriptLines are the words of all lines of the scripts.
func scriptLines(t *testing.T) (lines [][]string) {
	t.Helper()
	for line := range strings.Lines(texts(t, "../cli/testdata/script/*.txtar", "testdata/script/*.txtar")) {
		lines = append(lines, strings.Fields(strings.NewReplacer("'", " ", `"`, " ", "(", " ", ")", " ", ";", " ", "\\", "").Replace(line)))
	}
	return lines
}

// uses tells whether a line has the tool and, behind it, the option or word.
func uses(line []string, tool, name string) bool {
	at := slices.Index(line, tool)
	if at < 0 {
		return false
	}
	if name == tool {
		return true
	}
	for _, w := range line[at+1:] {
		w, _, _ = strings.Cut(w, "=")
		letter, isShort := strings.CutPrefix(name, "-")
		cluster := isShort && len(letter) == 1 && len(w) > 1 && w[0] == '-' && w[1] != '-' && strings.Contains(w[1:], letter)
		if w == name || cluster {
			return true
		}
	}
	return false
}
