// Package inventory is what util-vserver had: each tool, option, key and flag, with what
// becomes of it on a stock kernel. It is data, of which doc/compat.md is made, and by
// which tests hold the tools: an option that the tables call the same is one that the
// tool knows, and that a script uses.
package inventory

import (
	"embed"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"

	"vserver/guest"
)

//go:embed *.txt
var files embed.FS

// Answer is what becomes of something on a stock kernel.
type Answer byte

// The answers. A row without one is not ready.
const (
	Same  Answer = '=' // as it was
	Other Answer = '~' // the same effect by other means
	None  Answer = '-' // not on a stock kernel
	Later Answer = '!' // can be, and is not there yet
)

// String gives the words of doc/compat.md.
func (a Answer) String() string {
	switch a {
	case Same:
		return "same"
	case Other:
		return "other means"
	case Later:
		return "not yet"
	case None:
		return "no"
	}
	return "?"
}

// Row is one line: what it was, what becomes of it, and why or how.
type Row struct {
	Names  []string // an option and its other spellings; the first is the usual one
	Answer Answer
	Why    string
	Files  fs.FS // of a key: a directory of guests that has it
}

// Part is a tool, or a group of keys, with its rows. The first row is its own.
type Part struct {
	Row
	Title string // of the file that it stands in
	Rows  []Row
}

// Load reads the tables, in the order of their files.
func Load() ([]Part, error) {
	entries, err := files.ReadDir(".")
	if err != nil {
		return nil, err
	}
	var all []Part
	for _, e := range entries {
		text, err := files.ReadFile(e.Name())
		if err != nil {
			return nil, err
		}
		parts, err := Parse(string(text))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", e.Name(), err)
		}
		all = append(all, parts...)
	}
	return all, nil
}

// Parse reads a table. A line is an answer, the names with commas between, and behind two
// spaces the reason; the lines of a part's rows are indented. In place of the answer "@"
// asks the program's own tables, "@flag" for context flags and so on, and "@key" the reader
// of directories, for which the value stands in place of the reason. A line "# words" is
// passed over, and "## words" is the title of the parts behind it.
func Parse(text string) ([]Part, error) {
	var all []Part
	title := ""
	n := 0
	for line := range strings.Lines(text) {
		n++
		line = strings.TrimRight(line, "\n")
		if t, ok := strings.CutPrefix(line, "## "); ok {
			title = t
			continue
		}
		if line == "" || line[0] == '#' {
			continue
		}
		rows, err := parseLine(strings.TrimSpace(line))
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
		switch {
		case line[0] != ' ':
			for _, r := range rows {
				all = append(all, Part{Row: r, Title: title})
				title = ""
			}
		case len(all) == 0:
			return nil, fmt.Errorf("line %d: a row of nothing: %w", n, guest.ErrInvalid)
		default:
			last := &all[len(all)-1]
			last.Rows = append(last.Rows, rows...)
		}
	}
	return all, nil
}

// parseLine gives the rows of a line, one for each name.
func parseLine(line string) ([]Row, error) {
	mark, rest, ok := strings.Cut(line, " ")
	names, why, _ := strings.Cut(rest, "  ")
	if !ok || names == "" {
		return nil, fmt.Errorf("%q: want an answer and a name: %w", line, guest.ErrInvalid)
	}
	var rows []Row
	for name := range strings.SplitSeq(names, ", ") {
		r := Row{Why: strings.TrimSpace(why)}
		r.Names = strings.Split(name, "|")
		switch {
		case len(mark) == 1 && strings.Contains("=~-!", mark):
			r.Answer = Answer(mark[0])
		case mark == "@key":
			r.Answer, r.Why, r.Files = key(name, r.Why)
		case strings.HasPrefix(mark, "@"):
			r.Answer, r.Why = ask(mark[1:], name, r.Why)
		}
		rows = append(rows, r)
	}
	return rows, nil
}

// ask takes an answer from the tables that the program itself goes by.
func ask(table, name, why string) (Answer, string) {
	switch table {
	case "flag":
		return right(guest.Flags(), name)
	case "ccap":
		return right(guest.Ccaps(), name)
	case "bcap":
		if n, err := guest.ParseCap(name); err == nil {
			return capability(n)
		}
	case "":
		return Same, why
	}
	return 0, why
}

func right(table []guest.Right, name string) (Answer, string) {
	i := slices.IndexFunc(table, func(r guest.Right) bool { return r.Name == name })
	if i < 0 {
		return 0, ""
	}
	r := table[i]
	why := r.By
	if r.Instead != "" {
		why += "; " + r.Instead
	}
	switch r.Honour {
	case guest.Switched, guest.Always:
		return Same, r.By
	case guest.Refused:
		return None, why
	}
	return Other, why
}

// capability tells of a capability whether a guest has it, and whether giving it does
// anything where the guest's root is not the host's.
func capability(n int) (Answer, string) {
	private, host := guest.Spec{}, guest.Spec{Userns: guest.UsernsNone}
	p, err1 := private.Bounding()
	h, err2 := host.Bounding()
	switch {
	case err1 != nil || err2 != nil:
		return 0, ""
	case p.Has(n) && h.Has(n):
		return Same, "by default"
	case p.Has(n):
		return Same, "by default in a user namespace of the guest's own"
	}
	return Same, "by rights.bcaps"
}

// head begins doc/compat.md.
const head = `# What became of util-vserver

Each tool of util-vserver 0.30.216, its options, what it printed, its exit codes, the flags, the capabilities and the keys of its
configuration, and what becomes of them on a stock kernel:

- **same**: as it was. A script in cli/testdata or compat/testdata runs it through the real program.
- **other means**: the same effect; how, stands beside it.
- **no**: no stock kernel has it, or nobody needs it any more; the nearest alternative stands beside it. Its tool, if there is
  one, says so on one line and ends with 7.
- **not yet**: it can be, and is not there; what to use meanwhile stands beside it.

The tables are compat/inventory/*.txt; this file is made of them by "go test ./compat -run TestDocIsCurrent -update".
`

// Write writes the tables as doc/compat.md has them.
func Write(w io.Writer, all []Part) error {
	var b strings.Builder
	b.WriteString(head)
	for _, p := range all {
		if p.Title != "" {
			fmt.Fprintf(&b, "\n## %s\n", p.Title)
		}
		fmt.Fprintf(&b, "\n### %s\n\n| | on a stock kernel | |\n|---|---|---|\n", strings.Join(p.Names, ", "))
		for _, r := range append([]Row{p.Row}, p.Rows...) {
			fmt.Fprintf(&b, "| `%s` | %s | %s |\n", strings.Join(r.Names, "` `"), r.Answer, strings.ReplaceAll(r.Why, "|", "\\|"))
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}
