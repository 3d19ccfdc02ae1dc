package making

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"vserver/fault"
	"vserver/guest"
	"vserver/host/life"
	"vserver/host/state"
	"vserver/kernel/file"
	"vserver/layer"
	"vserver/store"
)

// Fill gives guest n, of which there is a spec and a plain root with nothing in it, the files
// of guest from, whose root is a plain one too. Both must be stopped. It is guest.ErrExists
// for a guest that has files.
func Fill(ctx context.Context, d guest.Dirs, from, n guest.Name) error {
	if from == n {
		return fmt.Errorf("a guest is no copy of itself: %w", guest.ErrInvalid)
	}
	return locked(d, n, func() error {
		return state.Locked(d, from, state.Patience, func() error { return fill(ctx, d, from, n) })
	})
}

func fill(ctx context.Context, d guest.Dirs, from, n guest.Name) error {
	var specs [2]*guest.Spec
	for i, name := range []guest.Name{from, n} {
		there, err := store.Exists(d.Spec(name))
		if err == nil && !there {
			err = guest.ErrNotFound
		}
		if err == nil {
			specs[i], err = state.Load(d, name)
		}
		if err == nil && specs[i].Root.Kind != guest.RootDir {
			err = fault.Hint(fmt.Errorf("root.kind %s: its files are no tree of their own: %w", specs[i].Root.Kind, guest.ErrUnsupported),
				"`vserver "+string(from)+" clone NEW`")
		}
		if err == nil {
			err = life.Halted(d, name)
		}
		if err != nil && name == from {
			err = fmt.Errorf("from %s: %w", from, err)
		}
		if err != nil {
			return err
		}
	}
	tree := specs[1].Root.Tree(d.Guest(n))
	if has, err := os.ReadDir(tree); err == nil && len(has) > 0 {
		return fmt.Errorf("%s: %w", tree, guest.ErrExists)
	} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(tree), 0o700); err != nil {
		return err
	}
	parent, err := file.OpenDir(filepath.Dir(tree))
	if err != nil {
		return err
	}
	defer parent.Close()
	// Beside it first: there is all of it or nothing.
	beside := filepath.Base(tree) + ".filling"
	if err := parent.RemoveAll(beside); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	err = parent.Mkdir(beside, 0o755)
	if err == nil {
		err = copyPlain(ctx, specs[0], specs[0].Root.Tree(d.Guest(from)), specs[1], filepath.Join(filepath.Dir(tree), beside))
	}
	if err == nil {
		err = parent.Rename(beside, parent, filepath.Base(tree))
	}
	if err != nil {
		return errors.Join(err, parent.RemoveAll(beside))
	}
	return nil
}

// copyPlain copies the tree of a guest with a plain root to one of another guest.
func copyPlain(ctx context.Context, of *guest.Spec, tree string, own *guest.Spec, to string) error {
	c := layer.Copy{Shift: layer.Shift{From: of.TreeID(), To: own.TreeID()}, Devices: own.Userns == guest.UsernsNone}
	return c.Paths(ctx, tree, to)
}
