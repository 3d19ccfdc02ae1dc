package snapshot

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"vserver/guest"
	"vserver/host/files"
	"vserver/kernel/file"
	"vserver/stack"
	"vserver/step"
)

// Refreeze puts a copy of a layer of guest n, with ids from 0 and in nobody's project, in its
// place for all who list it: users, who are stopped and locked. unify is called with the copy
// before anybody has it. Who is killed leaves some of them with the old one, which shows the
// same, and the next goes on.
func Refreeze(ctx context.Context, d guest.Dirs, n guest.Name, spec *guest.Spec, l stack.Layer, users []guest.Name, unify func(context.Context, stack.Layer) error) error {
	release, err := stack.Hold(d)
	if err != nil {
		return err
	}
	now := stack.Layer{ID: stack.NewID()}
	err = step.Run(ctx, "refreeze", []step.Step{
		{Name: "mark layer " + now.ID, Do: func(context.Context) error { return stack.Mark(d, now) }, Undo: func() error { return discard(d, n, now) }},
		{Name: "copy layer " + l.ID, Do: func(ctx context.Context) error {
			return files.HintFull(refrozen(ctx, d, n, spec, l, now), d.Data)
		}},
		{Name: "unify it", Do: func(ctx context.Context) error { return unify(ctx, now) }},
		{Name: "write it out", Do: func(context.Context) error { return settle(now.Dir(d)) }},
		{Name: "list it", Do: func(context.Context) error {
			for _, u := range users {
				if err := stack.Substitute(d, u, l, now); err != nil {
					return fmt.Errorf("%s: %w", u, err)
				}
			}
			return nil
		}},
		{Name: "tidy it", Do: func(context.Context) error { return stack.Unmark(d, now) }},
	})
	release()
	if err != nil {
		return err
	}
	return stack.Sweep(d)
}

// refrozen makes the copy.
func refrozen(ctx context.Context, d guest.Dirs, n guest.Name, spec *guest.Spec, l, now stack.Layer) error {
	own, err := trees(d, n, spec)
	if err != nil {
		return err
	}
	if err := os.Mkdir(now.Dir(d), 0o700); err != nil {
		return err
	}
	for _, name := range own {
		from, to := filepath.Join(l.Dir(d), name), filepath.Join(now.Dir(d), name)
		there, err := file.Exists(from)
		if err == nil && there {
			err = os.MkdirAll(to, 0o700)
		}
		if err == nil && there {
			err = CopyTree(ctx, from, to, l.Base, now.Base)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
