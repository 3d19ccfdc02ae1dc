package file

import (
	"errors"
	"io/fs"
	"os"
)

// Replace has a file say text, in one go: whoever opens it reads what it said before or all
// of that. It is not synced, so a power cut may leave either or nothing. The file path.new
// beside it is taken for that.
func Replace(path string, text []byte, perm fs.FileMode) error {
	temp := path + ".new"
	err := os.WriteFile(temp, text, perm)
	if err == nil {
		err = os.Rename(temp, path)
	}
	if err != nil {
		return errors.Join(err, Forget(temp))
	}
	return nil
}
