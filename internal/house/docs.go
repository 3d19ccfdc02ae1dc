package house

import (
	"go/ast"
	"go/token"
)

// Documented wants a text on every package and every exported name. In a group of
// constants or variables the group's text is enough; in a struct, its own. Methods by
// which a value becomes text or gives its cause need none.
func Documented(t *Tree) []Finding {
	var out []Finding
	documented := map[string]bool{}
	first := map[string]*File{}
	for _, f := range t.Files {
		if f.Test {
			continue
		}
		if first[f.Package] == nil {
			first[f.Package] = f
		}
		if f.Syntax.Doc != nil {
			documented[f.Package] = true
		}
		for _, d := range f.Syntax.Decls {
			out = append(out, t.undocumented(d)...)
		}
	}
	for name, f := range first {
		if !documented[name] {
			out = append(out, t.at(f.Syntax.Name, "package %s has no text", name))
		}
	}
	return out
}

// undocumented gives the exported names of a declaration that have no text.
func (t *Tree) undocumented(d ast.Decl) []Finding {
	var out []Finding
	miss := func(name *ast.Ident) { out = append(out, t.at(name, "exported %s has no text", name.Name)) }
	switch d := d.(type) {
	case *ast.FuncDecl:
		r := receiver(d)
		plain := r != "" && (d.Name.Name == "String" || d.Name.Name == "Error" || d.Name.Name == "Unwrap")
		if d.Name.IsExported() && d.Doc == nil && !plain && (r == "" || ast.IsExported(r)) {
			miss(d.Name)
		}
	case *ast.GenDecl:
		for _, s := range d.Specs {
			switch s := s.(type) {
			case *ast.TypeSpec:
				if s.Name.IsExported() && d.Doc == nil && s.Doc == nil {
					miss(s.Name)
				}
			case *ast.ValueSpec:
				for _, n := range s.Names {
					if n.IsExported() && d.Doc == nil && s.Doc == nil && (s.Comment == nil || d.Tok == token.VAR) {
						miss(n)
					}
				}
			}
		}
	}
	return out
}
