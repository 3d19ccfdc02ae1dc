package parcel

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"vserver/fault"
	"vserver/guest"
	"vserver/host/files"
	"vserver/host/snapshot"
	"vserver/kernel/file"
	"vserver/stack"
	"vserver/step"
	"vserver/store"
)

// onto has a guest that is there, and stopped, become what the changes to a snapshot of it
// make of that. Its settings stay.
func (u *unpacking) onto(ctx context.Context) error {
	there, err := store.Exists(u.dirs.Spec(u.n))
	if err == nil && !there {
		err = guest.ErrNotFound
	}
	if err != nil {
		return fault.Hint(fmt.Errorf("the stream has what changed since snapshot %s: %w", u.is.Since.Name, err),
			"`vserver import` the stream of that snapshot first")
	}
	if !u.o.Replace {
		return fault.Hint(fmt.Errorf("the stream has what changed since snapshot %s: %w", u.is.Since.Name, guest.ErrExists),
			"vserver import --replace; what the guest has changed here since is lost")
	}
	spec, err := store.Load(u.dirs.Spec(u.n))
	if err != nil {
		return err
	}
	u.spec = spec.WithDefaults(u.n)
	if err := u.group.Bound(u.spec.Limits); err != nil {
		return err
	}
	old, err := u.basis()
	if err != nil {
		return err
	}
	shot, err := u.becomes(ctx)
	if err != nil {
		return err
	}
	trees := files.Own(u.spec.Root)
	bring := []step.Step{
		{Name: "take in layers", Do: func(ctx context.Context) error { return u.above(ctx, trees, old) }, Undo: u.drop},
		{Name: "check the sum", Do: func(context.Context) error { return u.z.End(sealed(u.in, u.sum)) }},
		{Name: "write them to the disk", Do: func(context.Context) error {
			for _, l := range u.base.layers {
				shot.Stack = append(shot.Stack, l.Text())
			}
			return u.sync()
		}},
	}
	if err := snapshot.Become(ctx, u.dirs, u.n, "import", bring, &shot); err != nil {
		return err
	}
	return u.settle()
}

// basis gives the layers of the guest's own snapshot that the stream is about, topmost
// first. Nobody else's would do: that would give the guest his files.
func (u *unpacking) basis() ([]stack.Layer, error) {
	all, err := stack.Snapshots(u.dirs.Guest(u.n))
	if err != nil {
		return nil, err
	}
	for _, s := range all {
		if s.ID != u.is.Since.ID || len(s.Stack) != len(u.is.Since.Layers) {
			continue
		}
		return s.Layers()
	}
	return nil, fault.Hint(fmt.Errorf("the stream has what changed since snapshot %s (%s): %w", u.is.Since.Name, u.is.Since.ID, stack.ErrNoSnapshot),
		"import the stream of that snapshot first; `vserver "+string(u.n)+" snapshot list --json` shows the ids that are here")
}

// becomes is the record of what the guest becomes.
func (u *unpacking) becomes(ctx context.Context) (s stack.Snapshot, err error) {
	spec, err := u.parse()
	if err != nil {
		return s, err
	}
	full := spec.WithDefaults(u.n)
	s.Kind, s.Shared, s.Made, s.Running = full.Root.Kind, full.Root.Shared, u.is.Made, u.is.Running
	if len(u.is.Snapshots) == 1 {
		was := u.is.Snapshots[0]
		s.Name, s.ID, s.Made, s.Running = was.Name, was.ID, was.Made, was.Running
		if _, err := stack.Find(u.dirs.Guest(u.n), s.Name); err == nil {
			return s, fmt.Errorf("snapshot %s: %w", s.Name, guest.ErrExists)
		}
		text, err := store.Read(u.dirs.Spec(u.n))
		if err != nil {
			return s, err
		}
		s.Spec = string(text)
	}
	names := map[string]string{}
	for _, im := range u.is.Images {
		name, release, err := have(ctx, u.dirs, im)
		if err != nil {
			return s, err
		}
		if name != "" {
			release()
			names[im.Name] = name
		}
	}
	for _, l := range spec.Root.Lower {
		s.Lower = append(s.Lower, cmp.Or(names[l], l))
	}
	return s, nil
}

// above takes in the layers that are sent, over those that are here: old is the snapshot's.
func (u *unpacking) above(ctx context.Context, trees []string, old []stack.Layer) (err error) {
	if u.base.release, err = stack.Hold(u.dirs); err != nil {
		return err
	}
	common := old[len(old)-u.is.Since.Common:]
	count := u.is.sent()
	if u.is.Own {
		count++
	}
	if count+len(common) > stack.Most {
		return fault.Hint(fmt.Errorf("would lie on %d layers, and no more than %d go: %w", count+len(common), stack.Most, guest.ErrUnsupported),
			"`vserver export` it without --since, and import that under another name")
	}
	made := make([]stack.Layer, count)
	for i := range slices.Backward(made) {
		var under stack.Layer
		if at := u.is.Since.under(); i == count-1 && at >= 0 {
			under = old[at]
		}
		u.say.Say("take in %d of %d layers", count-i, count)
		if made[i], err = u.layer(ctx, trees, under); err != nil {
			return err
		}
	}
	u.base.layers = append(made, common...)
	return nil
}

// sync has the layers on the disk before anybody lists them.
func (u *unpacking) sync() error {
	d, err := file.OpenDir(u.dirs.Layers())
	if err != nil {
		return err
	}
	defer d.Close()
	return file.SyncAll(d)
}

// settle lets go of the layers, which are listed by now.
func (u *unpacking) settle() error {
	for _, l := range u.base.layers {
		if err := stack.Unmark(u.dirs, l); err != nil {
			return err
		}
	}
	if err := u.drop(); err != nil {
		return err
	}
	return stack.Sweep(u.dirs)
}
