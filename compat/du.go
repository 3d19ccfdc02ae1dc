package compat

import (
	"fmt"
	"os"
	"syscall"

	"vserver/guest"
	"vserver/host"
	"vserver/kernel/quota"
)

// newVdu counts what files of a guest take.
func newVdu(c *call) run {
	xid := c.flags.String("xid", "", "guest `X`: its name or number")
	space := c.flags.Bool("space", false, "tell the space")
	inodes := c.flags.Bool("inodes", false, "tell the number of files")
	block := c.flags.Int64("blocksize", 1024, "the unit of the space, in `BYTES`")
	bare := c.flags.Bool("script", false, "numbers alone")
	return func(dirs []string) error {
		switch {
		case *xid == "" || !*space && !*inodes:
			return usagef("want --xid, and --space or --inodes")
		case *block < 1:
			return usagef("--blocksize: want a number of bytes")
		}
		mine, err := c.owner(*xid)
		if err != nil {
			return err
		}
		for _, dir := range dirs {
			bytes, count, err := taken(dir, mine)
			if err != nil {
				return err
			}
			line := ""
			if !*bare {
				line = dir
			}
			if *space {
				line += fmt.Sprintf(" %d", (bytes+*block-1) / *block)
			}
			if *inodes {
				line += fmt.Sprintf(" %d", count)
			}
			if *bare {
				line = line[1:]
			}
			fmt.Fprintln(c.out, line)
		}
		return nil
	}
}

// owner gives a function that tells a guest's files: by their owner, which is one of its
// ids, or by their project.
func (c *call) owner(word string) (func(path string, st *syscall.Stat_t) bool, error) {
	n, err := host.Find(c.host, word)
	if err != nil {
		return nil, usage{err}
	}
	spec, err := c.host.Load(n)
	if err != nil {
		return nil, err
	}
	first := spec.TreeID()
	return func(path string, st *syscall.Stat_t) bool {
		if st.Uid-first < guest.IDs {
			return true
		}
		f, err := open(path)
		if err != nil || f == nil {
			return false
		}
		defer f.Close()
		id, _, err := quota.ProjectOf(f)
		return err == nil && id == spec.XID.Project()
	}, nil
}

// taken adds up the files below a directory, on its file system, each once.
func taken(dir string, mine func(string, *syscall.Stat_t) bool) (bytes, count int64, err error) {
	seen := map[uint64]bool{}
	t := tags{recursive: true, all: true, sameFS: true}
	err = t.each(dir, func(path string) {
		info, err := os.Lstat(path)
		if err != nil {
			return // gone meanwhile
		}
		st, ok := info.Sys().(*syscall.Stat_t)
		if !ok || st.Nlink > 1 && seen[st.Ino] || !mine(path, st) {
			return
		}
		seen[st.Ino] = true
		bytes += st.Blocks * 512
		count++
	})
	return bytes, count, err
}
