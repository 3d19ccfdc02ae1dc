// Package snapshot takes what a guest's files are at some time, and gives it back.
//
// What is taken is a layer (package stack). How, depends on what the guest does:
//
//	stopped, overlay   its own files become the layer, by one exchange of two directories,
//	                   and it goes on with empty ones above: nothing is read or copied
//	running, btrfs     the kernel's snapshot of its subvolume, while it is frozen
//	running, others    a copy of its own files while it is frozen: XFS shares the content,
//	                   ext4 does not. What it shares with others is not copied
//	root.kind dir, and files in an image (limits.disk)
//	                   the same as running
//
// A running guest's files cannot become a layer: the overlay that its processes have open
// would have them change beneath it.
package snapshot

import (
	"context"
	"errors"
	"fmt"
	"time"

	"vserver/fault"
	"vserver/guest"
	"vserver/host/files"
	"vserver/host/life"
	"vserver/host/state"
	"vserver/kernel/file"
	"vserver/pool"
	"vserver/quota/sized"
	"vserver/stack"
	"vserver/step"
	"vserver/store"
)

// Create takes a snapshot of guest n, called name, or by the time when name is "".
func Create(ctx context.Context, d guest.Dirs, n guest.Name, name string) (s stack.Snapshot, err error) {
	if name == "" {
		name = time.Now().UTC().Format("20060102-150405")
	}
	err = do(d, n, func() error {
		t, err := start(d, n)
		if err != nil {
			return err
		}
		defer t.release()
		t.room()
		if err := stack.CheckName(name); err != nil {
			return err
		}
		if _, err := stack.Find(d.Guest(n), name); !errors.Is(err, stack.ErrNoSnapshot) {
			return errors.Join(err, fmt.Errorf("snapshot %s: %w", name, guest.ErrExists))
		}
		t.name = name
		err = step.Run(ctx, "snapshot", t.steps())
		s = t.made
		return errors.Join(err, t.swept())
	})
	return s, err
}

// swept removes layers that a merging has put others in the place of, unless a snapshot
// or another guest lists them.
func (t *taking) swept() error {
	if t.merging == nil {
		return nil
	}
	t.release()
	return stack.Sweep(t.dirs)
}

// do puts right what the dead left and holds the guest's lock.
func do(d guest.Dirs, n guest.Name, what func() error) error {
	if err := stack.Settle(d); err != nil {
		return err
	}
	return state.Locked(d, n, state.Patience, what)
}

// taking is one layer on its way.
type taking struct {
	dirs    guest.Dirs
	n       guest.Name
	spec    guest.Spec // with its defaults
	text    []byte
	running bool
	imaged  bool          // its own files are in an image (quota/sized)
	old     []stack.Layer // of the guest until now
	new     stack.Layer
	layers  []stack.Layer // the new one over the old ones
	merging *merging      // of some of the old ones, which come first; nil for none
	name    string        // of a snapshot; "" for none
	// list, when not nil, puts the layers into somebody else's list.
	list    func([]stack.Layer) error
	made    stack.Snapshot
	release func()
	thaw    func() error
}

// start looks at a guest whose lock is held.
func start(d guest.Dirs, n guest.Name) (*taking, error) {
	if err := there(d, n); err != nil {
		return nil, err
	}
	spec, err := store.Load(d.Spec(n))
	if err != nil {
		return nil, err
	}
	return startAs(d, n, spec)
}

// startAs is start by a guest's spec.
func startAs(d guest.Dirs, n guest.Name, spec *guest.Spec) (*taking, error) {
	if spec.Root.Path != "" || spec.Root.IDMap {
		return nil, fault.Hint(fmt.Errorf("snapshots need files in %s with the guest's own ids (root.path, root.idmap): %w", d.Guest(n), guest.ErrUnsupported),
			"`vserver "+string(n)+" clone NEW` makes a guest of that kind")
	}
	text, err := store.Read(d.Spec(n))
	if err != nil {
		return nil, err
	}
	t := &taking{dirs: d, n: n, spec: spec.WithDefaults(n), text: text}
	if t.imaged, err = sized.There(d.Guest(n)); err != nil {
		return nil, err
	}
	if t.running, err = state.Runs(d, n); err != nil {
		return nil, err
	}
	if !t.running {
		if err := errors.Join(life.Halted(d, n), files.Freshen(d, n)); err != nil {
			return nil, err
		}
	}
	if t.old, err = stack.Read(d.Guest(n)); err != nil {
		return nil, err
	}
	t.new = stack.Layer{ID: stack.NewID(), Base: t.spec.FirstID()}
	t.layers = append([]stack.Layer{t.new}, t.old...)
	release, err := stack.Hold(d)
	t.release = func() {
		if release != nil {
			release()
			release = nil
		}
	}
	return t, err
}

