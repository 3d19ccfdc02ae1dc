// Package store keeps the specs of the guests, /etc/vservers/NAME.yaml, and what
// must hold between them: it reads and writes the files, tells which specs clash
// with each other and with the host, and remembers which numbers have been given
// out. What stands in a file is the matter of its package settings.
package store

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"vserver/fault"
	"vserver/guest"
	"vserver/kernel/file"
	"vserver/store/settings"
)

const suffix = ".yaml"

// Load reads and checks the spec at path or, when there is none, the directory of
// Linux-VServer in its place. Neither is guest.ErrNotFound, a wrong one gives
// settings.Problems or legacy.Problems. What is not said is zero.
func Load(path string) (*guest.Spec, error) {
	text, err := Read(path)
	if errors.Is(err, guest.ErrNotFound) {
		return loadOld(path)
	}
	if err != nil {
		return nil, err
	}
	return settings.Parse(path, text)
}

// Read gives the text of the spec at path. The file must be a plain one that only
// root (or the caller) can write, since it names programs that root runs.
func Read(path string) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s: %w", path, guest.ErrNotFound)
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if err := trusted(path, info); err != nil {
		return nil, err
	}
	// One byte more than is allowed: then the parser says that it is too much.
	return io.ReadAll(io.LimitReader(f, settings.MaxSize+1))
}

func trusted(path string, info fs.FileInfo) error {
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%s: is no plain file: %w", path, guest.ErrInvalid)
	}
	return owned(path, info)
}

// owned refuses what others than root (or the caller) can write.
func owned(path string, info fs.FileInfo) error {
	owner := int(info.Sys().(*syscall.Stat_t).Uid)
	if owner != 0 && owner != os.Geteuid() {
		return fault.Hint(fmt.Errorf("%s: belongs to uid %d, who could have root run programs: %w", path, owner, guest.ErrInvalid),
			"chown root "+path)
	}
	if info.Mode().Perm()&0o022 != 0 {
		return fault.Hint(fmt.Errorf("%s: others than its owner may write it, and so have root run programs: %w", path, guest.ErrInvalid),
			"chmod go-w "+path)
	}
	return nil
}

// Names gives the names of the guests that have a spec in dir, or a directory of
// Linux-VServer's, sorted. A directory that is not there has none. Files whose names no
// guest can have are left alone.
func Names(dir string) ([]guest.Name, error) {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	names := make([]guest.Name, 0, len(entries))
	for _, e := range entries {
		base, ok := strings.CutSuffix(e.Name(), suffix)
		// A directory of Linux-VServer's may be elsewhere, and a link lead there.
		if ok && e.IsDir() || !ok && (!e.IsDir() && e.Type() != fs.ModeSymlink || !old(filepath.Join(dir, e.Name()))) {
			continue
		}
		if n, err := guest.ParseName(base); err == nil {
			names = append(names, n)
		}
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}

// Write puts the spec at path as a commented text of what differs from the
// defaults. A spec that is there is replaced with its comments; settings.Set keeps them.
func Write(path string, spec *guest.Spec) error {
	return put(path, spec, true)
}

// WriteAhead is Write, but the spec need not be on the disk before Land has been called:
// where the file system has order, so that what is done meanwhile goes there with it.
func WriteAhead(path string, spec *guest.Spec) error { return put(path, spec, false) }

func put(path string, spec *guest.Spec, last bool) error {
	text := settings.Render(guest.Name(strings.TrimSuffix(filepath.Base(path), suffix)), spec)
	if _, err := settings.Parse(path, text); err != nil {
		return err
	}
	return writeText(path, text, last)
}

// Land has a spec that WriteAhead wrote on the disk.
func Land(path string) error {
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real
	}
	return syncDir(filepath.Dir(path))
}

// WriteText puts the text of a spec at path atomically: after a crash or a power
// cut there is the old text or the new one. A file that was there keeps its mode; a
// new one is 0600, since an environment may hold secrets. A symbolic link stays
// one. It does not check the text.
func WriteText(path string, text []byte) error { return writeText(path, text, true) }

func writeText(path string, text []byte, last bool) error {
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real
	}
	mode := fs.FileMode(0o600)
	if info, err := os.Stat(path); err == nil {
		mode = info.Mode().Perm()
	}
	return replace(path, text, mode, last)
}

// replace writes a file beside path and renames it over it, its content on disk before.
// With last it is on disk when replace returns; else where the file system has order, what
// is done after it does not get there earlier. Its directory is made when it is missing, and locked meanwhile:
// so the file beside can have one name, and what a killed tool left under it is
// overwritten by the next and never adds up.
func replace(path string, text []byte, mode fs.FileMode, last bool) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	dir, err := file.OpenDir(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer dir.Close()
	if err := seize(dir, writeWait); err != nil {
		return err
	}
	if err := writeSynced(beside(path), text, mode); err != nil {
		return errors.Join(err, file.Forget(beside(path)))
	}
	if err := os.Rename(beside(path), path); err != nil {
		return errors.Join(err, file.Forget(beside(path)))
	}
	if !last && file.Ordered(dir) {
		return nil
	}
	return file.Sync(dir)
}

// writeWait is how long others may take to write a file of a few KiB.
const writeWait = 10 * time.Second

func beside(path string) string {
	return filepath.Join(filepath.Dir(path), "."+filepath.Base(path)+".new")
}

func writeSynced(path string, text []byte, mode fs.FileMode) error {
	if err := file.Forget(path); err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	return errors.Join(err, f.Chmod(mode), file.Settle(f), f.Close())
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// Remove takes the spec at path away, and a directory of Linux-VServer's in its place,
// and what a killed Write left beside it. One that is not there is no error.
func Remove(path string) error {
	if err := errors.Join(file.Forget(beside(path)), removeOld(path), file.Forget(path)); err != nil {
		return err
	}
	err := syncDir(filepath.Dir(path))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// Rename moves the spec from one path to another in the same directory. A spec at
// the new path is guest.ErrExists, none at the old one guest.ErrNotFound. After a
// crash there is the old one, the new one, or both with the same content; calling
// it again finishes.
func Rename(from, to string) error {
	err := os.Link(from, to)
	switch {
	case errors.Is(err, fs.ErrExist) && sameFile(from, to):
	case errors.Is(err, fs.ErrExist):
		return fmt.Errorf("%s: %w", to, guest.ErrExists)
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%s: %w", from, guest.ErrNotFound)
	case err != nil:
		return err
	}
	if err := syncDir(filepath.Dir(to)); err != nil {
		return err
	}
	return Remove(from)
}

func sameFile(a, b string) bool {
	i, err := os.Lstat(a)
	j, err2 := os.Lstat(b)
	return err == nil && err2 == nil && os.SameFile(i, j)
}
