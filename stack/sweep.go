package stack

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"vserver/guest"
	"vserver/kernel/file"
	"vserver/kernel/quota"
)

// Names in the directory of the layers that are no layer's.
const (
	making = ".making-" // and an ID: the mark of one that is being made
	gone   = ".gone-"   // and an ID: of one that is being removed
	wanted = ".sweep"   // the mark of a Sweep that somebody kept away
)

// Hold keeps Sweep away until release is called: for the time between making a layer and
// listing it.
func Hold(d guest.Dirs) (release func(), err error) {
	if err := os.MkdirAll(d.Layers(), 0o700); err != nil {
		return nil, err
	}
	dir, err := file.OpenDir(d.Layers())
	if err != nil {
		return nil, err
	}
	const patience, pause = 5 * time.Second, time.Millisecond
	for end := time.Now().Add(patience); ; time.Sleep(pause) {
		err = dir.Share()
		if err == nil {
			return func() { dir.Close() }, nil
		}
		if !errors.Is(err, file.ErrLocked) || time.Now().After(end) {
			dir.Close()
			return nil, err
		}
	}
}

// Mark notes that layer l is about to be made; Hold is held. Whoever comes after a killed
// one finds the mark (Settle).
func Mark(d guest.Dirs, l Layer) error {
	f, err := os.Create(filepath.Join(d.Layers(), making+l.ID))
	if err != nil {
		return err
	}
	return f.Close()
}

// Unmark says that it is made, or gone.
func Unmark(d guest.Dirs, l Layer) error {
	err := os.Remove(filepath.Join(d.Layers(), making+l.ID))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// Settle sweeps when there is a mark, or a layer half removed, of somebody who was killed.
func Settle(d guest.Dirs) error {
	entries, err := os.ReadDir(d.Layers())
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".") {
			return errors.Join(err, Sweep(d))
		}
	}
	return err
}

// Sweep removes the layers that no guest and no snapshot lists, and marks. While somebody
// holds the layers it leaves that, with a mark, to the next one; another Sweep does it.
func Sweep(d guest.Dirs) error {
	mark, left := filepath.Join(d.Layers(), wanted), false
	for {
		done, err := sweep(d)
		if err != nil || !done && left {
			return err
		}
		if !done { // once more: who holds them may not have seen the mark
			f, err := os.Create(mark)
			if err != nil {
				return err
			}
			f.Close()
			left = true
			continue
		}
		if there, err := file.Exists(mark); err != nil || !there {
			return err
		}
	}
}

// sweep is Sweep when nobody holds the layers, and tells whether it was so.
func sweep(d guest.Dirs) (done bool, err error) {
	dir, err := file.OpenDir(d.Layers())
	if errors.Is(err, fs.ErrNotExist) {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	defer dir.Close()
	if err := dir.Seize(); errors.Is(err, file.ErrLocked) {
		return false, nil
	} else if err != nil {
		return false, err
	}
	if err := dir.Unlink(wanted); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, err
	}
	return true, clean(d, dir)
}

// clean does what Sweep is for.
func clean(d guest.Dirs, dir *file.Dir) error {
	out, err := unlisted(d, dir)
	if err != nil {
		return err
	}
	for _, name := range out {
		if err := dir.Rename(name, dir, gone+name); err != nil {
			return err
		}
	}
	names, err := dir.Names()
	if err != nil {
		return err
	}
	// Nobody finds these any more: others need not wait for it.
	var errs []error
	for _, name := range names {
		if strings.HasPrefix(name, gone) {
			errs = append(errs, uncount(filepath.Join(d.Layers(), name)), dir.RemoveAll(name))
		}
	}
	return errors.Join(errs...)
}

