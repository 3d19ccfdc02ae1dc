package unify

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"syscall"

	"vserver/kernel/file"
	"vserver/layer"
)

// Place is a file of a tree.
type Place struct {
	Tree string `json:"tree"` // what the caller calls the tree
	Path string `json:"path"` // from the tree's root
}

// Root is a tree, open, and what the caller calls it. Held says that the caller has it
// for itself, so that its files may be replaced.
type Root struct {
	Name string
	Dir  *file.Dir
	Held bool
}

// ErrNoCopy says that there is no other file that is what a damaged object was.
var ErrNoCopy = errors.New("no other copy of it was found")

// ErrHeld says that a tree that has a damaged object is in use.
var ErrHeld = errors.New("in use")

// Search calls found for each regular file below d, by its path. The tree may change, by a
// hostile hand too: what is gone or is something else when it is looked at is passed over, as
// is what lies too deep.
func Search(ctx context.Context, d *file.Dir, found func(in *file.Dir, path string, st file.Stat)) error {
	return search(ctx, d, "", 0, found)
}

func search(ctx context.Context, d *file.Dir, at string, depth int, found func(*file.Dir, string, file.Stat)) error {
	if depth > deepest {
		return nil
	}
	names, err := d.Names()
	if err != nil {
		return err
	}
	for _, name := range names {
		st, err := d.Stat(name)
		switch {
		case errors.Is(err, fs.ErrNotExist) || st.MountRoot:
			continue
		case err == nil && st.Type() == file.TypeFile:
			found(d, path.Join(at, name), st)
		case err == nil && st.Type() == file.TypeDir:
			err = searchBelow(ctx, d, name, path.Join(at, name), depth+1, found)
		}
		if err = errors.Join(err, ctx.Err()); err != nil {
			return err
		}
	}
	return nil
}

func searchBelow(ctx context.Context, in *file.Dir, name, at string, depth int, found func(*file.Dir, string, file.Stat)) error {
	d, err := in.Dir(name)
	if vanished(err) {
		return nil
	}
	if err != nil {
		return err
	}
	defer d.Close()
	return search(ctx, d, at, depth, found)
}

// vanished tells whether a name was taken away, or made another thing, since it was seen.
func vanished(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) || errors.Is(err, syscall.ELOOP)
}

// Places tells which files of the trees are the damaged objects, for each of these.
func Places(ctx context.Context, roots []Root, found []Finding) ([][]Place, error) {
	of := map[inode]int{}
	for i, f := range found {
		of[inode{f.Dev, f.Ino}] = i
	}
	out := make([][]Place, len(found))
	for _, r := range roots {
		err := Search(ctx, r.Dir, func(_ *file.Dir, path string, st file.Stat) {
			if i, is := of[inodeOf(st)]; is {
				out[i] = append(out[i], Place{r.Name, path})
			}
		})
		if err != nil {
			return nil, err
		}
	}
	return out, nil
}

// Repair puts a copy of an equal file in the place of a damaged object and of the trees'
// names for it, the object's last: what is killed is found damaged again. It gives
// ErrNoCopy when there is no equal, ErrHeld when one of the places is in a tree that is not
// held, and guest.ErrBusy while others add to the store.
func (s *Store) Repair(ctx context.Context, f Finding, places []Place, roots []Root) error {
	in := map[string]*file.Dir{}
	for _, r := range roots {
		if r.Held {
			in[r.Name] = r.Dir
		}
	}
	for _, p := range places {
		if in[p.Tree] == nil {
			return fmt.Errorf("%s: %w", p.Tree, ErrHeld)
		}
	}
	if err := s.Seize(); err != nil {
		return err
	}
	tmp, err := s.dir.Dir(newDir)
	if err != nil {
		return err
	}
	defer tmp.Close()
	fresh, on := fmt.Sprintf("%d-repair", os.Getpid()), fmt.Sprintf("%d-repair-name", os.Getpid())
	if err := errors.Join(file.Gone(tmp.Unlink(fresh)), file.Gone(tmp.Unlink(on))); err != nil {
		return err
	}
	if err := s.copyOf(ctx, f, roots, tmp, fresh); err != nil {
		return err
	}
	for _, p := range places {
		if err := replace(tmp, fresh, on, in[p.Tree], p.Path, f); err != nil {
			return errors.Join(err, file.Gone(tmp.Unlink(fresh)), file.Gone(tmp.Unlink(on)))
		}
	}
	shelf, err := s.dir.Dir(string(f.Key[:2]))
	if err != nil {
		return errors.Join(err, file.Gone(tmp.Unlink(fresh)))
	}
	defer shelf.Close()
	return tmp.Rename(fresh, shelf, path.Base(f.Path))
}

// replace puts a link to a fresh file in the place of the damaged one in a tree. The
// directory keeps its times.
func replace(tmp *file.Dir, fresh, on string, root *file.Dir, at string, f Finding) error {
	d, name, err := root.Parent(at)
	if err != nil {
		return err
	}
	defer d.Close()
	st, err := d.Stat(name)
	if err != nil || inodeOf(st) != (inode{f.Dev, f.Ino}) {
		return err // another file by now
	}
	return file.KeepTimes(d, func(*file.Entry) error {
		if err := tmp.Link(fresh, tmp, on); err != nil {
			return err
		}
		if err := tmp.Rename(on, d, name); err != nil {
			return errors.Join(err, file.Gone(tmp.Unlink(on)))
		}
		return nil
	})
}

// copyOf makes a copy of a file with the object's key: another object of it, or a file
// of a tree that is not unified. Only those are read that have the size or the time of
// change of the damaged one.
func (s *Store) copyOf(ctx context.Context, f Finding, roots []Root, tmp *file.Dir, name string) error {
	shelf, err := s.dir.Dir(string(f.Key[:2]))
	if err != nil {
		return err
	}
	defer shelf.Close()
	bad, err := shelf.Stat(path.Base(f.Path))
	if err != nil {
		return err
	}
	done, failed := false, ErrNoCopy
	try := func(in *file.Dir, at string, st file.Stat) {
		if done || inodeOf(st) == inodeOf(bad) || st.Size != bad.Size && st.Mtime != bad.Mtime || ctx.Err() != nil {
			return
		}
		k, _, err := summed(ctx, in, path.Base(at), nil, nil, true)
		if err != nil || k != f.Key {
			return
		}
		if err = copyFile(ctx, layer.Shift{}, in, path.Base(at), tmp, name, k); err != nil {
			failed = fmt.Errorf("copy of %s: %w", at, err)
		}
		done = err == nil
	}
	roots = slices.Concat([]Root{{Dir: shelf}}, roots)
	for _, r := range roots {
		if err := Search(ctx, r.Dir, try); err != nil {
			return err
		}
	}
	if !done {
		return failed
	}
	return nil
}

// copyFile copies a file with all that belongs to it; the copy's key is k. The copy is on
// the disk, and was read again, when there is no error; else there is none.
func copyFile(ctx context.Context, by layer.Shift, from *file.Dir, name string, to *file.Dir, toName string, k Key) error {
	err := by.File(from, name, to, toName)
	if err == nil {
		err = syncFile(to, toName)
	}
	if err == nil {
		_, err = check(ctx, to, toName, k)
	}
	if err != nil {
		return errors.Join(err, file.Gone(to.Unlink(toName)))
	}
	return nil
}

func syncFile(d *file.Dir, name string) error {
	f, err := d.Open(name, os.O_RDONLY, 0)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
