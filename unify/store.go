// Package unify makes equal files of several trees one file: a store of objects, each
// named by the hash of its content and metadata, to which the trees have hard links.
// Hard links share the disk and the page cache; reflinks would share the disk alone.
//
//	DIR/objects/aa/REST      an object; aa and REST are the digits of its Key
//	DIR/objects/aa/REST-N    the same again, when the one before has all the links that
//	                         the file system gives a file (ext4: 65000), or was used for
//	                         another file of the same tree
//	DIR/objects/.new/        links on their way into a tree
//	DIR/objects/.verified    the last of the aa that a Verify that did not end has read
//
// An object is never written to. It comes to be as a further link to a file of a tree,
// and is taken away by Collect once no tree has a link to it: the count of links is the
// only record of who uses it, so there is none that a kill could make wrong. A name of
// a tree is replaced by one rename, and is at any moment the old file or its equal.
//
// No two files of one tree become one: who copies the tree would find hard links that
// were none, and write to two files at once. An equal file in the same tree gets the
// next object of its key. Files of several names in their tree keep these together; one
// that has a name outside of it stays as it is.
//
// The trees must be ones that nobody writes to and that are no layer of a mounted
// overlay, images or layers whose lock the caller holds: a write through any name of an
// object would be seen through all, and overlay leaves open what happens when its lower
// layers change.
//
//house:allow a store, the trees that are made of it, and its repair know one kind of key and name
package unify

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"vserver/guest"
	"vserver/kernel/file"
)

const (
	newDir = ".new"
	// Smallest is the size from which on files are unified, as in Linux-VServer.
	Smallest = 16
)

// Store is the directory of the objects, open.
type Store struct {
	dir  *file.Dir
	max  uint32 // links an object may have; 0 for as many as the file system gives
	plan map[Key]int
	once sync.Once
	tmp  *file.Dir
	terr error

	mu    sync.Mutex
	open  map[string]*file.Dir // shelves
	sound map[inode]bool       // objects that were made or read since it was opened, and what they are
}

// Open opens the store in the pool at dir, and makes it when there is none. It must be
// closed.
func Open(dir string) (*Store, error) {
	objects := filepath.Join(dir, "objects")
	if err := os.MkdirAll(filepath.Join(objects, newDir), 0o700); err != nil {
		return nil, err
	}
	d, err := file.OpenDir(objects)
	if err != nil {
		return nil, err
	}
	return &Store{dir: d, open: map[string]*file.Dir{}, sound: map[inode]bool{}}, nil
}

// Close closes the store, and ends its lock.
func (s *Store) Close() error {
	var err error
	for _, d := range s.open {
		err = errors.Join(err, d.Close())
	}
	if s.tmp != nil {
		err = errors.Join(err, s.tmp.Close())
	}
	return errors.Join(err, s.dir.Close())
}

// share takes the store's lock as one of many that add to it.
func (s *Store) share() error { return busy(s.dir.Share()) }

// Seize takes the store for this one alone, until it is closed: nobody gives a tree a link
// to an object. guest.ErrBusy when another one adds to it or verifies it.
func (s *Store) Seize() error {
	err := busy(s.dir.Seize())
	if errors.Is(err, guest.ErrBusy) {
		return errors.Join(err, s.share()) // the kernel may have taken it away
	}
	return err
}

func busy(err error) error {
	if errors.Is(err, file.ErrLocked) {
		return fmt.Errorf("object store: %w", guest.ErrBusy)
	}
	return err
}

// shelf gives the directory of a key's objects, which stays open until Close: nobody takes it
// away while the store's lock is held.
func (s *Store) shelf(k Key) (*file.Dir, error) {
	name := string(k[:2])
	s.mu.Lock()
	defer s.mu.Unlock()
	if d := s.open[name]; d != nil {
		return d, nil
	}
	d, err := s.dir.Dir(name)
	if errors.Is(err, fs.ErrNotExist) {
		if err := s.dir.Mkdir(name, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
			return nil, err
		}
		d, err = s.dir.Dir(name)
	}
	if err == nil {
		s.open[name] = d
	}
	return d, err
}

