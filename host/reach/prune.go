package reach

import (
	"context"
	"errors"

	"vserver/guest"
	"vserver/host/state"
	"vserver/kernel/file"
)

// Prune removes from a guest that does not run what is not wanted, by its path in the guest. A
// directory goes with all that is in it; the times of those that stay do not change. Nothing
// that the guest's spec mounts is reached.
func Prune(ctx context.Context, d guest.Dirs, n guest.Name, wanted func(path string) bool) error {
	return state.Locked(d, n, state.Patience, func() error {
		m := &mounting{dirs: d, name: n, view: state.View{Writable: true}, fd: -1}
		if err := m.look(); err != nil {
			m.Close()
			return err
		}
		root := file.RootOf(m.fd, string(n))
		defer root.Close()
		top, err := root.Dir("/")
		if err != nil {
			return err
		}
		defer top.Close()
		return prune(ctx, top, "", wanted)
	})
}

// prune does a directory, whose path ends in no slash.
func prune(ctx context.Context, d *file.Dir, path string, wanted func(string) bool) error {
	items, err := file.Items(d)
	if err != nil {
		return err
	}
	return file.KeepTimes(d, func(*file.Entry) error {
		for _, it := range items {
			if err := errors.Join(ctx.Err(), pruneEntry(ctx, d, it.Name, path+"/"+it.Name, wanted)); err != nil {
				return err
			}
		}
		return nil
	})
}

func pruneEntry(ctx context.Context, d *file.Dir, name, path string, wanted func(string) bool) error {
	if !wanted(path) {
		return d.RemoveAll(name)
	}
	st, err := d.Stat(name)
	if err != nil || st.Type() != file.TypeDir {
		return err
	}
	sub, err := d.Dir(name)
	if err != nil {
		return err
	}
	defer sub.Close()
	return prune(ctx, sub, path, wanted)
}