// room has the oldest layers made one where the new one would be too many.
func (t *taking) room() {
	if t.merging = merges(t.dirs, t.n, &t.spec, t.old); t.merging != nil {
		t.layers = append([]stack.Layer{t.new}, t.merging.layers()...)
	}
}

// moves tells whether the guest's own files themselves become the layer. A layer is in no
// image, which only its guest could have.
func (t *taking) moves() bool {
	return !t.running && !t.imaged && t.spec.Root.Kind == guest.RootOverlay
}

func (t *taking) steps() (list []step.Step) {
	if t.merging != nil {
		list = t.merging.steps(t.moves()) // a guest that runs has the others open
	}
	list = append(list, step.Step{Name: "mark layer " + t.new.ID, Do: t.mark, Undo: t.discard})
	if t.moves() {
		list = append(list,
			step.Step{Name: "make empty files of its own", Do: t.prepare},
			step.Step{Name: "exchange them for those that it has", Do: t.exchange})
	} else {
		if t.running {
			list = append(list, step.Step{Name: "freeze the guest", Do: t.freeze, Undo: t.unfreeze})
		}
		list = append(list, step.Step{Name: "take its files", Do: t.capture},
			step.Step{Name: "let it run on", Do: func(context.Context) error { return t.unfreeze() }},
			step.Step{Name: "list the layer", Do: t.record})
	}
	return append(list, step.Step{Name: "tidy the layer", Do: t.finish})
}

func (t *taking) mark(context.Context) error { return stack.Mark(t.dirs, t.new) }

// discard removes the layer, unless the guest lists it: then it is done.
func (t *taking) discard() error {
	err := discard(t.dirs, t.n, t.new)
	if listed, serr := file.Exists(t.new.Dir(t.dirs)); listed || serr != nil {
		err = errors.Join(err, serr, stack.Strip(t.dirs, t.new))
	}
	return err
}

// snapshot is the record of what is taken.
func (t *taking) snapshot() (stack.Snapshot, error) {
	s := stack.Snapshot{
		Name: t.name, ID: t.new.ID, Made: time.Now().UTC(), Running: t.running,
		Kind: t.spec.Root.Kind, Shared: t.spec.Root.Shared, Spec: string(t.text),
	}
	for _, l := range t.spec.Root.Lower {
		if full, err := pool.Open(t.dirs.Pool()).Resolve(l); err == nil {
			l = full
		}
		s.Lower = append(s.Lower, l)
	}
	layers := t.layers
	if t.spec.Root.Kind == guest.RootDir {
		layers = layers[:1]
	}
	for _, l := range layers {
		s.Stack = append(s.Stack, l.Text())
	}
	t.made = s
	return s, nil
}

func (t *taking) record(context.Context) error {
	if err := t.settle(); err != nil {
		return err
	}
	if t.list != nil {
		return t.list(t.layers)
	}
	s, err := t.snapshot()
	if err != nil {
		return err
	}
	return stack.Add(t.dirs.Guest(t.n), s)
}

func (t *taking) finish(context.Context) error {
	err := errors.Join(stack.Strip(t.dirs, t.new), stack.Unmark(t.dirs, t.new))
	if t.merging != nil {
		err = errors.Join(err, stack.Unmark(t.dirs, t.merging.new))
	}
	return err
}

// List gives the snapshots of a guest, the oldest first.
func List(d guest.Dirs, n guest.Name) ([]stack.Snapshot, error) {
	if err := there(d, n); err != nil {
		return nil, err
	}
	return stack.Snapshots(d.Guest(n))
}

// there is guest.ErrNotFound when there is no such guest.
func there(d guest.Dirs, n guest.Name) error {
	if found, err := store.Exists(d.Spec(n)); err != nil || found {
		return err
	}
	return guest.ErrNotFound
}

// Delete removes a snapshot, and the layers that nobody else lists.
func Delete(d guest.Dirs, n guest.Name, name string) error {
	return do(d, n, func() error {
		if err := there(d, n); err != nil {
			return err
		}
		if _, err := stack.Find(d.Guest(n), name); err != nil {
			return err
		}
		return errors.Join(stack.Drop(d.Guest(n), name), stack.Sweep(d))
	})
}
