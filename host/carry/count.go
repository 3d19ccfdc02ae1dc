package carry

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"syscall"

	"vserver/kernel/file"
)

// counter counts what is in a tree that may change meanwhile.
type counter struct {
	seen         map[inode]bool // of several names
	files, bytes int64
}

type inode struct{ dev, ino uint64 }

// deepest is how deep a tree may be: no path of PATH_MAX (4096 bytes) goes deeper.
const deepest = 2048

func (c *counter) dir(ctx context.Context, d *file.Dir, depth int) error {
	if depth > deepest {
		return fmt.Errorf("count %s: more than %d directories deep", d.Path(), deepest)
	}
	names, err := d.Names()
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := c.entry(ctx, d, name, depth); err != nil && !gone(err) {
			return err
		}
	}
	return nil
}

// gone tells that an entry is not there any more, or something else by now.
func gone(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) || errors.Is(err, syscall.ELOOP)
}

func (c *counter) entry(ctx context.Context, d *file.Dir, name string, depth int) error {
	st, err := d.Stat(name)
	if err != nil {
		return err
	}
	at := inode{st.Dev, st.Ino}
	if st.Type() != file.TypeDir && st.Links > 1 {
		if c.seen[at] {
			return nil
		}
		c.seen[at] = true
	}
	c.files++
	switch {
	case st.Type() == file.TypeFile:
		c.bytes += st.Size
	case st.Type() == file.TypeDir && !st.MountRoot:
		sub, err := d.Dir(name)
		if err != nil {
			return err
		}
		defer sub.Close()
		return c.dir(ctx, sub, depth+1)
	}
	return nil
}
