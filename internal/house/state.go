package house

import (
	"go/ast"
	"go/token"
	"slices"
	"strings"
)

// NoInit refuses functions init: what a program does begins in main.
func NoInit(t *Tree) []Finding {
	var out []Finding
	for _, f := range t.Files {
		for _, d := range f.Syntax.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv == nil && fn.Name.Name == "init" {
				out = append(out, t.at(fn, "func init"))
			}
		}
	}
	return out
}

// State refuses variables of a package that can change, and those whose making costs
// every program that has the package linked in. A variable changes when a function
// of the package assigns to it or takes its address, when it begins as nothing, or
// when its type is made for changing (sync, sync/atomic; a sync.OnceValue is a
// constant that is late).
func State(t *Tree) []Finding {
	var out []Finding
	changed := t.changedNames()
	for _, f := range t.Files {
		if f.Test || f.Made {
			continue
		}
		for _, d := range f.Syntax.Decls {
			g, ok := d.(*ast.GenDecl)
			if !ok || g.Tok != token.VAR || embedded(g.Doc) {
				continue
			}
			for _, s := range g.Specs {
				v := s.(*ast.ValueSpec)
				for i, n := range v.Names {
					why := costly(v, i, f.Package)
					switch {
					case n.Name == "_" || embedded(v.Doc):
					case changed[f.Package+"."+n.Name]:
						out = append(out, t.at(n, "variable %s of the package is changed", n.Name))
					case len(v.Values) == 0:
						out = append(out, t.at(n, "variable %s of the package begins as nothing, so it is made to change", n.Name))
					case why != "":
						out = append(out, t.at(n, "variable %s of the package %s", n.Name, why))
					}
				}
			}
		}
	}
	return out
}

// embedded tells whether the comment fills the variable from a file.
func embedded(c *ast.CommentGroup) bool {
	return c != nil && slices.ContainsFunc(c.List, func(l *ast.Comment) bool { return strings.HasPrefix(l.Text, "//go:embed ") })
}

// bigMap is the number of entries above which making a map at every start matters.
const bigMap = 8

// costly says what is wrong with the value of the i-th name.
func costly(v *ast.ValueSpec, i int, pkg string) string {
	if i >= len(v.Values) || matches("internal/*", pkg) {
		return ""
	}
	switch x := v.Values[i].(type) {
	case *ast.CallExpr:
		switch name := callee(x); name {
		case "regexp.MustCompile", "template.Must":
			return "is made by " + name + " at every start: sync.OnceValue makes it when wanted"
		}
	case *ast.CompositeLit:
		if _, ok := x.Type.(*ast.MapType); ok && len(x.Elts) > bigMap {
			return "is a map filled at every start: a function or sync.OnceValue makes it when wanted"
		}
	}
	return ""
}

// callee gives "pkg.Func" or "Func" of a call.
func callee(c *ast.CallExpr) string {
	switch f := c.Fun.(type) {
	case *ast.SelectorExpr:
		if x, ok := f.X.(*ast.Ident); ok {
			return x.Name + "." + f.Sel.Name
		}
	case *ast.Ident:
		return f.Name
	}
	return ""
}

// changedNames gives "package.name" of what functions assign to without having
// declared it themselves. Names alone are looked at: a local variable that hides one
// of the package by the same name makes a false finding, and deserves it.
func (t *Tree) changedNames() map[string]bool {
	out := map[string]bool{}
	for _, f := range t.Files {
		if f.Test {
			continue
		}
		for _, d := range f.Syntax.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if !ok || fn.Body == nil {
				continue
			}
			own := declared(fn)
			note := func(e ast.Expr) {
				if n := root(e); n != "" && !own[n] {
					out[f.Package+"."+n] = true
				}
			}
			ast.Inspect(fn.Body, func(n ast.Node) bool {
				switch n := n.(type) {
				case *ast.AssignStmt:
					if n.Tok != token.DEFINE {
						for _, e := range n.Lhs {
							note(e)
						}
					}
				case *ast.IncDecStmt:
					note(n.X)
				case *ast.UnaryExpr:
					if n.Op == token.AND {
						note(n.X)
					}
				}
				return true
			})
		}
	}
	return out
}

// root gives the variable that an expression like x.f[3] changes.
func root(e ast.Expr) string {
	for {
		switch x := e.(type) {
		case *ast.Ident:
			return x.Name
		case *ast.SelectorExpr:
			e = x.X
		case *ast.IndexExpr:
			e = x.X
		case *ast.ParenExpr:
			e = x.X
		case *ast.StarExpr:
			e = x.X
		default:
			return ""
		}
	}
}

// declared gives all names that a function declares anywhere in it.
func declared(fn *ast.FuncDecl) map[string]bool {
	out := map[string]bool{}
	ast.Inspect(fn, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.AssignStmt:
			if n.Tok == token.DEFINE {
				for _, e := range n.Lhs {
					out[root(e)] = true
				}
			}
		case *ast.RangeStmt:
			if n.Tok == token.DEFINE {
				for _, e := range []ast.Expr{n.Key, n.Value} {
					if e != nil {
						out[root(e)] = true
					}
				}
			}
		case *ast.ValueSpec:
			for _, name := range n.Names {
				out[name.Name] = true
			}
		case *ast.Field:
			for _, name := range n.Names {
				out[name.Name] = true
			}
		}
		return true
	})
	return out
}
