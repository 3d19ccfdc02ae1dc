package snapshot

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"vserver/fault"
	"vserver/guest"
	"vserver/host/disk"
	"vserver/host/files"
	"vserver/host/life"
	"vserver/pool"
	"vserver/quota/sized"
	"vserver/stack"
	"vserver/step"
)

// Restore gives guest n, which must be stopped, the files that it had when the snapshot
// called name was taken, or the last one when name is "", and tells which it was. What it
// has changed since is lost, its snapshots stay. A restore that is killed has happened or
// not.
func Restore(ctx context.Context, d guest.Dirs, n guest.Name, name string) (s stack.Snapshot, err error) {
	err = do(d, n, func() error {
		t, err := start(d, n)
		if err != nil {
			return err
		}
		defer t.release()
		if err := t.halted(); err != nil {
			return err
		}
		if s, err = choose(d.Guest(n), name); err != nil {
			return err
		}
		if err := t.fits(s); err != nil {
			return err
		}
		return t.become(ctx, "rollback", nil, &s)
	})
	return s, err
}

// Become gives guest n, which must be stopped, the files of a state whose layers are made by
// the steps of bring, of the table op: these fill in the Stack of s. With a name it is one
// of the guest's snapshots then. Else it is as Restore says.
func Become(ctx context.Context, d guest.Dirs, n guest.Name, op string, bring []step.Step, s *stack.Snapshot) error {
	return do(d, n, func() error {
		t, err := start(d, n)
		if err != nil {
			return err
		}
		defer t.release()
		if err := t.halted(); err != nil {
			return err
		}
		if err := t.fits(*s); err != nil {
			return err
		}
		return t.become(ctx, op, bring, s)
	})
}

// halted refuses a guest that runs; start has seen to one that does not.
func (t *taking) halted() error {
	if t.running {
		return life.Halted(t.dirs, t.n)
	}
	return nil
}

func (t *taking) become(ctx context.Context, op string, bring []step.Step, s *stack.Snapshot) error {
	steps := t.restoring
	if t.spec.Root.Device != "" {
		steps = t.renewing
	}
	err := step.Run(ctx, op, append(bring, steps(s)...))
	t.release()
	return errors.Join(err, stack.Sweep(t.dirs))
}

// choose finds a snapshot, the last one for "".
func choose(dir, name string) (stack.Snapshot, error) {
	if name != "" {
		return stack.Find(dir, name)
	}
	list, err := stack.Snapshots(dir)
	if err == nil && len(list) == 0 {
		err = stack.ErrNoSnapshot
	}
	if err != nil {
		return stack.Snapshot{}, err
	}
	return list[len(list)-1], nil
}

// fits refuses a snapshot whose files are not those of the guest's root as it is now.
func (t *taking) fits(s stack.Snapshot) error {
	if s.Kind != t.spec.Root.Kind || !slices.Equal(s.Shared, t.spec.Root.Shared) {
		return fmt.Errorf("snapshot %s: is of a root of kind %s that shares %q: %w", s.Name, s.Kind, s.Shared, guest.ErrInvalid)
	}
	var now []string
	for _, l := range t.spec.Root.Lower {
		if full, err := pool.Open(t.dirs.Pool()).Resolve(l); err == nil {
			l = full
		}
		now = append(now, l)
	}
	if slices.Equal(now, s.Lower) {
		return nil
	}
	hint := "vserver " + string(t.n) + " set root.lower=[" + strings.Join(s.Lower, ",") + "]"
	if len(s.Lower) == 1 && len(now) == 1 {
		hint = "vserver " + string(t.n) + " rebase " + s.Lower[0]
	}
	return fault.Hint(fmt.Errorf("snapshot %s: lies over %s, the guest over %s: %w", s.Name,
		strings.Join(s.Lower, ", "), strings.Join(now, ", "), guest.ErrInvalid), hint)
}

// restoring makes the directory of a guest that is as it was, in the place of a new layer,
// and exchanges it for the guest's.
func (t *taking) restoring(s *stack.Snapshot) []step.Step {
	return []step.Step{
		{Name: "mark layer " + t.new.ID, Do: t.mark, Undo: t.discard},
		{Name: "make the files of snapshot " + s.Name, Do: func(ctx context.Context) error {
			return files.HintFull(t.again(ctx, *s), t.dirs.Data)
		}},
		{Name: "exchange them for those that it has", Do: t.exchange},
		{Name: "remove those", Do: func(context.Context) error { return t.discard() }},
	}
}

// again makes what will be the guest's directory.
func (t *taking) again(ctx context.Context, s stack.Snapshot) error {
	layers, err := s.Layers()
	if err == nil && len(layers) == 0 {
		err = fmt.Errorf("snapshot %s: has no layers: %w", s.Name, guest.ErrInvalid)
	}
	if err != nil {
		return err
	}
	dir := t.new.Dir(t.dirs)
	if err = disk.Make(dir, &t.spec); err != nil {
		return err
	}
	if s.Kind == guest.RootDir {
		err = plain(ctx, layers[0], t.dirs, dir, t.spec.FirstID())
	} else {
		err = Empty(dir, &t.spec, layers, layers[0].Dir(t.dirs), layers[0].Base)
	}
	if err == nil {
		err = stack.Carry(t.dirs.Guest(t.n), dir)
	}
	if err == nil && s.Name != "" {
		err = stack.Add(dir, s)
	}
	if err == nil {
		err = files.Mark(dir) // the spec may have other names now
	}
	if err == nil {
		err = errors.Join(sized.Land(dir), t.settle())
	}
	return err
}

// plain fills the directory of a guest whose root is a plain one.
func plain(ctx context.Context, l stack.Layer, d guest.Dirs, dir string, base uint32) error {
	to := filepath.Join(dir, "root")
	if err := os.Mkdir(to, fs.ModePerm); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return CopyTree(ctx, filepath.Join(l.Dir(d), "root"), to, l.Base, base)
}
