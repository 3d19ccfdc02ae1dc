package house

import (
	_ "embed"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

//go:embed imports.txt
var importsText string

// table is imports.txt.
type table struct {
	layers []layer
	also   [][2]string // importer, imported
	only   []door
}

// layer is the packages that may not import each other.
type layer struct {
	name     string
	patterns []string
}

// door is a foreign package and who may import it.
type door struct {
	path  string
	users []string
}

// parseTable reads the text of imports.txt.
func parseTable(text string) (table, error) {
	var t table
	n := 0
	for line := range strings.Lines(text) {
		n++
		word, rest, ok := strings.Cut(line, ":")
		f := strings.Fields(rest)
		switch {
		case strings.HasPrefix(line, "#") || strings.TrimSpace(line) == "":
		case !ok || len(f) == 0 || (word == "also" || word == "only") && len(f) < 2:
			return t, fmt.Errorf("imports.txt:%d: cannot be read", n)
		case word == "also" && len(f) < 3:
			return t, fmt.Errorf("imports.txt:%d: no reason", n)
		case word == "also":
			t.also = append(t.also, [2]string{f[0], f[1]})
		case word == "only":
			t.only = append(t.only, door{f[0], f[1:]})
		default:
			t.layers = append(t.layers, layer{word, f})
		}
	}
	return t, nil
}

// matches tells whether the pattern names the package.
func matches(pattern, pkg string) bool {
	dir, all := strings.CutSuffix(pattern, "/*")
	return pkg == dir || all && strings.HasPrefix(pkg, dir+"/")
}

// matchesAny tells whether one of the patterns names the package.
func matchesAny(patterns []string, pkg string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool { return matches(p, pkg) })
}

// layerOf gives the index of the package's layer, -1 for none. The longest pattern
// decides: daemon/proto is not of the layer of daemon.
func (t table) layerOf(pkg string) int {
	best, length := -1, -1
	for i, l := range t.layers {
		for _, p := range l.patterns {
			if matches(p, pkg) && len(p) > length {
				best, length = i, len(p)
			}
		}
	}
	return best
}

// allows tells whether from may import to, both of ours.
func (t table) allows(from, to string) bool {
	if strings.HasPrefix(to, from+"/") {
		return true // its own rooms
	}
	if b := t.layerOf(to); b >= 0 && b < t.layerOf(from) {
		return true
	}
	return slices.ContainsFunc(t.also, func(x [2]string) bool { return matches(x[0], from) && matches(x[1], to) })
}

// Directions holds the imports among our own packages against imports.txt. Tests may
// import their neighbours as well, and the packages for tests; tests from outside
// (package x_test) anything.
func Directions(t *Tree) []Finding {
	rules, err := parseTable(importsText)
	if err != nil {
		return []Finding{{Path: "internal/house/imports.txt", Text: err.Error()}}
	}
	return rules.directions(t)
}

func (rules table) directions(t *Tree) []Finding {
	var out []Finding
	homeless := map[string]bool{}
	for _, f := range t.Files {
		if rules.layerOf(f.Package) < 0 && !homeless[f.Package] {
			homeless[f.Package] = true
			out = append(out, t.at(f.Syntax.Name, "package %s has no layer in internal/house/imports.txt", f.Package))
		}
		for _, spec := range f.Syntax.Imports {
			p, _ := strconv.Unquote(spec.Path.Value)
			to, ours := strings.CutPrefix(p, Module+"/")
			switch {
			case !ours || to == f.Package || homeless[f.Package]:
			case strings.HasSuffix(f.Syntax.Name.Name, "_test"): // sees the package from outside, and whoever else does
			case f.Test && (matches("internal/*", to) || rules.layerOf(to) <= rules.layerOf(f.Package)):
			case !rules.allows(f.Package, to):
				out = append(out, t.at(spec, "%s may not import %s", f.Package, to))
			}
		}
	}
	return out
}

// Foreign holds imports of other people's packages, and of doors of the standard
// library, against imports.txt.
func Foreign(t *Tree) []Finding {
	rules, err := parseTable(importsText)
	if err != nil {
		return nil // Directions says so
	}
	return rules.foreign(t)
}

func (rules table) foreign(t *Tree) []Finding {
	var out []Finding
	for _, f := range t.Files {
		for _, spec := range f.Syntax.Imports {
			p, _ := strconv.Unquote(spec.Path.Value)
			if p == Module || strings.HasPrefix(p, Module+"/") {
				continue
			}
			d := rules.door(p)
			first, _, _ := strings.Cut(p, "/")
			switch {
			case d.path == "" && !strings.Contains(first, "."): // the standard library
			case d.path == "":
				out = append(out, t.at(spec, "%s is not in internal/house/imports.txt", p))
			case f.Test: // tests may look through any door that is there
			case !matchesAny(d.users, f.Package):
				out = append(out, t.at(spec, "%s may not import %s; %s may", f.Package, p, strings.Join(d.users, ", ")))
			}
		}
	}
	return out
}

// door gives the line that governs a foreign package: the longest that names it or
// what it lies below.
func (rules table) door(p string) door {
	var best door
	for _, d := range rules.only {
		if matches(d.path+"/*", p) && len(d.path) > len(best.path) {
			best = d
		}
	}
	return best
}
