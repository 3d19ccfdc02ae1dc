package unification

import (
	"context"
	"errors"
	"path/filepath"
	"slices"
	"syscall"

	"vserver/guest"
	"vserver/host/snapshot"
	"vserver/host/state"
	"vserver/kernel/file"
	"vserver/stack"
	"vserver/unify"
)

// A layer that a snapshot or a clone froze is a guest's own files as they were, with ids of
// that guest's: nothing that could be one with the files of others. It is frozen anew, with
// ids from 0, and the new one put in its place wherever it is listed. That is when all who
// list it are stopped: while one runs upon the old one both would be on the disk.

// frozen unifies the layers beneath the one that files were moved into, those of snapshots too.
func (w *work) frozen(ctx context.Context, s *unify.Store, top stack.Layer) error {
	layers, users, err := w.layers()
	if err != nil {
		return err
	}
	t := &trees{dirs: w.dirs, mine: map[guest.Name]bool{w.name: true}}
	for _, l := range layers {
		if err == nil && l.ID != top.ID {
			err = w.freeze(ctx, s, t, l, users[l.ID])
		}
	}
	return errors.Join(err, t.release())
}

// layers gives the layers of the guest and of its snapshots, each once, and who lists them.
func (w *work) layers() ([]stack.Layer, map[string][]guest.Name, error) {
	all, err := stack.All(w.dirs.Guest(w.name))
	if err != nil {
		return nil, nil, err
	}
	var out []stack.Layer
	for _, l := range all {
		upper, err := file.Exists(filepath.Join(l.Dir(w.dirs), "upper"))
		if err != nil {
			return nil, nil, err
		}
		if upper && !slices.Contains(out, l) {
			out = append(out, l)
		}
	}
	users, err := stack.Users(w.dirs)
	return out, users, err
}

// freeze unifies one layer, if none of those who list it runs.
func (w *work) freeze(ctx context.Context, s *unify.Store, t *trees, l stack.Layer, users []guest.Name) error {
	for _, n := range users {
		if err := t.lock(n, state.TryLock); err != nil || !t.mine[n] {
			return err
		}
	}
	if l.Base == 0 {
		err := w.one(ctx, s, l)
		if !errors.Is(err, syscall.EXDEV) { // its files are in a guest's project
			return err
		}
	}
	w.say.Say("freeze layer %s anew, with ids from 0", l.ID)
	return snapshot.Refreeze(ctx, w.dirs, w.name, &w.spec, l, users, func(ctx context.Context, now stack.Layer) error {
		return w.one(ctx, s, now)
	})
}

// one unifies the files of a layer.
func (w *work) one(ctx context.Context, s *unify.Store, l stack.Layer) error {
	in, err := file.OpenDir(l.Dir(w.dirs))
	if err != nil {
		return err
	}
	defer in.Close()
	r, err := s.Tree(ctx, in, "upper", false, w.tell())
	w.out.Report.Add(r)
	return err
}

// surveyFrozen tells what would come of them.
func (w *work) surveyFrozen(ctx context.Context, s *unify.Store) error {
	layers, _, err := w.layers()
	for _, l := range layers {
		if err != nil || l.Base == 0 {
			continue
		}
		var at *file.Dir
		if at, err = file.OpenDir(filepath.Join(l.Dir(w.dirs), "upper")); err != nil {
			break
		}
		var r unify.Report
		r, err = s.Survey(ctx, unify.Private{Dir: at, Base: l.Base, Wanted: func(string) bool { return true }}, w.tell())
		w.out.Report.Add(r)
		err = errors.Join(err, at.Close())
	}
	return err
}
