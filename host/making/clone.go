package making

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"vserver/build"
	"vserver/fault"
	"vserver/guest"
	"vserver/host/files"
	"vserver/host/life"
	"vserver/host/snapshot"
	"vserver/host/state"
	"vserver/stack"
	"vserver/step"
	"vserver/store"
)

// CloneOptions are the ways to clone a guest.
type CloneOptions struct {
	BuildOptions
	// Snapshot is the name of one of the original's, to be cloned instead of what it is now.
	Snapshot string
}

// Clone makes guest n like guest from, which may run: it is frozen then while its files are
// taken. The clone shares what the original has by now (package host/snapshot says how); it
// has a number, a machine id and ssh host keys of its own, no addresses, and the rest of
// from's spec, which change, when not nil, can alter before it is used. Root's password and
// keys stay as they were unless o has others.
func Clone(ctx context.Context, d guest.Dirs, from, n guest.Name, change func(*guest.Spec) error, o CloneOptions) error {
	if from == n {
		return fmt.Errorf("a guest is no clone of itself: %w", guest.ErrInvalid)
	}
	b := &builder{
		dirs: d, n: n, o: o.BuildOptions, say: build.Lines(o.Progress),
		src: build.Source{Method: "clone", Moves: true},
	}
	defer b.leave()
	err := settle(d)
	if err == nil {
		err = locked(d, n, func() error {
			return state.Locked(d, from, state.Patience, func() error {
				return b.clone(ctx, from, change, o.Snapshot)
			})
		})
	}
	if err == nil && o.Furnish != nil {
		err = b.furnish(ctx)
	}
	return err
}

// clone makes the guest like another.
func (b *builder) clone(ctx context.Context, from guest.Name, change func(*guest.Spec) error, moment string) error {
	d := b.dirs
	old, err := store.Load(d.Spec(from))
	if err != nil {
		if errors.Is(err, guest.ErrNotFound) {
			err = fault.Hint(err, "vserver list shows the guests")
		}
		return fmt.Errorf("from %s: %w", from, err)
	}
	var shot stack.Snapshot
	if moment != "" {
		if shot, err = stack.Find(d.Guest(from), moment); err != nil {
			return fmt.Errorf("from %s: %w", from, err)
		}
		old.Root = guest.Root{Kind: shot.Kind, Lower: shot.Lower, Shared: shot.Shared}
	}
	spec := *old
	spec.XID, spec.IDBase, spec.Hostname, spec.Network.Addresses = 0, 0, "", nil
	if change != nil {
		if err := change(&spec); err != nil {
			return err
		}
	}
	spec.Root = old.Root
	if old.Userns == guest.UsernsNone && spec.Userns != old.Userns {
		return fmt.Errorf("from %s: has no user namespace, and may have devices that this one must not: %w", from, guest.ErrInvalid)
	}
	spec.Root.Unplace()
	b.spec = &spec
	b.fill = func(ctx context.Context) error {
		return files.HintFull(b.cloned(ctx, from, old, shot), d.Data)
	}
	return step.Run(ctx, "build", b.steps())
}

// cloned has the guest lie on the layers of another, whose spec is old, or of a snapshot of
// it. A plain root is copied from the layer.
func (b *builder) cloned(ctx context.Context, from guest.Name, old *guest.Spec, shot stack.Snapshot) error {
	release, err := stack.Hold(b.dirs) // until they are in the list of this one
	if err != nil {
		return err
	}
	defer release()
	take := func(layers []stack.Layer) error {
		top := layers[0]
		if b.full.Root.Kind == guest.RootDir {
			if err := os.Mkdir(filepath.Join(b.dir(), "root"), fs.ModePerm); err != nil {
				return err
			}
			return snapshot.CopyTree(ctx, filepath.Join(top.Dir(b.dirs), "root"), filepath.Join(b.dir(), "root"), top.Base, b.full.FirstID())
		}
		return snapshot.Empty(b.dir(), &b.full, layers, top.Dir(b.dirs), top.Base)
	}
	if shot.Name != "" {
		layers, err := shot.Layers()
		if err != nil || len(layers) == 0 {
			return errors.Join(err, fmt.Errorf("snapshot %s: has no layers", shot.Name))
		}
		return take(layers)
	}
	if b.full.Root.Kind == guest.RootDir {
		return b.copied(ctx, from)
	}
	if err := snapshot.Layers(ctx, b.dirs, from, old, take); err != nil {
		return fmt.Errorf("from %s: %w", from, err)
	}
	return nil
}

// copied copies the plain root of a guest, which stands still meanwhile if it runs.
func (b *builder) copied(ctx context.Context, from guest.Name) error {
	running, err := state.Runs(b.dirs, from)
	if err == nil && !running {
		err = life.Halted(b.dirs, from)
	}
	if err != nil {
		return fmt.Errorf("from %s: %w", from, err)
	}
	old, err := state.Load(b.dirs, from)
	if err != nil {
		return err
	}
	to := filepath.Join(b.dir(), "root")
	if err := os.Mkdir(to, fs.ModePerm); err != nil {
		return err
	}
	tree := old.Root.Tree(b.dirs.Guest(from))
	b.say.Say("copy %s", tree)
	return snapshot.Frozen(ctx, b.dirs, from, func() error { return copyPlain(ctx, old, tree, &b.full, to) })
}
