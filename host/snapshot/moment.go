package snapshot

import (
	"context"

	"vserver/guest"
	"vserver/host/files"
	"vserver/host/life"
	"vserver/host/state"
	"vserver/quota/sized"
	"vserver/stack"
	"vserver/step"
	"vserver/store"
)

// State is what a guest is at one moment.
type State struct {
	Spec    guest.Spec // as its file has it now, but the root that it had then
	Running bool
	Layers  []stack.Layer // topmost first
	// Own is the directory of the guest's own files over the layers, or of a copy of them,
	// whose ids begin at Base; "" when all that it has is in the layers.
	Own  string
	Base uint32
}

// Moment calls do, as the last step of the table op, with what guest n is at one moment, or
// what it was for its snapshot called name. A guest that runs is frozen while its own
// files are taken, and goes on meanwhile; one that does not is locked. Nothing stays.
func Moment(ctx context.Context, d guest.Dirs, n guest.Name, name, op string, do func(context.Context, State) error) error {
	if err := stack.Settle(d); err != nil {
		return err
	}
	if name != "" {
		return past(ctx, d, n, name, op, do)
	}
	unlock, err := state.Lock(d, n)
	if err != nil {
		return err
	}
	defer unlock()
	if err := there(d, n); err != nil {
		return err
	}
	running, err := state.Runs(d, n)
	if err != nil {
		return err
	}
	if !running {
		return still(ctx, d, n, op, do)
	}
	t, err := start(d, n)
	if err != nil {
		return err
	}
	defer t.release()
	spec, err := store.Load(d.Spec(n))
	if err != nil {
		return err
	}
	s := State{Spec: *spec, Running: true, Own: t.new.Dir(d), Base: t.new.Base}
	if t.spec.Root.Kind == guest.RootOverlay {
		s.Layers = t.old
	}
	return step.Run(ctx, op, []step.Step{
		{Name: "mark layer " + t.new.ID, Do: t.mark, Undo: t.discard},
		{Name: "freeze the guest", Do: t.freeze, Undo: t.unfreeze},
		{Name: "take its files", Do: t.capture},
		{Name: "let it run on", Do: func(context.Context) error {
			defer unlock()
			return t.unfreeze()
		}},
		writing(s, do),
		{Name: "remove layer " + t.new.ID, Do: func(context.Context) error { return t.discard() }},
	})
}

func writing(s State, do func(context.Context, State) error) step.Step {
	return step.Step{Name: "write what it is", Do: func(ctx context.Context) error { return do(ctx, s) }}
}

// still is Moment for a guest that is locked and does not run.
func still(ctx context.Context, d guest.Dirs, n guest.Name, op string, do func(context.Context, State) error) error {
	if err := life.Halted(d, n); err != nil {
		return err
	}
	spec, err := store.Load(d.Spec(n))
	if err != nil {
		return err
	}
	if spec.Root.Path == "" && !spec.Root.IDMap { // else its names are written to it by its start
		if err := files.Freshen(d, n); err != nil {
			return err
		}
	}
	layers, err := stack.Read(d.Guest(n))
	if err != nil {
		return err
	}
	full := spec.WithDefaults(n)
	if err := files.Recover(d, n, func() (*guest.Spec, error) { return &full, nil }); err != nil {
		return err
	}
	own, release, err := sized.At(d.Guest(n))
	if err != nil {
		return err
	}
	defer release()
	s := State{Spec: *spec, Layers: layers, Own: own, Base: full.TreeID()}
	return step.Run(ctx, op, []step.Step{writing(s, do)})
}

// past is Moment for a snapshot.
func past(ctx context.Context, d guest.Dirs, n guest.Name, name, op string, do func(context.Context, State) error) error {
	if err := there(d, n); err != nil {
		return err
	}
	release, err := stack.Hold(d) // its layers may be deleted meanwhile
	if err != nil {
		return err
	}
	defer release()
	shot, err := stack.Find(d.Guest(n), name)
	if err != nil {
		return err
	}
	spec, err := store.Load(d.Spec(n))
	if err != nil {
		return err
	}
	s := State{Spec: *spec, Running: shot.Running}
	s.Spec.Root = guest.Root{Kind: shot.Kind, Lower: shot.Lower, Shared: shot.Shared}
	if s.Layers, err = shot.Layers(); err != nil {
		return err
	}
	return step.Run(ctx, op, []step.Step{writing(s, do)})
}
