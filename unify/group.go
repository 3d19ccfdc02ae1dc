package unify

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"

	"vserver/kernel/file"
)

// Names of one file in a tree, all that it has, become one object's together: each is
// replaced by one rename, and a further link to the object in .new says so until the last
// is. Who is killed in between leaves names of two equal files, and the next Tree goes on by
// that link; after a Collect they stay two.

// most is how many links an object may have that a group of names is given: far from what
// ext4 allows, since a group must not end halfway.
const most = 60000

// several does the files of several names, if all of these are in the tree.
func (w *walk) several(ctx context.Context, parent *file.Dir, tree string) error {
	root, err := parent.Dir(tree)
	if err != nil {
		return err
	}
	defer root.Close()
	room := make([]byte, roomy)
	for at, names := range w.groups {
		if err := ctx.Err(); err != nil || w.failed() != nil {
			return err
		}
		d, name, err := root.Parent(names[0])
		if err != nil {
			return err
		}
		st, err := d.Stat(name)
		if err == nil && inodeOf(st) == at && int(st.Links) == len(names) {
			w.report.Linked -= int64(len(names))
			w.file(ctx, d, name, room, func(k Key, st file.Stat) (bool, error) {
				return w.together(ctx, root, d, names, k, st)
			})
		}
		if err = errors.Join(err, d.Close()); err != nil {
			return err
		}
	}
	return nil
}

// together makes all names of a file, which is called the first of them in d, those of an
// object.
func (w *walk) together(ctx context.Context, root, d *file.Dir, names []string, k Key, st file.Stat) (bool, error) {
	if w.dry {
		return w.put(ctx, d, path.Base(names[0]), k, st)
	}
	s, joined := w.store, false
	err := s.find(ctx, d, path.Base(names[0]), k, st, len(names), w.claim, func(shelf *file.Dir, object string) error {
		joined = true
		note := noteOf(inodeOf(st))
		if err := s.coming(); err != nil {
			return err
		}
		if err := shelf.Link(object, s.tmp, note); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
		for _, n := range names {
			if err := s.rename(root, n, shelf, object, st); err != nil {
				return err
			}
		}
		return file.Gone(s.tmp.Unlink(note))
	})
	return joined, err
}

// rename is swap for a name by its path; its directory keeps its times.
func (s *Store) rename(root *file.Dir, at string, shelf *file.Dir, object string, st file.Stat) error {
	d, name, err := root.Parent(at)
	if err != nil {
		return err
	}
	defer d.Close()
	return file.KeepTimes(d, func(*file.Entry) error { return s.swap(d, name, shelf, object, st) })
}

func noteOf(at inode) string { return fmt.Sprintf("names-%d-%d", at.dev, at.ino) }

// begun tells whether a killed one was giving the names of a file to an object.
func (s *Store) begun(of, object file.Stat) bool {
	if s.coming() != nil {
		return false
	}
	note, err := s.tmp.Stat(noteOf(inodeOf(of)))
	return err == nil && inodeOf(note) == inodeOf(object)
}
