package file

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Forget removes a file, or an empty directory, of the host's; none at path is no error,
// also where nothing can be written: the kernel says that first.
func Forget(path string) error {
	err := os.Remove(path)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.EROFS) && absent(path) {
		return nil
	}
	return err
}

// Gone makes no error of what is not there.
func Gone(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

func absent(path string) bool {
	there, err := Exists(path)
	return err == nil && !there
}

// Writable is an error when the directory at path, or the one in which it would be made,
// is on a file system that is read-only, or is immutable.
func Writable(path string) error {
	for {
		err := unix.Faccessat(unix.AT_FDCWD, path, unix.W_OK, unix.AT_EACCESS)
		if err != unix.ENOENT {
			if err != nil {
				return fmt.Errorf("write in %s: %w", path, err)
			}
			return nil
		}
		path = filepath.Dir(path)
	}
}
