package cli

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// Every example can be typed: its options are there and take the values that it gives them.
func TestExamples(t *testing.T) {
	typed := 0
	for _, e := range table() {
		for _, line := range e.page(e.construct(aTool(t))).Examples {
			for _, words := range commandsIn(line) {
				if typed++; slices.Equal(words, []string{"vserver", "--version"}) { // asked before any verb
					continue
				}
				tool := aTool(t)
				tool.program = words[0]
				if err := parses(tool, words); err != nil {
					t.Errorf("%s: %s\n\t%v", e.name, line, err)
				}
			}
		}
	}
	if typed < 150 {
		t.Errorf("only %d commands were found", typed)
	}
}

// parses takes a command line as the program does, and runs nothing.
func parses(t *tool, words []string) error {
	verb, args := toolVerb(words[0]), words[1:]
	if verb == "" {
		var err error
		if args, err = ofOld(args); err != nil {
			return err
		}
		if verb, t.subject, args, err = arrange(args, func(string) bool { return true }); err != nil {
			return err
		}
	}
	e, ok := lookup(verb)
	if !ok {
		return usagef("no such command: %s", verb)
	}
	if t.subject == "" && (verb == "exec" || verb == "suexec") && len(args) > 0 {
		args = args[1:]
	}
	c := e.construct(t)
	c.RunE = func(*cobra.Command, []string) error { return nil }
	c.SetHelpFunc(func(*cobra.Command, []string) {})
	c.SetArgs(args)
	return c.Execute()
}

var shellWord = regexp.MustCompile(`'[^']*'|"[^"]*"|[|;&<>]+|[^\s|;&<>'"]+`)

// commandsIn gives the words of the commands of ours in a line for a shell.
func commandsIn(line string) (all [][]string) {
	var words []string
	end := func() {
		if len(words) > 0 && (words[0] == "vserver" || toolVerb(words[0]) != "") {
			all = append(all, words)
		}
		words = nil
	}
	at := 0
	for _, m := range shellWord.FindAllStringIndex(line, -1) {
		w := line[m[0]:m[1]]
		joined := m[0] == at && len(words) > 0 // x="a b" is one word
		at = m[1]
		switch {
		case w == ">" || w == "<" || w == ">>":
			at = -1
			continue
		case strings.Trim(w, "|;&<>") == "":
			end()
			continue
		case strings.HasPrefix(w, "#"):
			end()
			return all
		case w[0] == '\'' || w[0] == '"':
			w = w[1 : len(w)-1]
		}
		if joined {
			words[len(words)-1] += w
		} else {
			words = append(words, w)
		}
	}
	end()
	return slices.Clip(all)
}

// So can every command of the documents.
func TestDocumentedCommands(t *testing.T) {
	files, err := filepath.Glob("../doc/*.md")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, file := range append(files, "../README.md") {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if filepath.Base(file) == "cli.md" { // made of the pages
			continue
		}
		block := false
		for line := range strings.Lines(string(text)) {
			if strings.HasPrefix(line, "```") {
				block = !block
			}
			if !block && !strings.HasPrefix(line, "    ") {
				continue
			}
			for _, words := range commandsIn(strings.TrimLeft(line, " #$")) {
				if err := parses(aTool(t), words); err != nil {
					t.Errorf("%s: %s\t%v", file, line, err)
				}
			}
		}
	}
}
