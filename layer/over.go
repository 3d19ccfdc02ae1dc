package layer

import (
	"errors"
	"io/fs"
	"slices"
	"strings"

	"vserver/kernel/file"
)

// clear takes away what an entry of an upper tree hides in the target, and tells whether
// that was all: the entry is a whiteout.
func (c *Copy) clear(e *file.Entry, st file.Stat, to *file.Dir, name string) (gone bool, err error) {
	if st.Whiteout() {
		return true, to.RemoveAll(name)
	}
	below, err := to.Stat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if st.Type() == file.TypeDir && below.Type() == file.TypeDir {
		if v, err := e.Xattr(opaque); err != nil || string(v) != "y" {
			return false, nil
		}
	}
	return false, to.RemoveAll(name)
}

// meta gives the copy its owner, attributes and bits.
func (c *Copy) meta(from, to *file.Entry, st file.Stat) error {
	if !c.Over {
		return copyMeta(from, to, st, c.Shift)
	}
	xs, err := from.Xattrs()
	if err != nil {
		return err
	}
	xs = slices.DeleteFunc(xs, func(x file.Xattr) bool { return strings.HasPrefix(x.Name, "trusted.overlay.") })
	return setMeta(to, st, xs, c.Shift)
}
