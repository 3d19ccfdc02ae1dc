package layer

import (
	"context"

	"vserver/kernel/file"
)

// Run gives a tree, its root included, to other ids in place: owners, ACLs and file
// capabilities are moved, set-uid bits stay. Files that are in the new range already
// are left alone (they are other names of one that was done; the two ranges must not
// overlap). Mount points are not entered. With equal ranges it changes just files of ids
// outside, which become nobody's.
func (s Shift) Run(ctx context.Context, d *file.Dir) error {
	if err := s.below(ctx, d, 0); err != nil {
		return err
	}
	e, err := d.SelfEntry()
	if err != nil {
		return err
	}
	defer e.Close()
	return s.entry(e)
}

func (s Shift) below(ctx context.Context, d *file.Dir, depth int) error {
	return Each(ctx, "chown", d, depth, func(name string) error { return s.named(ctx, d, name, depth) })
}

func (s Shift) named(ctx context.Context, d *file.Dir, name string, depth int) error {
	st, err := d.Stat(name)
	if err != nil {
		return err
	}
	if st.MountRoot {
		return nil
	}
	if st.Type() == file.TypeDir {
		sub, err := d.Dir(name)
		if err != nil {
			return err
		}
		err = s.below(ctx, sub, depth+1)
		sub.Close()
		if err != nil {
			return err
		}
	}
	e, err := d.Entry(name)
	if err != nil {
		return err
	}
	defer e.Close()
	return s.entry(e)
}

func (s Shift) entry(e *file.Entry) error {
	st, err := e.Stat()
	if err != nil {
		return err
	}
	back := Shift{s.To, s.To}
	if back.ID(st.UID) == st.UID && back.ID(st.GID) == st.GID {
		return nil // done already, or another name of a file that was
	}
	xs, err := e.Xattrs()
	if err != nil {
		return err
	}
	return setMeta(e, st, xs, s)
}
