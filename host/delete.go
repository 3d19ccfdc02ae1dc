package host

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"vserver/fault"
	"vserver/guest"
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
func (h *Host) Delete(ctx context.Context, n guest.Name, o DeleteOptions) error {
	err := h.delete(ctx, n)
	for range forceTries {
		if !o.Force || !errors.Is(err, guest.ErrRunning) {
			break
		}
		if err = h.Stop(ctx, n, StopOptions{Kill: true}); err == nil || errors.Is(err, guest.ErrStopped) {
			err = h.delete(ctx, n)
		}
	}
	if err == nil {
		err = h.Prune()
	}
	return fault.New(string(n), "delete", err)
}

// forceTries bounds how often a guest that is started again meanwhile is stopped.
const forceTries = 5

func (h *Host) delete(ctx context.Context, n guest.Name) error {
	left, err := h.leftovers(n)
	if err != nil {
		return err
	}
	return h.run(ctx, n, "delete", h.deleteSteps(n, left))
}

// leftovers tells whether there are files of n without a spec: of a deletion that was
// killed, or of a guest whose spec somebody removed.
func (h *Host) leftovers(n guest.Name) (bool, error) {
	spec, err := exists(h.Dirs.Spec(n))
	if spec || err != nil {
		return false, err
	}
	files, err1 := exists(h.Dirs.Guest(n))
	mark, err2 := exists(h.staging(n))
	return files || mark, errors.Join(err1, err2)
}

func (h *Host) deleteSteps(n guest.Name, left bool) []step.Step {
	return []step.Step{
		{Name: "check that the guest is there and does not run", Do: func(context.Context) error {
			there, err := exists(h.Dirs.Spec(n))
			if err == nil && !there && !left {
				err = guest.ErrNotFound
			}
			if err != nil {
				return err
			}
			return h.halted(n)
		}},
		{Name: "mark it in " + h.staging(n), Do: func(context.Context) error {
			return os.MkdirAll(h.staging(n), 0o700)
		}, Undo: func() error { return h.tidy(n) }},
		{Name: "remove " + h.Dirs.Spec(n), Do: func(context.Context) error { return store.Remove(h.Dirs.Spec(n)) }},
		{Name: "move its files out of sight", Do: func(context.Context) error {
			err := os.Rename(h.Dirs.Guest(n), filepath.Join(h.staging(n), "files"))
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			return err
		}},
		{Name: "remove its files and notes, and release its number", Do: func(context.Context) error { return h.clear(n) }},
	}
}

// halted refuses a guest of which a process is left, and takes down what is left of one
// that ended when nobody saw it.
func (h *Host) halted(n guest.Name) error {
	running, err := h.runs(n)
	if err != nil {
		return err
	}
	if running {
		return fault.Hint(guest.ErrRunning, "vserver "+string(n)+" stop")
	}
	return h.takeDown(n)
}
