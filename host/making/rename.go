package making

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"vserver/fault"
	"vserver/guest"
	"vserver/host/files"
	"vserver/host/life"
	"vserver/host/state"
	"vserver/kernel/file"
	"vserver/step"
	"vserver/store"
	"vserver/store/settings"
)

// Rename gives guest old the name new: its files, notes, number and spec, and where the
// host name was the guest's name, that too. Specs that depend on the guest follow. It
// is guest.ErrRunning for a guest that runs, guest.ErrExists when new is taken. What a
// renaming that was killed left is put right by the next Build, Delete or Rename of any
// guest, and by the guest's own next start.
func Rename(ctx context.Context, d guest.Dirs, old, new guest.Name) error {
	if old == new {
		return fmt.Errorf("new name %s: %w", new, guest.ErrExists)
	}
	err := settle(d)
	if err == nil {
		err = locked(d, old, func() error {
			return locked(d, new, func() error {
				return step.Run(ctx, "rename", renameSteps(d, old, new))
			})
		})
	}
	return err
}

func renameSteps(d guest.Dirs, old, new guest.Name) []step.Step {
	r := renamer{d, old, new}
	return append([]step.Step{
		{Name: fmt.Sprintf("check that %s is there and stopped, and %s is not there", old, new), Do: r.check},
		{Name: "mark it in " + renaming(d, old), Do: r.mark, Undo: r.unmark},
	}, r.moves()...)
}

// renamer is one renaming.
type renamer struct {
	dirs     guest.Dirs
	old, new guest.Name
}

// moves are the steps that can be done and undone again by whoever finds the mark, which
// goes last.
func (r renamer) moves() []step.Step {
	back := renamer{r.dirs, r.new, r.old}
	return []step.Step{
		{Name: "move its files", Do: r.files, Undo: func() error { return back.files(context.Background()) }},
		{Name: "move its notes", Do: r.notes, Undo: func() error { return back.notes(context.Background()) }},
		{Name: "move its number", Do: r.number, Undo: func() error { return back.number(context.Background()) }},
		{Name: "move its spec", Do: r.spec, Undo: func() error { return back.spec(context.Background()) }},
		{Name: "follow in specs that depend on it", Do: r.depends, Undo: func() error { return back.depends(context.Background()) }},
		{Name: "write its host name", Do: r.hostname},
		{Name: "remove the mark", Do: func(context.Context) error { return r.unmark() }},
	}
}

func (r renamer) check(context.Context) error {
	there, err := store.Exists(r.dirs.Spec(r.old))
	if err == nil && !there {
		err = guest.ErrNotFound
	}
	if err == nil && store.Old(r.dirs.Spec(r.old)) {
		err = fault.Hint(fmt.Errorf("the directory of Linux-VServer's names it: %w", guest.ErrInvalid), "vserver "+string(r.old)+" migrate")
	}
	if err != nil {
		return err
	}
	for _, at := range []struct {
		path string
		has  func(string) (bool, error)
	}{{r.dirs.Spec(r.new), store.Exists}, {r.dirs.Guest(r.new), file.Exists}} {
		taken, err := at.has(at.path)
		if err == nil && taken {
			err = fault.Hint(fmt.Errorf("%s: %w", at.path, guest.ErrExists), "vserver "+string(r.new)+" delete makes room")
		}
		if err != nil {
			return err
		}
	}
	if _, err := state.Load(r.dirs, r.old); err != nil {
		return err
	}
	return life.Halted(r.dirs, r.old)
}

func (r renamer) mark(context.Context) error {
	if err := os.MkdirAll(filepath.Dir(renaming(r.dirs, r.old)), 0o700); err != nil {
		return err
	}
	return os.Symlink(string(r.new), renaming(r.dirs, r.old))
}

func (r renamer) unmark() error {
	err := os.Remove(renaming(r.dirs, r.old))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// move renames what is there and has not been renamed yet.
func move(from, to string) error {
	there, err := file.Exists(from)
	if err != nil || !there {
		return err
	}
	return os.Rename(from, to)
}

func (r renamer) files(context.Context) error {
	return move(r.dirs.Guest(r.old), r.dirs.Guest(r.new))
}

func (r renamer) notes(context.Context) error {
	return move(r.dirs.State(r.old), r.dirs.State(r.new))
}

func (r renamer) number(context.Context) error {
	return store.Reassign(r.dirs, r.old, r.new)
}

func (r renamer) spec(context.Context) error {
	there, err := store.Exists(r.dirs.Spec(r.old))
	if err != nil || !there {
		return err
	}
	return store.Rename(r.dirs.Spec(r.old), r.dirs.Spec(r.new))
}

// depends puts the new name in the place of the old one in boot.depends of others, or in
// the directory that such a one is, whose comments stay. A spec that cannot be read is somebody's to mend.
func (r renamer) depends(context.Context) error {
	all, err := store.All(r.dirs.Config)
	if err != nil {
		return err
	}
	for _, e := range all {
		if e.Spec == nil || !slices.Contains(e.Spec.Boot.Depends, r.old) {
			continue
		}
		path := r.dirs.Spec(e.Name)
		if store.Old(path) {
			if err := store.Redepend(path, r.old, r.new); err != nil {
				return err
			}
			continue
		}
		text, err := store.Read(path)
		if err != nil {
			return err
		}
		text, _, err = settings.Apply(path, text, []string{"boot.depends-=" + string(r.old), "boot.depends+=" + string(r.new)})
		if err != nil {
			return err
		}
		if err := store.WriteText(path, text); err != nil {
			return err
		}
	}
	return nil
}

// hostname writes the host name that follows from the guest's name. A guest that was
// started meanwhile has it in its kernel's own place, and its files are not touched.
func (r renamer) hostname(context.Context) error {
	spec, err := store.Load(r.dirs.Spec(r.new))
	if err != nil || spec.Hostname != "" {
		return err
	}
	if running, err := state.Runs(r.dirs, r.new); err != nil || running {
		return err
	}
	return files.Reidentify(r.dirs, r.new, spec, r.dirs.Guest(r.new))
}

// finishRename puts right a renaming that was killed; the lock of old is held. While
// the spec has its old name the guest gets all back under it, afterwards the rest is
// done: so the guest is a whole one by the name that list shows.
func finishRename(d guest.Dirs, old guest.Name) error {
	to, err := os.Readlink(renaming(d, old))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	new, err := guest.ParseName(to)
	if err != nil {
		return err
	}
	r := renamer{d, old, new}
	err = state.Locked(d, new, 0, func() error {
		undecided, err := store.Exists(d.Spec(old))
		if err != nil {
			return err
		}
		if undecided {
			return errors.Join(step.Undo(r.moves()), r.unmark())
		}
		for _, s := range r.moves() {
			if err := s.Do(context.Background()); err != nil {
				return err
			}
		}
		return nil
	})
	return fault.New(string(old), "rename", err)
}

// Mend finishes a renaming of guest n that was killed; it costs one look at a directory
// when there is none.
func Mend(d guest.Dirs, n guest.Name) error {
	marked, err := file.Exists(renaming(d, n))
	if err != nil || !marked {
		return err
	}
	return state.Locked(d, n, state.Patience, func() error { return finishRename(d, n) })
}
