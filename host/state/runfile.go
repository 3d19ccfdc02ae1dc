package state

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"vserver/guest"
	"vserver/store"
)

// runFile is the file in which scripts look for the number of a guest that runs: what the
// link "run" in its directory of Linux-VServer's leads to. "" when it has none.
func runFile(d guest.Dirs, n guest.Name) string {
	for _, dir := range []string{filepath.Join(d.Config, string(n)), store.Migrated(d, n)} {
		if to, err := os.Readlink(filepath.Join(dir, "run")); err == nil {
			if !filepath.IsAbs(to) {
				to = filepath.Join(dir, to)
			}
			return to
		}
	}
	return ""
}

// PutRun writes a guest's number where scripts look for it. The programs here ask the
// kernel. What is there and is no number stays.
func PutRun(d guest.Dirs, n guest.Name, xid guest.XID) error {
	path := runFile(d, n)
	if path == "" {
		return nil
	}
	switch was, err := os.ReadFile(path); {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return err
	case !isNumber(string(was)):
		return fmt.Errorf("%s: is no file of a guest's number: %w", path, guest.ErrInvalid)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, fmt.Appendln(nil, xid), 0o644)
}

// TakeRun removes what PutRun wrote.
func TakeRun(d guest.Dirs, n guest.Name) error {
	path := runFile(d, n)
	if path == "" {
		return nil
	}
	was, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) || err == nil && !isNumber(string(was)) {
		return nil
	}
	if err == nil {
		err = os.Remove(path)
	}
	return err
}

func isNumber(text string) bool {
	_, err := strconv.ParseUint(strings.TrimSpace(text), 10, 16)
	return err == nil
}
