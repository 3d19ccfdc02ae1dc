package beneath

import (
	"context"
	"errors"
	"fmt"

	"vserver/kernel/file"
	"vserver/layer"
)

// Lifted says what Lift did. Sizes are those of contents, in bytes.
type Lifted struct {
	Files int64 `json:"files"` // copied into the private layer
	Bytes int64 `json:"bytes"`
}

// Lift copies what is beneath back into the private layer: Move undone, the disk paid for
// again. The layer beneath, which is then of no use, stays as it is. Who is killed leaves a
// guest that is what it was, and the next Lift goes on. tell, when not nil, is called after
// each file.
func (l *Layer) Lift(ctx context.Context, tell func(Lifted)) (Lifted, error) {
	if tell == nil {
		tell = func(Lifted) {}
	}
	u := &lifter{Layer: l, tell: tell}
	times, err := l.up.Self()
	if err != nil {
		return u.lifted, err
	}
	err = errors.Join(u.all(ctx, l.up, l.down, 0), l.place.SetTimes(upper, times.Atime, times.Mtime))
	if err != nil {
		return u.lifted, errors.Join(err, l.place.RemoveAll(fresh))
	}
	// The copies must be on the disk before what they were made of goes.
	return u.lifted, file.SyncAll(l.place)
}

type lifter struct {
	*Layer
	lifted Lifted
	tell   func(Lifted)
}

func (u *lifter) all(ctx context.Context, up, down *file.Dir, depth int) error {
	if depth > deepest {
		return fmt.Errorf("%s: more than %d directories deep", down.Path(), deepest)
	}
	items, err := file.Items(down)
	if err != nil {
		return err
	}
	for _, it := range items {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := u.entry(ctx, up, down, it.Name, depth); err != nil {
			return err
		}
	}
	return nil
}

func (u *lifter) entry(ctx context.Context, up, down *file.Dir, name string, depth int) error {
	st, err := down.Stat(name)
	if err != nil {
		return err
	}
	above, err := up.Stat(name)
	there := err == nil
	if file.Gone(err) != nil {
		return err
	}
	switch {
	case st.Type() == file.TypeDir && (!there || above.Type() == file.TypeDir):
		return u.dir(ctx, up, down, name, st, depth, there)
	case st.Type() == file.TypeFile && !there:
		return u.file(up, down, name, st)
	}
	return nil // hidden
}

func (u *lifter) dir(ctx context.Context, up, down *file.Dir, name string, st file.Stat, depth int, there bool) error {
	if !there {
		if err := up.Mkdir(name, 0o700); err != nil {
			return err
		}
	}
	a, err := up.Dir(name)
	if err != nil {
		return err
	}
	defer a.Close()
	b, err := down.Dir(name)
	if err != nil {
		return err
	}
	defer b.Close()
	to, err := a.SelfEntry()
	if err != nil {
		return err
	}
	defer to.Close()
	hides, err := layer.Opaque(to)
	if err != nil || hides {
		return err
	}
	from, err := b.SelfEntry()
	if err != nil {
		return err
	}
	defer from.Close()
	times, err := to.Stat()
	if err != nil {
		return err
	}
	if !there {
		times = st
	}
	if err := u.all(ctx, a, b, depth+1); err != nil {
		return err
	}
	// Its being opaque goes last: it hides what was not copied yet.
	hides, err = layer.Opaque(from)
	switch {
	case err != nil:
		return err
	case !there:
		err = u.back().Dress(from, to, st)
	case hides:
		err = layer.Hide(up, name)
	}
	return errors.Join(err, up.SetTimes(name, times.Atime, times.Mtime))
}

// back is the shift from the layer beneath to the private one.
func (l *Layer) back() layer.Shift { return layer.Shift{To: l.base} }

// file copies a file under a name that nobody sees, and gives it its own when it is whole.
func (u *lifter) file(up, down *file.Dir, name string, st file.Stat) error {
	if err := u.place.RemoveAll(fresh); err != nil {
		return err
	}
	err := u.back().File(down, name, u.place, fresh)
	if err == nil {
		err = u.place.Rename(fresh, up, name)
	}
	if err != nil {
		return errors.Join(err, file.Gone(u.place.Unlink(fresh)))
	}
	u.lifted.Files++
	u.lifted.Bytes += st.Size
	u.tell(u.lifted)
	return nil
}
