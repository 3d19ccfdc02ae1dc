package making

import (
	"cmp"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"vserver/guest"
	"vserver/host/apart"
	"vserver/host/life"
	"vserver/host/state"
	"vserver/kernel/file"
	"vserver/pool"
	"vserver/quota"
	"vserver/stack"
	"vserver/store"
)

// Where the files of a guest are while they come and go, so that whoever finds them
// after a crash knows what was meant:
//
//	Data/guests/NAME         the files, see guest.Dirs.Guest
//	Data/staging/NAME        the guest is being built or deleted: if it has no spec (the
//	                         build had not got that far, the deletion had) then nothing
//	                         of it shall stay; if it has, it is whole
//	Data/staging/NAME/bare   or it is to be furnished by whoever holds the directory's
//	                         lock: with nobody there nothing of it shall stay
//	Data/renaming/OLD        symbolic link to the new name: if the spec still has the old
//	                         one the guest gets all back, else the rest is done
//	Data/kept/NAME           what a build that failed left for looking at
//
// Who works on a guest holds its lock, so settle can tell the work of the living from
// what the dead left.

func staging(d guest.Dirs, n guest.Name) string {
	return filepath.Join(d.Data, "staging", string(n))
}

func renaming(d guest.Dirs, n guest.Name) string {
	return filepath.Join(d.Data, "renaming", string(n))
}

func kept(d guest.Dirs, n guest.Name) string { return filepath.Join(d.Data, "kept", string(n)) }

// settle finishes what killed builds, deletions and renamings left. What is locked is
// somebody's and stays. It comes before all that makes or removes guests, so here it is said
// that nothing can be written, before anything is.
func settle(d guest.Dirs) error {
	if err := cmp.Or(file.Writable(d.Config), file.Writable(d.Data)); err != nil {
		return err
	}
	var errs []error
	for _, work := range []struct {
		dir string
		do  func(guest.Dirs, guest.Name) error
	}{{"renaming", finishRename}, {"staging", tidy}} {
		entries, err := os.ReadDir(filepath.Join(d.Data, work.dir))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
		for _, e := range entries {
			n := guest.Name(e.Name())
			err := state.Locked(d, n, 0, func() error { return work.do(d, n) })
			if !errors.Is(err, guest.ErrBusy) {
				errs = append(errs, err)
			}
		}
	}
	return errors.Join(append(errs, stack.Settle(d), pool.Open(d.Pool()).Sweep())...)
}

// tidy puts right what a killed build or deletion left of a guest, whose lock is
// held.
func tidy(d guest.Dirs, n guest.Name) error {
	whole, err := store.Exists(d.Spec(n))
	if err != nil {
		return err
	}
	if whole {
		if whole, err = furnished(d, n); !whole || err != nil {
			return err
		}
		return remove(filepath.Dir(staging(d, n)), n)
	}
	return clear(d, n)
}

// locked is state.Locked for what makes or removes a guest: what somebody left of it who
// was killed after settle had passed over him is put right first.
func locked(d guest.Dirs, n guest.Name, do func() error) error {
	return state.Locked(d, n, state.Patience, func() error {
		if left, err := file.Exists(staging(d, n)); err != nil {
			return err
		} else if left {
			if err := tidy(d, n); err != nil {
				return err
			}
		}
		return do()
	})
}

// clear removes everything of a guest that has no spec (any more), and the mark of it
// in staging last, so that it can be done again until it is done.
func clear(d guest.Dirs, n guest.Name) error {
	if err := errors.Join(quota.Abandon(d.Guest(n)), quota.Abandon(filepath.Join(staging(d, n), "files"))); err != nil {
		return err
	}
	for _, dir := range []string{filepath.Dir(d.Guest(n)), filepath.Dir(d.State(n))} {
		if err := remove(dir, n); err != nil {
			return err
		}
	}
	if err := remove(staging(d, n), "files"); err != nil {
		return err
	}
	if err := stack.Sweep(d); err != nil {
		return err
	}
	if swept, err := apart.Sweep(d); swept || err != nil {
		if err = errors.Join(err, life.Leave(d)); err != nil {
			return err
		}
	}
	if err := removeTree(d, n); err != nil {
		return err
	}
	if err := prune(d); err != nil {
		return err
	}
	if err := store.Release(d, n); err != nil {
		return err
	}
	return remove(filepath.Dir(staging(d, n)), n)
}

// remove removes an entry of a directory of ours with all that is below; neither has
// to be there.
func remove(dir string, name guest.Name) error {
	at, err := file.OpenDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer at.Close()
	return at.RemoveAll(string(name))
}

// prune removes images that nobody needs: those made for one guest that no spec refers
// to, and of those that can be made again from this host all but the newest of their
// method. Images of a build that has not written its spec yet are in use and stay.
func prune(d guest.Dirs) error {
	images, err := pool.Open(d.Pool()).List()
	if err != nil {
		return err
	}
	newest := map[string]time.Time{}
	for _, im := range images {
		if im.Cache && im.Made.After(newest[im.Method]) {
			newest[im.Method] = im.Made
		}
	}
	var refs map[string][]guest.Name
	for _, im := range images {
		if im.Guest == "" && (!im.Cache || im.Made.Equal(newest[im.Method])) {
			continue
		}
		if refs == nil {
			if refs, err = referers(d); err != nil {
				return nil // nobody can tell now, some later time will do
			}
		}
		if len(refs[im.Name]) > 0 {
			continue
		}
		err := pool.Open(d.Pool()).Remove(im.Name, nil)
		if err != nil && !errors.Is(err, guest.ErrBusy) && !errors.Is(err, pool.ErrNoImage) {
			return err
		}
	}
	return nil
}

// referers tells which guests' specs name each image. A spec that cannot be read
// might name any image: then it is an error. A name without a version, or a tag, may have
// meant any version when the guest was started: it holds them all.
func referers(d guest.Dirs) (map[string][]guest.Name, error) {
	all, err := store.All(d.Config)
	if err != nil {
		return nil, err
	}
	images, err := pool.Open(d.Pool()).List()
	if err != nil {
		return nil, err
	}
	versions := map[string][]string{}
	for _, im := range images {
		versions[im.Name] = []string{im.Name}
	}
	for _, im := range images {
		if plain := pool.Plain(im.Name); plain != im.Name {
			versions[plain] = append(versions[plain], im.Name)
		}
	}
	out := map[string][]guest.Name{}
	for _, e := range all {
		if e.Err != nil {
			return nil, e.Err
		}
		was, err := state.ReadNote(d, e.Name)
		if err != nil {
			return nil, err
		}
		lower := e.Spec.Root.Lower
		if was != nil { // the spec may have changed since it was started
			lower = append(slices.Clone(lower), was.Images...)
		}
		shots, err := stack.Snapshots(d.Guest(e.Name))
		if err != nil {
			return nil, err
		}
		for _, s := range shots {
			lower = append(slices.Clone(lower), s.Lower...)
		}
		for _, l := range lower {
			held := versions[l]
			if held == nil {
				held = versions[pool.Plain(l)]
			}
			for _, name := range held {
				if at := out[name]; len(at) == 0 || at[len(at)-1] != e.Name {
					out[name] = append(at, e.Name)
				}
			}
		}
	}
	return out, nil
}
