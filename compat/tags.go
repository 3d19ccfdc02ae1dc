package compat

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"vserver/fault"
	"vserver/host"
	"vserver/kernel/pty"
	"vserver/kernel/quota"
)

// tags are the options of the tools for attributes of files.
type tags struct {
	recursive, all, self, sameFS, u bool
}

func (t *tags) options(c *call) {
	c.flags.BoolVarP(&t.recursive, "recursive", "R", false, "all that is below as well")
	c.flags.BoolVarP(&t.sameFS, "xdev", "x", false, "stay on the file system")
}

// newLsxid shows the tag of each file, which is its project, in a column of 20.
func newLsxid(c *call) run {
	var t tags
	t.options(c)
	c.flags.BoolVarP(&t.all, "all", "a", false, "hidden files as well")
	c.flags.BoolVarP(&t.self, "directory", "d", false, "directories themselves, not what is in them")
	numbers := c.flags.BoolP("numeric", "n", false, "numbers, not names of guests")
	return func(files []string) error {
		if len(files) == 0 {
			files = []string{"."}
		}
		of := c.owners(*numbers)
		return c.each(t, files, func(path string) error {
			word, err := tagOf(path, of)
			if err != nil {
				word = "!!ERR!!"
			}
			fmt.Fprintf(c.out, "%-20s  %s\n", word, c.shown(path))
			return err
		})
	}
}

// newChxid makes files of a project.
func newChxid(c *call) run {
	var t tags
	t.options(c)
	who := c.flags.StringP("context", "c", "", "`N` the number, or the name of a guest")
	c.flags.BoolVarP(&t.u, "unified", "U", false, "not those that have several names")
	return func(files []string) error {
		if *who == "" || len(files) == 0 {
			return usagef("want -c N FILE")
		}
		id, err := c.tag(*who)
		if err != nil {
			return err
		}
		t.self, t.all = !t.recursive, true
		return c.each(t, files, func(path string) error { return t.mark(path, id) })
	}
}

// tag gives the project that a word means: a number as it is, or a guest's own.
func (c *call) tag(word string) (uint32, error) {
	if n, err := strconv.ParseUint(word, 0, 32); err == nil {
		return uint32(n), nil
	}
	n, err := host.Find(c.host, word)
	if err != nil {
		return 0, usage{err}
	}
	spec, err := c.host.Load(n)
	if err != nil {
		return 0, err
	}
	return spec.XID.Project(), nil
}

// owners gives a function that names a project: by the guest whose it is.
func (c *call) owners(numbers bool) func(id uint32) string {
	names := map[uint32]string{}
	if all, err := c.host.List(false); err == nil && !numbers {
		for _, s := range all {
			names[s.XID.Project()] = string(s.Name)
		}
	}
	return func(id uint32) string {
		if name, ok := names[id]; ok {
			return name
		}
		return strconv.FormatUint(uint64(id), 10)
	}
}

// shown gives a path as it is printed: as it is, for scripts, but on a terminal.
func (c *call) shown(path string) string {
	if f, ok := c.out.To.(*os.File); ok && pty.IsTerminal(f) {
		return fault.Plain(path)
	}
	return path
}

// each does something for all files that are meant, and says what went wrong with each.
func (c *call) each(t tags, files []string, do func(path string) error) error {
	failed := false
	say := func(err error) {
		if err != nil {
			failed = true
			fmt.Fprintf(c.err, "%s: %s\n", c.name, fault.PlainLines(err.Error()))
		}
	}
	for _, name := range files {
		say(t.each(name, func(path string) { say(do(path)) }))
	}
	if failed {
		return code(c.failed)
	}
	return nil
}

// each calls do for what is meant by name: itself, what is in it, or all below it. No
// symbolic link is followed.
func (t *tags) each(name string, do func(path string)) error {
	top, err := os.Lstat(name)
	if err != nil {
		return err
	}
	if t.self || !top.IsDir() {
		do(name)
		return nil
	}
	return filepath.WalkDir(name, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		hidden := strings.HasPrefix(d.Name(), ".") && path != name
		switch {
		case hidden && !t.all:
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil
		case path == name && !t.recursive:
			return nil
		case d.IsDir() && path != name && t.sameFS && device(path) != deviceOf(top):
			return fs.SkipDir
		}
		do(path)
		if d.IsDir() && path != name && !t.recursive {
			return fs.SkipDir
		}
		return nil
	})
}

// open opens a file or directory to ask for its attributes. Others have none that the
// kernel tells, and a device is not disturbed.
func open(path string) (*os.File, error) {
	info, err := os.Lstat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() && !info.IsDir() {
		return nil, nil
	}
	return os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
}

func tagOf(path string, name func(uint32) string) (string, error) {
	f, err := open(path)
	if err != nil || f == nil {
		return "-", err
	}
	defer f.Close()
	id, _, err := quota.ProjectOf(f)
	return name(id), err
}

// mark gives the file the tag; with -U not one that has several names, which is shared.
func (t *tags) mark(path string, id uint32) error {
	f, err := open(path)
	if err != nil || f == nil {
		return err
	}
	defer f.Close()
	if info, err := f.Stat(); t.u && err == nil && !info.IsDir() {
		if st, ok := info.Sys().(*syscall.Stat_t); ok && st.Nlink > 1 {
			return nil
		}
	}
	return quota.SetProject(f, id)
}

func device(path string) uint64 {
	info, err := os.Lstat(path)
	if err != nil {
		return 0
	}
	return deviceOf(info)
}

func deviceOf(info fs.FileInfo) uint64 {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0
	}
	return uint64(st.Dev)
}
