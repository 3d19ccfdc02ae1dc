package unification

import (
	"context"
	"errors"
	"fmt"
	"syscall"

	"vserver/fault"
	"vserver/guest"
	"vserver/host/files"
	"vserver/host/state"
	"vserver/stack"
	"vserver/unify/beneath"
)

// Undo gives a stopped guest back what Guest moved beneath its own layer, as copies. Files
// that are reflinked stay so: each is the guest's own already.
func Undo(ctx context.Context, d guest.Dirs, n guest.Name, o Options) (u beneath.Lifted, err error) {
	err = state.Locked(d, n, state.Patience, func() error {
		w, running, err := begun(d, n, GuestOptions{Options: o})
		if err != nil {
			return err
		}
		defer w.release()
		if running {
			return fault.Hint(guest.ErrRunning, "vserver "+string(n)+" stop")
		}
		if err := w.undue(); err != nil {
			return err
		}
		u, err = w.lift(ctx)
		if w.imaged() && errors.Is(err, syscall.ENOSPC) {
			return fault.Hint(err, "they have no room among the guest's own files: more by limits.disk, or a larger root.device")
		}
		return files.HintFull(err, d.Data)
	})
	return u, err
}

// lift lifts the layer on top, as long as it is one of moved files.
func (w *work) lift(ctx context.Context) (all beneath.Lifted, err error) {
	for {
		l, is, err := stack.Unified(w.dirs, w.name)
		if err != nil || !is {
			return all, err
		}
		u, err := w.liftOne(ctx, l, all)
		all.Files, all.Bytes = all.Files+u.Files, all.Bytes+u.Bytes
		if err != nil {
			return all, err
		}
	}
}

func (w *work) liftOne(ctx context.Context, l stack.Layer, before beneath.Lifted) (beneath.Lifted, error) {
	b, err := w.open(l)
	if err != nil {
		return beneath.Lifted{}, err
	}
	next := before.Bytes + step
	u, err := b.Lift(ctx, func(u beneath.Lifted) {
		if sum := before.Bytes + u.Bytes; sum >= next {
			w.say.Say("copied %d files, %d MiB", before.Files+u.Files, sum>>20)
			next = sum + step
		}
	})
	if err = errors.Join(err, b.Close()); err != nil {
		return u, err
	}
	if err := stack.Lift(w.dirs, w.name, l); err != nil {
		return u, fmt.Errorf("layer %s: %w", l.ID, err)
	}
	return u, nil
}
