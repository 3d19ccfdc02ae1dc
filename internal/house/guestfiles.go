package house

import (
	"go/ast"
	"go/token"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// How far a path leads towards what a guest writes.
const (
	away   = iota
	home   // the directory of a guest's files, in which only the host makes entries
	top    // its root or layer, which the guest cannot exchange for another
	within // below that: a path whose every part is the guest's to exchange
)

// GuestFiles refuses paths into a guest's files: each part of one may be exchanged for a
// link at any time, so that what is opened, made or removed is the host's. Packages
// kernel/file and layer have handles that no link leads astray, os.Root is one.
//
// Paths are followed from where they begin, which is guest.Dirs.Guest and /proc/PID/root
// or cwd, through variables, fields (by name, in their package), arguments and results of
// our own functions. What goes through a channel, a map or an interface is lost.
func GuestFiles(t *Tree) []Finding {
	f := &follower{t: t, level: map[string]int{}}
	for f.changed = true; f.changed; {
		f.changed = false
		f.all(f.learn)
	}
	f.all(f.judge)
	return f.found
}

// follower knows how far the things lead that have been seen: variables by package,
// function and name, fields and results by package and name.
type follower struct {
	t       *Tree
	level   map[string]int
	changed bool
	found   []Finding
	imports map[string]string // of the file that is looked at: name to path
	pkg     string
	fn      *ast.FuncDecl
}

// all looks at every node of every function that is held by the rule.
func (f *follower) all(look func(ast.Node)) {
	for _, file := range f.t.Files {
		if file.Test || matchesAny([]string{"internal/*", "kernel/*", "bench", "scripts", "isolation/attack"}, file.Package) {
			continue
		}
		f.pkg, f.imports = file.Package, map[string]string{}
		for _, s := range file.Syntax.Imports {
			p, _ := strconv.Unquote(s.Path.Value)
			name := p[strings.LastIndexByte(p, '/')+1:]
			if s.Name != nil {
				name = s.Name.Name
			}
			f.imports[name] = p
		}
		for _, d := range file.Syntax.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && fn.Body != nil {
				f.fn = fn
				ast.Inspect(fn.Body, func(n ast.Node) bool {
					if n != nil {
						look(n)
					}
					return true
				})
			}
		}
	}
}

// mark notes how far the thing named leads.
func (f *follower) mark(name string, level int) {
	if level > f.level[name] {
		f.level[name], f.changed = level, true
	}
}

func (f *follower) variable(name string) string { return f.pkg + "." + f.fn.Name.Name + ":" + name }

// set notes what is assigned to an expression.
func (f *follower) set(to ast.Expr, level int) {
	switch to := to.(type) {
	case *ast.Ident:
		f.mark(f.variable(to.Name), level)
	case *ast.SelectorExpr:
		f.mark(f.pkg+"..."+to.Sel.Name, level)
	}
}

// learn takes from a statement where paths go.
func (f *follower) learn(n ast.Node) {
	switch n := n.(type) {
	case *ast.AssignStmt:
		for i, to := range n.Lhs {
			if from := n.Rhs[min(i, len(n.Rhs)-1)]; len(n.Lhs) == len(n.Rhs) || i == 0 {
				f.set(to, f.of(from))
			}
		}
	case *ast.ValueSpec:
		for i, to := range n.Names {
			if i < len(n.Values) {
				f.set(to, f.of(n.Values[i]))
			}
		}
	case *ast.RangeStmt:
		if n.Value != nil {
			f.set(n.Value, f.of(n.X))
		}
	case *ast.KeyValueExpr:
		if key, ok := n.Key.(*ast.Ident); ok {
			f.mark(f.pkg+"..."+key.Name, f.of(n.Value))
		}
	case *ast.ReturnStmt:
		if len(n.Results) > 0 {
			f.mark(f.pkg+"."+f.fn.Name.Name+"()", f.of(n.Results[0]))
		}
	case *ast.CallExpr:
		if callee := f.callee(n); callee != "" {
			for i, a := range n.Args {
				f.argument(callee, i, f.of(a))
			}
		}
	}
}

// argument notes that a function is called with a path.
func (f *follower) argument(callee string, i, level int) {
	if level == away {
		return
	}
	for _, file := range f.t.Files {
		if file.Package+"." != callee[:strings.LastIndexByte(callee, '.')+1] || file.Test {
			continue
		}
		for _, d := range file.Syntax.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if !ok || file.Package+"."+fn.Name.Name != callee {
				continue
			}
			var names []string
			for _, p := range fn.Type.Params.List {
				for _, n := range p.Names {
					names = append(names, n.Name)
				}
			}
			if i < len(names) {
				f.mark(callee+":"+names[i], level)
			}
		}
	}
}

