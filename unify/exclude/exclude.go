// Package exclude reads lists of what is not to be unified of a guest.
package exclude

import (
	"bufio"
	"fmt"
	"io"
	"path"
	"strings"

	"vserver/guest"
)

// List says which files of a guest stay its own, in the language of Linux-VServer's
// exclude lists: a pattern a line, of which the first that matches decides; + before one
// includes, - or nothing excludes, and so does ~; # begins a comment. * crosses slashes. What
// no pattern matches is included. A directory that is excluded is so with all below it.
type List struct {
	rules []rule
	plain map[string]int  // the first rule that is a name, by it
	dirs  map[string]bool // directories asked for before: whether they are included
}

type rule struct {
	pattern string
	include bool
	start   string // what all that match begin with
}

// special are the characters that make a pattern more than a name.
const special = `*?[\`

// Usual is the list where nobody wrote another: what a guest changes in place, or has for
// itself, stays its own.
const Usual = `
+/etc/termcap
/etc/*
/.rpmdb
/dev
/home
/media
/mnt
/proc
/root
/run
/selinux
/srv
/sys
/tmp
/var
*/ls-R
`

// Parse reads a list, or many, the first before the others.
func Parse(lists ...io.Reader) (*List, error) {
	x := &List{plain: map[string]int{}, dirs: map[string]bool{"/": true}}
	for _, l := range lists {
		for in := bufio.NewScanner(l); ; {
			if !in.Scan() {
				if err := in.Err(); err != nil {
					return nil, err
				}
				break
			}
			line := strings.TrimSpace(in.Text())
			if line == "" || line[0] == '#' {
				continue
			}
			if err := x.add(line); err != nil {
				return nil, err
			}
		}
	}
	return x, nil
}

func (x *List) add(line string) error {
	r := rule{pattern: flat(strings.TrimLeft(line, "+-~")), include: line[0] == '+'}
	if _, err := path.Match(r.pattern, ""); err != nil || r.pattern == "" {
		return fmt.Errorf("exclude list: %q: no such pattern: %w", line, guest.ErrInvalid)
	}
	if i := strings.IndexAny(r.pattern, special); i >= 0 {
		r.start = r.pattern[:i]
	} else if _, before := x.plain[r.pattern]; !before {
		x.plain[r.pattern] = len(x.rules)
	}
	x.rules = append(x.rules, r)
	return nil
}

// flat makes a name, or a pattern of the shell, one for which path.Match has no
// directories.
func flat(s string) string {
	return strings.NewReplacer("/", "\x01", "[!", "[^").Replace(s)
}

// Wanted tells whether a file, by its path from the guest's root, is to be unified. It is
// not for several goroutines at once.
func (x *List) Wanted(p string) bool { return x.dir(path.Dir(p)) && x.match(p) }

func (x *List) dir(p string) bool {
	in, known := x.dirs[p]
	if !known {
		in = x.dir(path.Dir(p)) && x.match(p)
		x.dirs[p] = in
	}
	return in
}

func (x *List) match(p string) bool {
	name := strings.ReplaceAll(p, "/", "\x01")
	first, found := x.plain[name]
	for i, r := range x.rules {
		if found && i == first {
			return r.include
		}
		if !strings.ContainsAny(r.pattern, special) || !strings.HasPrefix(name, r.start) {
			continue
		}
		if ok, err := path.Match(r.pattern, name); ok && err == nil {
			return r.include
		}
	}
	return true
}

// Conffiles reads dpkg's list of what is installed, /var/lib/dpkg/status, and gives the
// files that belong to the administrator once they are there, as an exclude list.
func Conffiles(status io.Reader) (string, error) {
	var out strings.Builder
	in, among := bufio.NewScanner(status), false
	const longest = 1 << 20 // a Depends of some hundred packages is a line
	in.Buffer(nil, longest)
	escape := strings.NewReplacer(`\`, `\\`, "*", `\*`, "?", `\?`, "[", `\[`)
	for in.Scan() {
		line := in.Text()
		if !strings.HasPrefix(line, " ") {
			among = strings.HasPrefix(line, "Conffiles:")
			continue
		}
		if p, _, _ := strings.Cut(line[1:], " "); among && strings.HasPrefix(p, "/") {
			out.WriteString("-" + escape.Replace(p) + "\n")
		}
	}
	return out.String(), in.Err()
}