// unlisted tidies up what is marked and gives the layers that nobody lists.
func unlisted(d guest.Dirs, dir *file.Dir) (out []string, err error) {
	names, err := dir.Names()
	if err != nil {
		return nil, err
	}
	used, err := Users(d)
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		id, marked := strings.CutPrefix(name, making)
		if marked {
			if _, listed := used[id]; listed {
				err = Strip(d, Layer{ID: id})
			}
			if err = errors.Join(err, Unmark(d, Layer{ID: id})); err != nil {
				return nil, err
			}
		}
		if _, listed := used[name]; !listed && isID(name) {
			out = append(out, name)
		}
	}
	return out, nil
}

// Users gives for each layer the guests that list it, themselves or by a snapshot.
func Users(d guest.Dirs) (map[string][]guest.Name, error) {
	return usersOf(d, func(Layer) bool { return true })
}

// Common gives the layers that may have objects of the pool, and who lists them: those whose
// files have ids from 0.
func Common(d guest.Dirs) (map[string][]guest.Name, error) {
	return usersOf(d, func(l Layer) bool { return l.Base == 0 })
}

// usersOf gives those of the layers that are meant wherever they are listed.
func usersOf(d guest.Dirs, meant func(Layer) bool) (map[string][]guest.Name, error) {
	used, others := map[string][]guest.Name{}, map[string]bool{}
	err := listed(d, func(n guest.Name, l Layer) {
		if now := used[l.ID]; len(now) == 0 || now[len(now)-1] != n {
			used[l.ID] = append(now, n)
		}
		others[l.ID] = others[l.ID] || !meant(l)
	})
	maps.DeleteFunc(used, func(id string, _ []guest.Name) bool { return others[id] })
	return used, err
}

// listed calls each for all that guests and their snapshots list.
func listed(d guest.Dirs, each func(guest.Name, Layer)) error {
	// A guest that is being built moves from the first to the second.
	for _, place := range []string{filepath.Join("staging", "*", "files"), filepath.Join("guests", "*")} {
		dirs, err := filepath.Glob(filepath.Join(d.Data, place))
		if err != nil {
			return err
		}
		for _, at := range dirs {
			layers, err := All(at)
			if err != nil {
				return err
			}
			for _, l := range layers {
				each(guest.Name(filepath.Base(strings.TrimSuffix(at, "/files"))), l)
			}
		}
	}
	return nil
}

// All gives the layers of the guest whose own files are at dir and of its snapshots.
func All(dir string) ([]Layer, error) {
	layers, err := Read(dir)
	if err != nil {
		return nil, err
	}
	list, err := Snapshots(dir)
	if err != nil {
		return nil, err
	}
	for _, s := range list {
		more, err := s.Layers()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", dir, err)
		}
		layers = append(layers, more...)
	}
	return layers, nil
}

// Strip takes away what a guest's directory has and a layer need not have.
func Strip(d guest.Dirs, l Layer) error {
	dir, err := file.OpenDir(l.Dir(d))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer dir.Close()
	names, err := dir.Names()
	if err != nil {
		return err
	}
	var errs []error
	for _, name := range names {
		if name != "upper" && name != "root" && name != "shared" {
			errs = append(errs, dir.RemoveAll(name))
		}
	}
	return errors.Join(errs...)
}

// uncount removes the qgroup of a layer on btrfs, which outlives it before Linux 6.11. A
// project is the guest's, and stays.
func uncount(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if is, err := quota.Btrfs(f); err != nil || !is {
		return err
	}
	id, err := quota.Subvolume(f)
	if err != nil || id == 0 {
		return err
	}
	if err := quota.RemoveGroup(f, id); err != nil && !errors.Is(err, quota.ErrNoGroups) && !errors.Is(err, syscall.EBUSY) {
		return err
	}
	return nil
}

// Remove removes a layer that nobody lists.
func Remove(d guest.Dirs, l Layer) error {
	dir, err := file.OpenDir(d.Layers())
	if err != nil {
		return err
	}
	defer dir.Close()
	if there, err := file.Exists(l.Dir(d)); err != nil || !there {
		return err
	}
	return errors.Join(uncount(l.Dir(d)), dir.RemoveAll(l.ID))
}
