package layer

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"slices"

	"vserver/kernel/file"
)

// deepest is how deep a tree may be that is copied or shifted: no path of PATH_MAX
// (4096 bytes) goes deeper, and each level holds two descriptors.
const deepest = 2048

// Copy is a copy of a tree, each file's owner, attributes, times and holes kept, hard
// links among its files too. Nothing of the copy shares an inode with the original.
type Copy struct {
	Shift Shift
	// Pick, when not nil, is asked for each entry by its path from the root (without a
	// leading slash); what it refuses is left out, with all below.
	Pick func(path string, st file.Stat) bool
	// Devices says whether device nodes are copied; whiteouts always are.
	Devices bool

	root  *file.Dir
	links map[inode]string // where files of several names were copied to
}

type inode struct{ dev, ino uint64 }

// Run copies what is in from into the directory to, which gets from's owner and mode
// as well. Mount points in from are not entered: their directories stay empty.
func (c *Copy) Run(ctx context.Context, from, to *file.Dir) error {
	c.root, c.links = to, map[inode]string{}
	if err := c.dir(ctx, from, to, "", 0); err != nil {
		return err
	}
	st, err := from.Self()
	if err != nil {
		return err
	}
	a, err := from.SelfEntry()
	if err != nil {
		return err
	}
	defer a.Close()
	b, err := to.SelfEntry()
	if err != nil {
		return err
	}
	defer b.Close()
	return copyMeta(a, b, st, c.Shift)
}

func (c *Copy) dir(ctx context.Context, from, to *file.Dir, at string, depth int) error {
	if depth > deepest {
		return fmt.Errorf("copy %s: more than %d directories deep", from.Path(), deepest)
	}
	names, err := from.Names()
	if err != nil {
		return err
	}
	slices.Sort(names)
	for _, name := range names {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := c.entry(ctx, from, to, name, path.Join(at, name), depth); err != nil {
			return err
		}
	}
	return nil
}

func (c *Copy) entry(ctx context.Context, from, to *file.Dir, name, at string, depth int) error {
	e, err := from.Entry(name)
	if err != nil {
		return err
	}
	defer e.Close()
	st, err := e.Stat()
	if err != nil {
		return err
	}
	if c.Pick != nil && !c.Pick(at, st) {
		return nil
	}
	key := inode{st.Dev, st.Ino}
	if first, ok := c.links[key]; ok && st.Type() != file.TypeDir {
		return c.link(first, to, name)
	}
	made, err := c.make(ctx, from, to, name, at, st, depth)
	if err != nil || !made {
		return err
	}
	if st.Links > 1 && st.Type() != file.TypeDir {
		c.links[key] = at
	}
	n, err := to.Entry(name)
	if err != nil {
		return err
	}
	defer n.Close()
	if err := copyMeta(e, n, st, c.Shift); err != nil {
		return err
	}
	return to.SetTimes(name, st.Atime, st.Mtime)
}

// make makes the copy without its owner, bits and times.
func (c *Copy) make(ctx context.Context, from, to *file.Dir, name, at string, st file.Stat, depth int) (bool, error) {
	switch st.Type() {
	case file.TypeDir:
		if err := to.Mkdir(name, 0o700); err != nil {
			return false, err
		}
		if st.MountRoot {
			return true, nil
		}
		a, err := from.Dir(name)
		if err != nil {
			return false, err
		}
		defer a.Close()
		b, err := to.Dir(name)
		if err != nil {
			return false, err
		}
		defer b.Close()
		return true, c.dir(ctx, a, b, at, depth+1)
	case file.TypeFile:
		return true, copyFile(from, to, name)
	case file.TypeLink:
		target, err := from.Readlink(name)
		if err != nil {
			return false, err
		}
		return true, to.Symlink(target, name)
	case file.TypeFIFO, file.TypeSock:
		return true, to.Mknod(name, st.Type()|0o600, 0)
	}
	if !c.Devices && !st.Whiteout() {
		return false, nil
	}
	return true, to.Mknod(name, st.Type()|0o600, st.Rdev)
}

// link gives a file that was copied already one more name.
func (c *Copy) link(first string, to *file.Dir, name string) error {
	at, old, err := c.root.Parent(first)
	if err != nil {
		return err
	}
	defer at.Close()
	return at.Link(old, to, name)
}

func copyFile(from, to *file.Dir, name string) error {
	in, err := from.Open(name, os.O_RDONLY, 0)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := to.Open(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	err = file.CopyData(out, in)
	if err == nil {
		err = file.Flush(out)
	}
	return errors.Join(err, out.Close())
}
