package layer

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path"

	"vserver/kernel/file"
)

// Copy is a copy of a tree, each file's owner, attributes, times and holes kept, hard
// links among its files too. Nothing of the copy shares an inode with the original.
type Copy struct {
	Shift Shift
	// Pick, when not nil, is asked for each entry by its path from the root (without a
	// leading slash); what it refuses is left out, with all below.
	Pick func(path string, st file.Stat) bool
	// Devices says whether device nodes are copied; whiteouts always are.
	Devices bool
	// Over lays what is copied over what is in the target as an overlay would: a
	// whiteout takes away, an opaque directory begins anew, others are joined, and the
	// overlay's own marks are not copied.
	Over bool

	root  *file.Dir
	links map[inode]string // where files of several names were copied to
}

type inode struct{ dev, ino uint64 }

// Run copies what is in from into the directory to, which gets from's owner, mode and times
// as well. Mount points in from are not entered: their directories stay empty.
func (c *Copy) Run(ctx context.Context, from, to *file.Dir) error {
	c.root, c.links = to, map[inode]string{}
	if err := c.dir(ctx, from, to, "", 0); err != nil {
		return err
	}
	return c.self(from, to)
}

// Paths is Run for directories by their paths. These are roots or layers themselves, which
// no guest can exchange.
func (c *Copy) Paths(ctx context.Context, from, to string) error {
	src, err := file.OpenDir(from)
	if err != nil {
		return err
	}
	defer src.Close()
	dst, err := file.OpenDir(to)
	if err != nil {
		return err
	}
	defer dst.Close()
	return c.Run(ctx, src, dst)
}

// self gives a directory what there is of another beside its entries.
func (c *Copy) self(from, to *file.Dir) error {
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
	if err := c.meta(a, b, st); err != nil {
		return err
	}
	return b.SetTimes(st.Atime, st.Mtime)
}

func (c *Copy) dir(ctx context.Context, from, to *file.Dir, at string, depth int) error {
	return Each(ctx, "copy", from, depth, func(name string) error {
		return c.entry(ctx, from, to, name, path.Join(at, name), depth)
	})
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
	if c.Over {
		if gone, err := c.clear(e, st, to, name); err != nil || gone {
			return err
		}
	}
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
	if err := c.meta(e, n, st); err != nil {
		return err
	}
	return to.SetTimes(name, st.Atime, st.Mtime)
}

// make makes the copy without its owner, bits and times.
func (c *Copy) make(ctx context.Context, from, to *file.Dir, name, at string, st file.Stat, depth int) (bool, error) {
	switch st.Type() {
	case file.TypeDir:
		if err := to.Mkdir(name, 0o700); err != nil && !(c.Over && errors.Is(err, fs.ErrExist)) {
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
		return true, copyInto(from, name, to, name)
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

func copyInto(from *file.Dir, name string, to *file.Dir, toName string) error {
	in, err := from.Open(name, os.O_RDONLY, 0)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := to.Open(toName, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	err = file.CopyData(out, in)
	if err == nil {
		err = file.Flush(out)
	}
	return errors.Join(err, out.Close())
}
