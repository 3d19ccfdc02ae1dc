package making

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"vserver/guest"
	"vserver/host/life"
	"vserver/host/state"
	"vserver/kernel/file"
	"vserver/step"
	"vserver/store"
)

// DeleteOptions are the ways to delete a guest.
type DeleteOptions struct {
	// Force stops a guest that runs, leaving it no time.
	Force bool
}

// Delete removes guest n: its spec, its files, its notes, the image that was made for
// it alone, and its number. It is guest.ErrRunning for a guest that runs, unless forced,
// and guest.ErrNotFound when there is none. When it is killed the guest is either whole
// or gone from the list; the next Build, Delete or Rename of any guest does the rest.
func Delete(ctx context.Context, d guest.Dirs, n guest.Name, o DeleteOptions) error {
	err := delete(ctx, d, n)
	for range forceTries {
		if !o.Force || !errors.Is(err, guest.ErrRunning) {
			break
		}
		if err = life.Stop(ctx, d, n, life.StopOptions{Kill: true}); err == nil || errors.Is(err, guest.ErrStopped) {
			err = delete(ctx, d, n)
		}
	}
	if err == nil {
		err = life.Prune(d)
	}
	return err
}

// forceTries bounds how often a guest that is started again meanwhile is stopped.
const forceTries = 5

func delete(ctx context.Context, d guest.Dirs, n guest.Name) error {
	left, err := leftovers(d, n)
	if err != nil {
		return err
	}
	return run(ctx, d, n, "delete", deleteSteps(d, n, left))
}

// leftovers tells whether there are files of n without a spec: of a deletion that was
// killed, or of a guest whose spec somebody removed.
func leftovers(d guest.Dirs, n guest.Name) (bool, error) {
	spec, err := store.Exists(d.Spec(n))
	if spec || err != nil {
		return false, err
	}
	files, err1 := file.Exists(d.Guest(n))
	mark, err2 := file.Exists(staging(d, n))
	return files || mark, errors.Join(err1, err2)
}

func deleteSteps(d guest.Dirs, n guest.Name, left bool) []step.Step {
	return []step.Step{
		{Name: "check that the guest is there and does not run", Do: func(context.Context) error {
			there, err := store.Exists(d.Spec(n))
			if err == nil && !there && !left {
				err = guest.ErrNotFound
			}
			if err != nil {
				return err
			}
			if v, err := state.Mounted(d, n); err != nil || v != nil {
				return errors.Join(err, v.Taken(n))
			}
			return life.Halted(d, n)
		}},
		{Name: "mark it in " + staging(d, n), Do: func(context.Context) error {
			err := os.MkdirAll(staging(d, n), 0o700)
			if errors.Is(err, syscall.ENOSPC) {
				err = errors.Join(spare(d, n), os.MkdirAll(staging(d, n), 0o700))
			}
			return err
		}, Undo: func() error { return tidy(d, n) }},
		{Name: "note in it what the guest has elsewhere", Do: func(context.Context) error { return noteTree(d, n) }},
		{Name: "remove " + d.Spec(n), Do: func(context.Context) error { return store.Remove(d.Spec(n)) }},
		{Name: "move its files out of sight", Do: func(context.Context) error {
			err := os.Rename(d.Guest(n), filepath.Join(staging(d, n), "files"))
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			return err
		}},
		{Name: "remove its files and notes, and release its number", Do: func(context.Context) error { return clear(d, n) }},
	}
}

// spare gives back a block of a full disk, which a deletion would make room on and needs one
// for its mark: the directory within the guest's work directory that overlay makes again.
func spare(d guest.Dirs, n guest.Name) error {
	at, err := file.OpenDir(filepath.Join(d.Guest(n), "work"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return errors.Join(at.RemoveAll("work"), at.Close())
}
