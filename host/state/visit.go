package state

import (
	"errors"
	"fmt"
	"io/fs"
	"time"

	"vserver/guest"
	"vserver/kernel/file"
)

// Visit says that somebody outside has files of a guest that runs open, and writes them by
// its mounts, until leave is called or the process ends. Whoever visits looks after that
// whether the guest still runs, and leaves at once when it ends.
func Visit(d guest.Dirs, n guest.Name) (leave func(), err error) {
	dir, err := file.OpenDir(d.State(n))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, Absent(d, n)
	}
	if err != nil {
		return nil, err
	}
	if err := dir.Share(); err != nil {
		dir.Close()
		if errors.Is(err, file.ErrLocked) {
			err = Absent(d, n) // it is being looked at as one that does not run
		}
		return nil, err
	}
	return func() { dir.Close() }, nil
}

// Free refuses a guest, which does not run and whose lock is held, while its files are
// written to otherwise: by a visitor that has not heard of its end, or where they are
// mounted. Two overlays that write to one tree ruin it.
func Free(d guest.Dirs, n guest.Name) error {
	if err := unmounted(d, n); err != nil {
		return err
	}
	dir, err := file.OpenDir(d.State(n))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer dir.Close()
	const pause = 2 * time.Millisecond
	for end := time.Now().Add(Patience); ; time.Sleep(pause) {
		if err = dir.Seize(); err == nil || !errors.Is(err, file.ErrLocked) {
			return err
		}
		if time.Now().After(end) {
			return fmt.Errorf("files are being copied to it or from it: %w", guest.ErrBusy)
		}
	}
}
