// Package house holds the rules of this source tree as code, so that a machine and
// not a reviewer says them: who may import whom, how long things may get, what must
// be documented, what nobody writes.
//
// A rule is a function from the parsed tree to findings; [Rules] lists them. Where a
// rule is broken for a good reason, the line itself says so:
//
//	var build = sync.OnceValue(...) //house:allow built once for all tests
//
// on the line of the finding or in the comment above it; for a whole file or package
// above its package clause. Exceptions are counted and shown by the test, and one
// that excuses nothing is a finding itself, but for tests, where fewer rules hold.
package house

import (
	"bytes"
	"cmp"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// Module is the path of the module whose house this is.
const Module = "vserver"

// File is one parsed Go file.
type File struct {
	Path    string // below the module's root, with slashes
	Package string // its directory: "kernel/cgroup"
	Test    bool
	Made    bool // generated
	Lines   int
	Syntax  *ast.File
}

// Tree is a parsed module.
type Tree struct {
	Fset  *token.FileSet
	Files []*File // sorted by path
}

// Finding is a broken rule.
type Finding struct {
	Path string
	Line int
	Text string
}

// String gives "path:line: text", which editors understand.
func (f Finding) String() string { return fmt.Sprintf("%s:%d: %s", f.Path, f.Line, f.Text) }

// Rule finds where the tree breaks it.
type Rule func(*Tree) []Finding

// Rules are the rules of the house.
func Rules() []Rule {
	return []Rule{Directions, Foreign, Sizes, Documented, NoInit, State, Errors, Names, Paths, GuestFiles}
}

// Load parses all Go files below root, but not those in testdata or in directories
// that begin with a dot.
func Load(root string) (*Tree, error) {
	t := &Tree{Fset: token.NewFileSet()}
	err := filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && p != root && (d.Name() == "testdata" || d.Name() == "dist" || strings.HasPrefix(d.Name(), ".")) {
			return fs.SkipDir
		}
		if d.IsDir() || filepath.Ext(p) != ".go" {
			return nil
		}
		rel, err := filepath.Rel(root, p)
		if err != nil {
			return err
		}
		src, err := os.ReadFile(p)
		if err != nil {
			return err
		}
		return t.add(filepath.ToSlash(rel), src)
	})
	if err != nil {
		return nil, err
	}
	slices.SortFunc(t.Files, func(a, b *File) int { return cmp.Compare(a.Path, b.Path) })
	return t, nil
}

// add parses one file.
func (t *Tree) add(p string, src []byte) error {
	syntax, err := parser.ParseFile(t.Fset, p, src, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return err
	}
	t.Files = append(t.Files, &File{
		Path:    p,
		Package: path.Dir(p),
		Test:    strings.HasSuffix(p, "_test.go"),
		Made:    ast.IsGenerated(syntax),
		Lines:   bytes.Count(src, []byte("\n")),
		Syntax:  syntax,
	})
	return nil
}

// at makes a finding at a node.
func (t *Tree) at(n ast.Node, format string, args ...any) Finding {
	pos := t.Fset.Position(n.Pos())
	return Finding{Path: pos.Filename, Line: pos.Line, Text: fmt.Sprintf(format, args...)}
}

// Check applies the rules, takes away what is excused, and returns what is left and
// the excuses that were used, both by place.
func Check(t *Tree, rules ...Rule) (findings []Finding, excused []string) {
	excuses := t.excuses()
	for _, rule := range rules {
		for _, f := range rule(t) {
			if e := excuses.find(f); e != nil {
				e.used = append(e.used, f.Text)
			} else {
				findings = append(findings, f)
			}
		}
	}
	for _, e := range excuses {
		switch {
		case e.reason == "":
			findings = append(findings, Finding{e.path, e.line, "an exception without a reason"})
		case len(e.used) == 0 && strings.HasSuffix(e.path, "_test.go"): // rules are milder there
		case len(e.used) == 0:
			findings = append(findings, Finding{e.path, e.line, "an exception that excuses nothing: " + e.reason})
		default:
			excused = append(excused, fmt.Sprintf("%s:%d: %s (%s)", e.path, e.line, e.reason, strings.Join(e.used, "; ")))
		}
	}
	slices.SortFunc(findings, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(a.Path, b.Path), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Text, b.Text))
	})
	return findings, excused
}

// excuse is a comment //house:allow, good for the lines first to last.
type excuse struct {
	path        string
	line        int
	first, last int
	reason      string
	used        []string
}

type excuses []*excuse

// find gives the excuse for a finding, or nil.
func (all excuses) find(f Finding) *excuse {
	for _, e := range all {
		if e.path == f.Path && e.first <= f.Line && f.Line <= e.last && e.reason != "" {
			return e
		}
	}
	return nil
}

// excuses collects them. One is good for its own line, and for the line below the
// comment that it stands in.
func (t *Tree) excuses() excuses {
	var out excuses
	for _, f := range t.Files {
		for _, group := range f.Syntax.Comments {
			for _, c := range group.List {
				reason, ok := strings.CutPrefix(c.Text, "//house:allow")
				if !ok {
					continue
				}
				line := t.Fset.Position(c.Pos()).Line
				out = append(out, &excuse{
					path: f.Path, line: line, reason: strings.TrimSpace(reason),
					first: line, last: t.Fset.Position(group.End()).Line + 1,
				})
			}
		}
	}
	return out
}
