package gallery

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"

	"vserver/kernel/file"
	"vserver/layer"
)

// deepest is how deep a tree may be: no path of PATH_MAX (4096 bytes) goes deeper.
const deepest = 2048

// comparison goes through a tree of a guest's own files and two images.
type comparison struct {
	found map[string]Conflict
}

// entry is a name in one of the trees.
type entry struct {
	in   *file.Dir // nil when the tree has no such directory
	name string
	st   file.Stat
	is   bool // it is there
}

func look(in *file.Dir, name string) (e entry, err error) {
	e = entry{in: in, name: name}
	if in == nil {
		return e, nil
	}
	e.st, err = in.Stat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return e, nil
	}
	e.is = err == nil
	return e, err
}

func (e entry) isDir() bool { return e.is && e.st.Type() == file.TypeDir }

// open opens a directory; nil when it is none.
func (e entry) open() (*file.Dir, error) {
	if !e.isDir() || e.st.MountRoot {
		return nil, nil
	}
	return e.in.Dir(e.name)
}

// dir goes through a directory of the guest's, with what the images have there.
func (c comparison) dir(ctx context.Context, own, old, now *file.Dir, at string, depth int) error {
	if depth > deepest {
		return fmt.Errorf("compare %s: more than %d directories deep", own.Path(), deepest)
	}
	names, err := own.Names()
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := c.entry(ctx, own, old, now, name, path.Join(at, name), depth); err != nil {
			return err
		}
	}
	return nil
}

func (c comparison) entry(ctx context.Context, own, old, now *file.Dir, name, at string, depth int) error {
	var three [3]entry
	for i, in := range []*file.Dir{own, old, now} {
		var err error
		if three[i], err = look(in, name); err != nil {
			return err
		}
	}
	mine, before, after := three[0], three[1], three[2]
	if !mine.is { // gone meanwhile
		return nil
	}
	joined := mine.isDir() && !opaque(mine) && (before.isDir() || after.isDir())
	if joined {
		if err := c.below(ctx, mine, before, after, at, depth); err != nil {
			return err
		}
	}
	var equal bool
	var err error
	if joined && before.isDir() && after.isDir() {
		// What is in it was looked at.
		equal = before.st.Mode == after.st.Mode && before.st.UID == after.st.UID && before.st.GID == after.st.GID
	} else if equal, err = same(ctx, before, after, depth); err != nil || joined && !before.is {
		return err // a directory that is new in the image, and joined with the guest's
	}
	if equal {
		return nil
	}
	c.found["/"+at] = Conflict{Path: "/" + at, Guest: done(before.is, !mine.st.Whiteout()), Image: done(before.is, after.is)}
	return nil
}

func (c comparison) below(ctx context.Context, mine, before, after entry, at string, depth int) error {
	var dirs [3]*file.Dir
	for i, e := range []entry{mine, before, after} {
		d, err := e.open()
		if err != nil {
			return err
		}
		if d != nil {
			defer d.Close()
		}
		dirs[i] = d
	}
	if dirs[0] == nil {
		return nil
	}
	return c.dir(ctx, dirs[0], dirs[1], dirs[2], at, depth+1)
}

// done says what happened to a file that was there or not, and is there now or not.
func done(before, now bool) string {
	switch {
	case !now:
		return Removed
	case !before:
		return Added
	}
	return Changed
}

// opaque tells whether a directory of the guest's hides those below.
func opaque(e entry) bool {
	at, err := e.in.Entry(e.name)
	if err != nil {
		return false
	}
	defer at.Close()
	is, err := layer.Opaque(at)
	return err == nil && is
}

// same tells whether two images have the same at a place: type, owner, permission bits,
// content.
func same(ctx context.Context, a, b entry, depth int) (bool, error) {
	if a.is != b.is || !a.is {
		return a.is == b.is, nil
	}
	if err := ctx.Err(); err != nil {
		return false, err
	}
	if a.st.Mode != b.st.Mode || a.st.UID != b.st.UID || a.st.GID != b.st.GID || a.st.Rdev != b.st.Rdev || depth > deepest {
		return false, nil
	}
	switch a.st.Type() {
	case file.TypeLink:
		x, err := a.in.Readlink(a.name)
		if err != nil {
			return false, err
		}
		y, err := b.in.Readlink(b.name)
		return x == y, err
	case file.TypeFile:
		if a.st.Size != b.st.Size {
			return false, nil
		}
		return sameContent(a, b)
	case file.TypeDir:
		return sameDir(ctx, a, b, depth)
	}
	return true, nil
}

func sameDir(ctx context.Context, a, b entry, depth int) (bool, error) {
	x, err := a.in.Dir(a.name)
	if err != nil {
		return false, err
	}
	defer x.Close()
	y, err := b.in.Dir(b.name)
	if err != nil {
		return false, err
	}
	defer y.Close()
	names, err := x.Names()
	if err != nil {
		return false, err
	}
	others, err := y.Names()
	if err != nil {
		return false, err
	}
	slices.Sort(names)
	slices.Sort(others)
	if !slices.Equal(names, others) {
		return false, nil
	}
	for _, name := range names {
		p, err := look(x, name)
		if err != nil {
			return false, err
		}
		q, err := look(y, name)
		if err != nil {
			return false, err
		}
		if equal, err := same(ctx, p, q, depth+1); !equal || err != nil {
			return false, err
		}
	}
	return true, nil
}

func sameContent(a, b entry) (bool, error) {
	if a.st.Dev == b.st.Dev && a.st.Ino == b.st.Ino {
		return true, nil // unified
	}
	return layer.SameContent(a.in, a.name, b.in, b.name)
}