// callee names a function of ours, or of another module by its package's path; "" for
// what is none. A method is taken for one of the same package.
func (f *follower) callee(c *ast.CallExpr) string {
	switch fun := c.Fun.(type) {
	case *ast.Ident:
		return f.pkg + "." + fun.Name
	case *ast.SelectorExpr:
		if x, ok := fun.X.(*ast.Ident); ok && f.imports[x.Name] != "" {
			return strings.TrimPrefix(f.imports[x.Name], Module+"/") + "." + fun.Sel.Name
		}
		return f.pkg + "." + fun.Sel.Name
	}
	return ""
}

// of tells how far an expression leads.
func (f *follower) of(e ast.Expr) int {
	switch e := e.(type) {
	case *ast.Ident:
		return f.level[f.variable(e.Name)]
	case *ast.SelectorExpr:
		return f.level[f.pkg+"..."+e.Sel.Name]
	case *ast.ParenExpr:
		return f.of(e.X)
	case *ast.BasicLit:
		return ofProcess(e)
	case *ast.BinaryExpr:
		if e.Op == token.ADD {
			return max(f.below(f.of(e.X), e.Y), f.of(e.Y))
		}
	case *ast.CompositeLit:
		level := away
		for _, x := range e.Elts {
			level = max(level, f.of(x))
		}
		return level
	case *ast.CallExpr:
		return f.made(e)
	}
	return away
}

// made tells how far what a call gives leads.
func (f *follower) made(c *ast.CallExpr) int {
	if s, ok := c.Fun.(*ast.SelectorExpr); ok && s.Sel.Name == "Guest" && len(c.Args) == 1 {
		return home
	}
	switch callee := f.callee(c); callee {
	case "fmt.Sprintf":
		level := f.of(c.Args[0])
		for _, a := range c.Args[1:] {
			if level = max(level, f.of(a)); f.of(a) == top {
				level = within
			}
		}
		return level
	case "path/filepath.Join", "path.Join":
		level := f.of(c.Args[0])
		for _, a := range c.Args[1:] {
			level = max(f.below(level, a), f.of(a))
		}
		return level
	case "path/filepath.Dir":
		if f.of(c.Args[0]) < within {
			return away
		}
		return within
	case "path/filepath.Clean":
		return f.of(c.Args[0])
	default:
		return f.level[callee+"()"]
	}
}

// below tells how far a path leads that goes on with a part.
func (f *follower) below(level int, part ast.Expr) int {
	l, ok := part.(*ast.BasicLit)
	word := ""
	if ok {
		word, _ = strconv.Unquote(l.Value)
		word = strings.Trim(word, "/")
	}
	switch {
	case level >= top && word == "" && ok, level == away:
		return level
	case level >= top:
		return within
	case word == "root" || word == "upper":
		return top
	case !ok || strings.HasPrefix(word, "root/") || strings.HasPrefix(word, "upper/"):
		return within
	}
	return away // a note of the host's
}

// ofProcess tells whether a text is a path through the root or the working directory of a
// process.
func ofProcess(l *ast.BasicLit) int {
	text, err := strconv.Unquote(l.Value)
	m := regexp.MustCompile(`^/proc/[^/]+/(root|cwd)(/?.*)$`).FindStringSubmatch(text)
	switch {
	case l.Kind != token.STRING || err != nil || m == nil || strings.HasPrefix(text, "/proc/self/"):
		return away
	case strings.Trim(m[2], "/") == "":
		return top
	}
	return within
}

// judge finds functions that take a path, and are given one into a guest's files.
func (f *follower) judge(n ast.Node) {
	c, ok := n.(*ast.CallExpr)
	if !ok {
		return
	}
	callee := f.callee(c)
	i := strings.LastIndexByte(callee, '.')
	if i < 0 {
		return
	}
	pkg, name := callee[:i], callee[i+1:]
	limit := within
	switch {
	case slices.Contains([]string{"path/filepath.WalkDir", "path/filepath.Walk", "path/filepath.Glob", "path/filepath.EvalSymlinks",
		"os.DirFS", "os.CopyFS"}, callee):
		limit = top // they go below by themselves
	case pkg == "os" && name != "RemoveAll", pkg == "syscall", callee == "kernel/file.OpenDir", callee == "kernel/file.Exists", callee == "layer.Open":
	default:
		return
	}
	for _, a := range c.Args {
		if f.of(a) >= limit {
			f.found = append(f.found, f.t.at(c, "%s of a path into a guest's files: package layer or kernel/file has handles", name))
			return
		}
	}
}
