package file

import (
	"errors"
	"io/fs"
	"os"
)

// Forget removes a file, or an empty directory, of the host's; none at path is no error.
func Forget(path string) error {
	if err := os.Remove(path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
