package house

import (
	"go/ast"
	"go/token"
	"regexp"
	"strconv"
	"strings"
	"unicode"
)

// Errors refuses errors that lose their cause (%v or %s of an error in Errorf) and
// texts that say that something failed instead of what.
func Errors(t *Tree) []Finding {
	var out []Finding
	for _, f := range t.Files {
		ast.Inspect(f.Syntax, func(n ast.Node) bool {
			if c, ok := n.(*ast.CallExpr); ok && !f.Test {
				out = append(out, t.badError(c)...)
			}
			if l, ok := n.(*ast.BasicLit); ok && l.Kind == token.STRING && !matches("internal/*", f.Package) {
				s, _ := strconv.Unquote(l.Value)
				for _, no := range []string{"failed to ", "unable to ", "ailure to "} {
					if strings.Contains(strings.ToLower(s), no) {
						out = append(out, t.at(l, "text with %q: say what, and why", strings.TrimSpace(no)))
					}
				}
			}
			return true
		})
	}
	return out
}

// badError judges a call that makes an error.
func (t *Tree) badError(c *ast.CallExpr) []Finding {
	name := callee(c)
	if name != "fmt.Errorf" && name != "errors.New" || len(c.Args) == 0 {
		return nil
	}
	l, ok := c.Args[0].(*ast.BasicLit)
	if !ok {
		return nil
	}
	format, _ := strconv.Unquote(l.Value)
	var out []Finding
	if first, _, _ := strings.Cut(format, " "); capitalised(first) {
		out = append(out, t.at(l, "an error begins with a capital: %q", first))
	}
	if strings.HasSuffix(format, ".") && !strings.HasSuffix(format, "...") {
		out = append(out, t.at(l, "an error ends with a full stop"))
	}
	if strings.HasPrefix(format, "error") {
		out = append(out, t.at(l, "an error says that it is one"))
	}
	if name != "fmt.Errorf" {
		return out
	}
	for i, verb := range verbs(format) {
		if i+1 < len(c.Args) && (verb == 'v' || verb == 's') && isError(c.Args[i+1]) {
			out = append(out, t.at(c.Args[i+1], "%%%c of an error: %%w keeps the cause", verb))
		}
	}
	return out
}

// capitalised tells whether a word begins like a sentence. Names in capitals (EINTR,
// CAP_SYS_ADMIN) and paths may.
func capitalised(word string) bool {
	r := []rune(word)
	return len(r) > 1 && unicode.IsUpper(r[0]) && unicode.IsLower(r[1])
}

// verbs gives the verb of each argument of a format.
func verbs(format string) []byte {
	var out []byte
	for _, m := range regexp.MustCompile(`%[-+# 0]*[0-9*]*(?:\.[0-9*]+)?([a-zA-Z%])`).FindAllStringSubmatch(format, -1) {
		for range strings.Count(m[0], "*") {
			out = append(out, '*')
		}
		if m[1] != "%" {
			out = append(out, m[1][0])
		}
	}
	return out
}

// isError tells by its name whether an expression is an error.
func isError(e ast.Expr) bool {
	switch x := e.(type) {
	case *ast.Ident:
		return x.Name == "err" || strings.HasSuffix(x.Name, "Err") || strings.HasPrefix(x.Name, "Err") && len(x.Name) > 3
	case *ast.SelectorExpr:
		return isError(x.Sel)
	case *ast.CallExpr:
		s, ok := x.Fun.(*ast.SelectorExpr)
		return ok && s.Sel.Name == "Error" && len(x.Args) == 0 && isError(s.X)
	}
	return false
}

// Paths refuses our places on the host written out: they are fields of guest.Dirs,
// so that a test can move them. guest has the table, cli speaks of them to people.
func Paths(t *Tree) []Finding {
	var out []Finding
	for _, f := range t.Files {
		if f.Test || f.Package == "guest" || f.Package == "cli" || matches("internal/*", f.Package) {
			continue
		}
		ast.Inspect(f.Syntax, func(n ast.Node) bool {
			l, ok := n.(*ast.BasicLit)
			if !ok || l.Kind != token.STRING {
				return true
			}
			s, _ := strconv.Unquote(l.Value)
			for _, place := range []string{"/etc/vservers", "/var/lib/vservers", "/run/vserver"} {
				if s == place || strings.HasPrefix(s, place+"/") {
					out = append(out, t.at(l, "place %s written out: guest.Dirs has it", place))
				}
			}
			return true
		})
	}
	return out
}
