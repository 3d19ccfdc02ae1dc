package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
)

// event is a line of `go test -json` (see go doc test2json).
type event struct {
	Action     string
	Package    string
	ImportPath string // of build-output
	Test       string
	Elapsed    float64 // seconds
	Output     string
}

// test names a test, or with an empty Test a whole package: its build, its TestMain.
type test struct{ Package, Test string }

// outcome is how a test ended, in order: a later one wins when tiers are merged.
type outcome int

const (
	running outcome = iota // no end was seen
	skipped
	passed
	failed
)

// results are the outcomes of some tests, and what they said.
type results struct {
	ends   map[test]outcome
	said   map[test][]string
	built  map[string][]string // what the compiler said, by import path
	parent map[test]bool       // tests with tests of their own
	took   map[string]float64  // seconds, by package

	unsteady []test // failed, and passed at the second try
}

func newResults() *results {
	return &results{
		ends: map[test]outcome{}, said: map[test][]string{}, built: map[string][]string{},
		parent: map[test]bool{}, took: map[string]float64{},
	}
}

// read takes in events until the end of input and calls done when a package ended.
// A line that is no event is something that a program printed past the testing
// package; it is let go.
func (r *results) read(in io.Reader, done func(pkg string)) error {
	b := bufio.NewReader(in)
	for {
		line, err := b.ReadBytes('\n')
		var e event
		if bytes.HasPrefix(line, []byte("{")) && json.Unmarshal(line, &e) == nil {
			r.take(e, done)
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func (r *results) take(e event, done func(pkg string)) {
	k := test{e.Package, e.Test}
	switch e.Action {
	case "build-output":
		r.built[e.ImportPath] = append(r.built[e.ImportPath], e.Output)
		return
	case "run":
		r.ends[k] = running
		if i := strings.LastIndexByte(e.Test, '/'); i > 0 {
			r.parent[test{e.Package, e.Test[:i]}] = true
		}
	case "output":
		r.said[k] = append(r.said[k], e.Output)
	case "pass", "skip":
		if e.Test != "" {
			r.ends[k] = map[string]outcome{"pass": passed, "skip": skipped}[e.Action]
		}
	case "fail":
		r.ends[k] = failed
	}
	if e.Test == "" && (e.Action == "pass" || e.Action == "skip" || e.Action == "fail") {
		r.took[e.Package] = e.Elapsed
		r.close(e.Package)
		done(e.Package)
	}
}

// close settles a package that has ended: a test without an end failed, and the
// package's own failure counts only when none of its tests explains it.
func (r *results) close(pkg string) {
	explained := false
	for k, end := range r.ends {
		if k.Package != pkg || k.Test == "" {
			continue
		}
		if end == running {
			r.ends[k] = failed
		}
		explained = explained || r.ends[k] == failed
	}
	if explained {
		delete(r.ends, test{pkg, ""})
	}
}

// counted tells whether the test is counted: one with tests of its own only when it
// failed and none of those did.
func (r *results) counted(k test) bool {
	if !r.parent[k] {
		return true
	}
	if r.ends[k] != failed {
		return false
	}
	for sub, end := range r.ends {
		if end == failed && sub.Package == k.Package && strings.HasPrefix(sub.Test, k.Test+"/") {
			return false
		}
	}
	return true
}

// count is how many tests ended how.
type count struct{ passed, failed, skipped int }

func (c count) String() string {
	return fmt.Sprintf("%d passed, %d failed, %d skipped", c.passed, c.failed, c.skipped)
}

// count counts the tests of one package, or of all when pkg is "".
func (r *results) count(pkg string) count {
	var c count
	for k, end := range r.ends {
		if pkg != "" && k.Package != pkg || !r.counted(k) {
			continue
		}
		switch end {
		case passed:
			c.passed++
		case skipped:
			c.skipped++
		default:
			c.failed++
		}
	}
	return c
}

// packageLine says in a line how a package did.
func (r *results) packageLine(pkg string) string {
	c := r.count(pkg)
	word := "ok  "
	if c.failed > 0 {
		word = "FAIL"
	}
	return fmt.Sprintf("  %s %-32s %v, %.1f s", word, pkg, c, r.took[pkg])
}

// failures gives what the failed tests of a package said. When only the package as
// such failed it is all that was said there, for the cause is somewhere in it.
func (r *results) failures(pkg string) []string {
	var out []string
	for _, k := range sortedTests(r.ends) {
		if k.Package != pkg || r.ends[k] != failed {
			continue
		}
		if k.Test == "" {
			for path, lines := range r.built {
				if path == pkg || strings.HasPrefix(path, pkg+" ") || strings.HasPrefix(path, pkg+"_test") {
					out = append(out, strings.Join(lines, ""))
				}
			}
		}
		out = append(out, strings.Join(r.said[k], ""))
	}
	return out
}

// again tells what a second try has to run, a line a package: its path and a pattern of
// its tests, all of them where the package failed as such.
func (r *results) again() []string {
	var packages []string
	names := map[string][]string{}
	for _, k := range sortedTests(r.ends) {
		if r.ends[k] != failed || !r.counted(k) {
			continue
		}
		if !slices.Contains(packages, k.Package) {
			packages = append(packages, k.Package)
		}
		name, _, _ := strings.Cut(k.Test, "/")
		if !slices.Contains(names[k.Package], name) {
			names[k.Package] = append(names[k.Package], name)
		}
	}
	for i, p := range packages {
		pattern := "^(" + strings.Join(names[p], "|") + ")$"
		if slices.Contains(names[p], "") {
			pattern = "."
		}
		packages[i] = p + " " + pattern
	}
	return packages
}

// amend puts the outcomes of a second try in the place of failures. A package that failed
// as such is well when all of it passed.
func (r *results) amend(file string) error {
	o, err := readFile(file)
	if err != nil {
		return err
	}
	for _, k := range sortedTests(r.ends) {
		if r.ends[k] != failed {
			continue
		}
		_, whole := o.took[k.Package]
		whole = whole && k.Test == "" && o.count(k.Package).failed == 0
		if o.ends[k] != passed && !whole {
			continue
		}
		if r.counted(k) {
			r.unsteady = append(r.unsteady, k)
		}
		if delete(r.ends, k); !whole {
			r.ends[k] = passed
		}
	}
	return nil
}

// merge takes in the results of another tier.
func (r *results) merge(o *results) {
	for k, end := range o.ends {
		r.ends[k] = max(r.ends[k], end)
		if end == skipped {
			r.said[k] = append(r.said[k], o.said[k]...)
		}
	}
	maps.Copy(r.parent, o.parent)
}

// silent names the tests that were skipped wherever they were met, with the reasons.
func (r *results) silent() []string {
	var out []string
	for _, k := range sortedTests(r.ends) {
		if r.ends[k] != skipped || !r.counted(k) {
			continue
		}
		var why []string
		for _, line := range r.said[k] {
			line = strings.TrimSpace(line)
			if line != "" && !strings.HasPrefix(line, "===") && !strings.HasPrefix(line, "---") && !slices.Contains(why, line) {
				why = append(why, line)
			}
		}
		out = append(out, fmt.Sprintf("%s %s: %s", k.Package, k.Test, strings.Join(why, "; ")))
	}
	return out
}

func sortedTests(m map[test]outcome) []test {
	return slices.SortedFunc(maps.Keys(m), func(a, b test) int {
		return strings.Compare(a.Package+" "+a.Test, b.Package+" "+b.Test)
	})
}
