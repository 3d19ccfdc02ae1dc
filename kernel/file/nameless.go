package file

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"
)

// Nameless makes a file for directory dir that has no name there yet, and goes with its
// last user unless Name gives it one. It is ErrNoNameless where the file system has none.
func Nameless(dir string) (*os.File, error) {
	fd, err := open(unix.AT_FDCWD, dir, unix.O_TMPFILE|unix.O_WRONLY|unix.O_CLOEXEC, 0o600)
	if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.EISDIR) {
		err = ErrNoNameless
	}
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: dir, Err: err}
	}
	return os.NewFile(uintptr(fd), dir), nil
}

// ErrNoNameless says that a file system has no files without names.
var ErrNoNameless = errors.New("no files without names")

// Name gives a file of Nameless, open, its name, which another one may have until then.
func Name(f *os.File, path string) error {
	proc := "/proc/self/fd/" + strconv.Itoa(int(f.Fd()))
	link := func(to string) error {
		err := retry(func() error { return unix.Linkat(unix.AT_FDCWD, proc, unix.AT_FDCWD, to, unix.AT_SYMLINK_FOLLOW) })
		if err != nil {
			return &os.LinkError{Op: "link", Old: f.Name(), New: to, Err: err}
		}
		return nil
	}
	err := link(path)
	if !errors.Is(err, unix.EEXIST) {
		return err
	}
	// No call puts a link in the place of another.
	half := filepath.Join(filepath.Dir(path), "."+filepath.Base(path)+"."+strconv.Itoa(os.Getpid()))
	if err := link(half); err != nil {
		return err
	}
	if err := os.Rename(half, path); err != nil {
		return errors.Join(err, os.Remove(half))
	}
	return nil
}