// generation is the name on its shelf of a key's object number n, from 0.
func generation(k Key, n int) string {
	if n == 0 {
		return string(k[2:])
	}
	return string(k[2:]) + "-" + strconv.Itoa(n)
}

// keyOf is the key of an object by its place, false when none is called so.
func keyOf(shelf, name string) (Key, bool) {
	rest, n, numbered := strings.Cut(name, "-")
	k := shelf + rest
	if len(shelf) != 2 || len(k) != 64 || strings.Trim(k, "0123456789abcdef") != "" {
		return "", false
	}
	if i, err := strconv.Atoi(n); numbered && (err != nil || i < 1 || strconv.Itoa(i) != n) {
		return "", false
	}
	return Key(k), true
}

// put makes the name in d one of the key's object, or makes the object of it. st is
// what the file was when its key was taken. claim is asked for each object that there
// is, and tells whether it is free to stand for this file. put tells whether the file
// became one with another.
func (s *Store) put(ctx context.Context, d *file.Dir, name string, k Key, st file.Stat, claim func(file.Stat) bool) (joined bool, err error) {
	err = s.find(ctx, d, name, k, st, 1, claim, func(shelf *file.Dir, object string) error {
		err := s.swap(d, name, shelf, object, st)
		joined = err == nil
		return err
	})
	return joined, err
}

// find makes an object of a file, or calls join with the one that it, with so many names, can
// become one with. What has rotted is passed over: it would take a good copy with it.
func (s *Store) find(ctx context.Context, d *file.Dir, name string, k Key, st file.Stat, names int, claim func(file.Stat) bool, join func(shelf *file.Dir, object string) error) error {
	shelf, err := s.shelf(k)
	if err != nil {
		return err
	}
	for n := 0; ; n++ {
		object := generation(k, n)
		there, err := shelf.Stat(object)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			claim(st) // before an equal file of the same tree can find it
			err = s.adopt(d, name, shelf, object, st)
			if errors.Is(err, fs.ErrExist) {
				n-- // another was first: theirs it is
				continue
			}
			return err
		case err != nil:
			return err
		case there.Dev == st.Dev && there.Ino == st.Ino:
			return nil
		case s.max != 0 && there.Links >= s.max, names > 1 && int(there.Links)+names > most, !alike(there, st),
			!s.whole(ctx, shelf, object, k, there), !claim(there) && !s.begun(st, there):
			if err := ctx.Err(); err != nil {
				return err
			}
			continue
		}
		if err := join(shelf, object); !errors.Is(err, syscall.EMLINK) {
			return err
		}
	}
}

