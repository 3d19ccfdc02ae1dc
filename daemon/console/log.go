package console

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"

	"vserver/daemon/logtail"
	"vserver/guest"
	"vserver/host/state"
	"vserver/store"
)

// consoleLog is the file that a guest's console goes to: console.log in its state
// directory. A full one becomes console.log.1, and there are never more than these
// two. The size is asked of the kernel at every write, so that an administrator may
// empty or remove the file at any time.
type consoleLog struct {
	dirs  guest.Dirs
	name  guest.Name
	path  string
	limit int64
	f     *os.File
}

// defaultLogSize is used when none was said; it is the spec's default.
const defaultLogSize = 1 << 20

func newLog(dirs guest.Dirs, name guest.Name, limit guest.Bytes) *consoleLog {
	if limit <= 0 {
		limit = defaultLogSize
	}
	return &consoleLog{dirs: dirs, name: name, path: dirs.Console(name), limit: int64(limit)}
}

// piece is the most that may be read at once for this log: a small log is not
// overrun by a single read.
func (l *consoleLog) piece() int { return int(min(spillSize, max(l.limit/4, 512))) }

// end opens the log, rotates it when it is full, and gives the place of the next
// byte.
func (l *consoleLog) end() (int64, error) {
	for range 3 {
		if l.f == nil {
			if err := l.open(); err != nil {
				return 0, err
			}
		}
		st, err := l.f.Stat()
		if err != nil {
			return 0, err
		}
		gone := st.Sys().(*syscall.Stat_t).Nlink == 0
		switch {
		case gone:
		case st.Size() < l.limit:
			return st.Size(), nil
		default:
			if err := os.Rename(l.path, logtail.Rotated(l.path)); err != nil {
				return 0, err
			}
		}
		l.close()
	}
	return 0, fmt.Errorf("log %s: changes too fast: %w", l.path, guest.ErrBusy)
}

func (l *consoleLog) open() error {
	f, err := openLog(l.path)
	if errors.Is(err, os.ErrNotExist) {
		if err = l.makeDir(); err == nil {
			f, err = openLog(l.path)
		}
	}
	l.f = f
	return err
}

// makeDir makes the log's directory again that somebody removed, but not for a guest that
// was deleted before we heard of its end: its lock keeps a deletion away meanwhile.
func (l *consoleLog) makeDir() error {
	return state.Locked(l.dirs, l.name, 0, func() error {
		there, err := store.Exists(l.dirs.Spec(l.name))
		if err == nil && !there {
			err = guest.ErrNotFound
		}
		if err != nil {
			return err
		}
		return os.MkdirAll(filepath.Dir(l.path), 0o700)
	})
}

func openLog(path string) (*os.File, error) {
	return os.OpenFile(path, os.O_RDWR|os.O_CREATE|syscall.O_NOFOLLOW, 0o600)
}

// put writes data at the place that end gave. Written twice it is there once.
func (l *consoleLog) put(data []byte, at int64) error {
	_, err := l.f.WriteAt(data, at)
	return err
}

func (l *consoleLog) close() {
	if l.f != nil {
		l.f.Close()
		l.f = nil
	}
}
