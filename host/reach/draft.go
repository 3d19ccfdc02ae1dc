package reach

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"vserver/guest"
	"vserver/kernel/file"
	"vserver/store"
)

// A file in a guest that must have a name while it is written is noted, with its directory,
// in a file of that name that is locked as long as somebody writes it. Who comes after a
// killed one removes both.
func drafts(d guest.Dirs, n guest.Name) string { return filepath.Join(d.State(n), "drafts") }

// draft is a file that is being written.
type draft struct {
	*file.Draft
	note *file.Lock
}

// draft begins a file in a directory.
func (c *copying) draft(to *file.Dir) (*draft, error) {
	out := &draft{}
	f, err := file.Begin(to, func(name string) (err error) {
		if c.dst.name == "" {
			return nil
		}
		at := drafts(c.dirs, c.dst.name)
		if out.note, err = store.Lock(filepath.Join(at, name), 0); err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(at, name), []byte(to.Path()), 0o600)
	})
	out.Draft = f
	if err != nil {
		return nil, errors.Join(err, out.note.Unlock())
	}
	return out, nil
}

// Place gives it its name.
func (f *draft) Place(name string) error { return errors.Join(f.Draft.Place(name), f.forget()) }

// Discard gives it up, unless it has its name.
func (f *draft) Discard() error { return errors.Join(f.Draft.Discard(), f.forget()) }

func (f *draft) forget() error {
	err := f.note.Unlock()
	f.note = nil
	return err
}

// mend removes what those left who were killed.
func (v *view) mend(d guest.Dirs) error {
	list, err := os.ReadDir(drafts(d, v.name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	for _, e := range list {
		l, lerr := file.TryLock(filepath.Join(drafts(d, v.name), e.Name()))
		if errors.Is(lerr, file.ErrLocked) {
			continue
		}
		if lerr == nil {
			lerr = v.remove(d, e.Name())
		}
		err = errors.Join(err, lerr, l.Unlock())
	}
	return err
}

func (v *view) remove(d guest.Dirs, name string) error {
	at, err := os.ReadFile(filepath.Join(drafts(d, v.name), name))
	if err != nil || !file.Passing(name) {
		return err
	}
	dir, err := v.root.Dir(string(at))
	if err != nil {
		return nil // the guest has taken it away, or put something else there
	}
	defer dir.Close()
	if err := dir.Unlink(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