// whole tells whether an object is what its name says, by reading it the first time.
func (s *Store) whole(ctx context.Context, shelf *file.Dir, object string, k Key, st file.Stat) bool {
	at := inodeOf(st)
	s.mu.Lock()
	is, known := s.sound[at]
	s.mu.Unlock()
	if known {
		return is
	}
	_, err := check(ctx, shelf, object, k)
	if ctx.Err() != nil {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sound[at] = err == nil
	return err == nil
}

// rotten tells how many objects were found not to be what their names say.
func (s *Store) rotten() (n int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, is := range s.sound {
		if !is {
			n++
		}
	}
	return n
}

// would tells what put would, for the n-th file of a tree with this key.
func (s *Store) would(k Key, n int) (bool, error) {
	there, err := file.Exists(filepath.Join(s.dir.Path(), string(k[:2]), generation(k, n)))
	if err != nil || there || s.plan[k] > n {
		return there || err == nil, err
	}
	s.plan[k] = n + 1
	return false, nil
}

// alike tells whether two files of one key look alike still.
func alike(a, b file.Stat) bool {
	return a.Mode == b.Mode && a.UID == b.UID && a.GID == b.GID && a.Size == b.Size && a.Mtime == b.Mtime
}

// adopt makes an object of a tree's file.
func (s *Store) adopt(d *file.Dir, name string, shelf *file.Dir, object string, st file.Stat) error {
	if err := d.Link(name, shelf, object); err != nil {
		return err
	}
	now, err := shelf.Stat(object)
	if err == nil && !unchanged(st, now, true) {
		err = fmt.Errorf("link %s/%s: %w", d.Path(), name, errChanged)
	}
	if err != nil {
		return errors.Join(err, shelf.Unlink(object))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sound[inodeOf(st)] = true
	return nil
}

// swap puts a link to an object in the place of a tree's file. The link is made in the
// store first: a tree never has a name too many.
func (s *Store) swap(d *file.Dir, name string, shelf *file.Dir, object string, st file.Stat) error {
	if err := s.coming(); err != nil {
		return err
	}
	on := fmt.Sprintf("%d-%d-%d", os.Getpid(), st.Dev, st.Ino)
	on += "-" + object[:8] + "-" + strconv.FormatUint(nameSum(d.Path(), name), 16)
	err := shelf.Link(object, s.tmp, on)
	if errors.Is(err, fs.ErrExist) { // of a process that was killed and had our number
		err = errors.Join(s.tmp.Unlink(on), shelf.Link(object, s.tmp, on))
	}
	if err != nil {
		return err
	}
	now, err := d.Stat(name)
	if err == nil && !unchanged(st, now, true) {
		err = fmt.Errorf("replace %s/%s: %w", d.Path(), name, errChanged)
	}
	if err == nil {
		err = s.tmp.Rename(on, d, name)
	}
	if err != nil {
		return errors.Join(err, s.tmp.Unlink(on))
	}
	return nil
}

// coming opens the directory of links on their way.
func (s *Store) coming() error {
	s.once.Do(func() { s.tmp, s.terr = s.dir.Dir(newDir) })
	return s.terr
}

// nameSum tells the names of one file apart (FNV-1a).
func nameSum(parts ...string) uint64 {
	h := uint64(14695981039346656037)
	for _, c := range []byte(strings.Join(parts, "/")) {
		h = (h ^ uint64(c)) * 1099511628211
	}
	return h
}

// shelves lists the directories of objects.
func (s *Store) shelves() (out []string, err error) {
	names, err := s.dir.Names()
	for _, n := range names {
		if len(n) == 2 {
			out = append(out, n)
		}
	}
	slices.Sort(out)
	return out, err
}

// each calls do for all objects, shelf by shelf, until ctx ends.
func (s *Store) each(ctx context.Context, do func(shelf *file.Dir, name string, k Key) error) error {
	shelves, err := s.shelves()
	for _, sh := range shelves {
		if err == nil {
			err = s.eachOn(ctx, sh, do)
		}
	}
	return err
}

func (s *Store) eachOn(ctx context.Context, sh string, do func(*file.Dir, string, Key) error) error {
	d, err := s.dir.Dir(sh)
	if err != nil {
		return err
	}
	defer d.Close()
	names, err := d.Names()
	for _, name := range names {
		k, ok := keyOf(sh, name)
		if !ok || err != nil {
			continue
		}
		if err = ctx.Err(); err == nil {
			err = do(d, name, k)
		}
	}
	return err
}

// inodes tells which inodes are objects, by the lists of the shelves alone.
func (s *Store) inodes(ctx context.Context, known map[inode]bool) error {
	shelves, err := s.shelves()
	if err != nil {
		return err
	}
	for _, sh := range shelves {
		if err := s.inodesOn(ctx, sh, known); err != nil {
			return err
		}
	}
	return nil
}

func (s *Store) inodesOn(ctx context.Context, sh string, known map[inode]bool) error {
	d, err := s.dir.Dir(sh)
	if err != nil {
		return err
	}
	defer d.Close()
	self, err := d.Self()
	if err != nil {
		return err
	}
	items, err := file.Items(d)
	for _, it := range items {
		if _, ok := keyOf(sh, it.Name); ok {
			known[inode{self.Dev, it.Ino}] = true
		}
	}
	return errors.Join(err, ctx.Err())
}
