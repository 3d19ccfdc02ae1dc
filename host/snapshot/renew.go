package snapshot

import (
	"context"
	"errors"
	"fmt"
	"syscall"

	"vserver/fault"
	"vserver/guest"
	"vserver/host/files"
	"vserver/quota/sized"
	"vserver/stack"
	"vserver/step"
)

// renewing has a guest whose own files are on a device become what it was. The device goes on
// to have all of them, so that its own snapshots (LVM's) are whole: what the snapshot has
// over layers that it has in common with the guest as it is now is copied there.
func (t *taking) renewing(s *stack.Snapshot) []step.Step {
	return []step.Step{
		{Name: "list snapshot " + s.Name, Do: func(context.Context) error { return t.known(s) }, Undo: func() error { return t.forget(s) }},
		{Name: "have the names written anew", Do: func(context.Context) error { return files.Outdate(t.dirs, t.n) }},
		{Name: "copy its files to " + t.spec.Root.Device, Do: func(ctx context.Context) error { return t.renew(ctx, *s) }},
	}
}

// known lists a snapshot that comes with a stream, and notes its name in made.
func (t *taking) known(s *stack.Snapshot) error {
	if s.Name == "" {
		return nil
	}
	dir := t.dirs.Guest(t.n)
	if _, err := stack.Find(dir, s.Name); !errors.Is(err, stack.ErrNoSnapshot) {
		return err
	}
	t.made = *s
	return stack.Add(dir, *s)
}

func (t *taking) forget(s *stack.Snapshot) error {
	if t.made.Name == "" {
		return nil
	}
	return stack.Drop(t.dirs.Guest(t.n), s.Name)
}

// renew puts the files on the device.
func (t *taking) renew(ctx context.Context, s stack.Snapshot) error {
	layers, err := s.Layers()
	if err != nil {
		return err
	}
	common := 0
	for common < min(len(layers), len(t.old)) && layers[len(layers)-1-common] == t.old[len(t.old)-1-common] {
		common++
	}
	over := len(layers) - common
	if over == 0 {
		return fmt.Errorf("snapshot %s: has no layer of its own: %w", s.Name, guest.ErrInvalid)
	}
	err = sized.Renew(t.dirs.Guest(t.n), stack.Text(layers[over:]), func(at string) error {
		if err := files.MakeOwnAt(at, t.spec.FirstID(), t.spec.Root.Shared, nil); err != nil {
			return err
		}
		return combine(ctx, t.dirs, layers[:over], files.Own(t.spec.Root), at, t.spec.FirstID())
	})
	if errors.Is(err, syscall.ENOSPC) {
		err = fault.Hint(err, t.spec.Root.Device+" has to hold both for a moment: what the guest has and what it gets back")
	}
	return err
}
