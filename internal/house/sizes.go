package house

import (
	"go/ast"
	"path"
)

// Budgets, in lines. The command line has one file a command and so more of both.
const (
	fileBudget     = 400
	funcBudget     = 60
	testFuncBudget = 100
	packageFiles   = 12
	packageLines   = 1500
	cliFiles       = 60
	cliLines       = 5000
	methodBudget   = 25 // exported methods of one type
)

// Sizes holds files, functions, packages and method sets against their budgets.
// Generated files, and test files in a package's count, do not weigh.
func Sizes(t *Tree) []Finding {
	var out []Finding
	for _, f := range t.Files {
		if f.Made {
			continue
		}
		perFunc := funcBudget
		if f.Test {
			perFunc = testFuncBudget
		}
		if f.Lines > fileBudget {
			out = append(out, t.at(f.Syntax.Name, "file of %d lines, budget %d", f.Lines, fileBudget))
		}
		for _, d := range f.Syntax.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if !ok {
				continue
			}
			if n := t.Fset.Position(fn.End()).Line - t.Fset.Position(fn.Pos()).Line + 1; n > perFunc {
				out = append(out, t.at(fn, "func %s of %d lines, budget %d", fn.Name.Name, n, perFunc))
			}
		}
	}
	return append(append(out, t.largePackages()...), t.largeTypes()...)
}

// largePackages holds packages against their budgets.
func (t *Tree) largePackages() []Finding {
	type pkg struct {
		home         *File // where the package's text is, else its first file
		files, lines int
	}
	packages := map[string]*pkg{}
	for _, f := range t.Files {
		if f.Made || f.Test {
			continue
		}
		p := packages[f.Package]
		if p == nil {
			p = &pkg{home: f}
			packages[f.Package] = p
		}
		if p.home.Syntax.Doc == nil {
			p.home = f
		}
		p.files++
		p.lines += f.Lines
	}
	var out []Finding
	for name, p := range packages {
		files, lines := packageFiles, packageLines
		if name == "cli" || name == "compat" {
			files, lines = cliFiles, cliLines
		}
		if p.files > files {
			out = append(out, t.at(p.home.Syntax.Name, "package of %d files, budget %d", p.files, files))
		}
		if p.lines > lines {
			out = append(out, t.at(p.home.Syntax.Name, "package of %d lines, budget %d", p.lines, lines))
		}
	}
	return out
}

// largeTypes holds types against the budget of methods.
func (t *Tree) largeTypes() []Finding {
	methods := map[string]int{}
	types := map[string]*ast.TypeSpec{}
	for _, f := range t.Files {
		if f.Made || f.Test {
			continue
		}
		for _, d := range f.Syntax.Decls {
			switch d := d.(type) {
			case *ast.FuncDecl:
				if d.Name.IsExported() {
					methods[f.Package+"."+receiver(d)]++
				}
			case *ast.GenDecl:
				for _, s := range d.Specs {
					if s, ok := s.(*ast.TypeSpec); ok {
						types[f.Package+"."+s.Name.Name] = s
					}
				}
			}
		}
	}
	var out []Finding
	for name, s := range types {
		if n := methods[name]; n > methodBudget {
			out = append(out, t.at(s, "type %s has %d exported methods, budget %d", s.Name.Name, n, methodBudget))
		}
	}
	return out
}

// receiver gives the name of the type that a method belongs to.
func receiver(fn *ast.FuncDecl) string {
	if fn.Recv == nil || len(fn.Recv.List) == 0 {
		return ""
	}
	e := fn.Recv.List[0].Type
	for {
		switch x := e.(type) {
		case *ast.StarExpr:
			e = x.X
		case *ast.IndexExpr:
			e = x.X
		case *ast.Ident:
			return x.Name
		default:
			return ""
		}
	}
}

// Names refuses packages named for no thing.
func Names(t *Tree) []Finding {
	refused := map[string]bool{
		"util": true, "utils": true, "common": true, "helper": true, "helpers": true, "base": true, "core": true,
		"manager": true, "types": true, "pkg": true, "misc": true, "lib": true,
	}
	var out []Finding
	said := map[string]bool{}
	for _, f := range t.Files {
		if refused[path.Base(f.Package)] && !said[f.Package] {
			said[f.Package] = true
			out = append(out, t.at(f.Syntax.Name, "package %s is named for no thing", path.Base(f.Package)))
		}
	}
	return out
}
