package store

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"vserver/guest"
)

// Lock takes the lock file at path for this open file alone, making it when it is
// missing, and waits up to wait for another process to let go of it; after that the
// error is guest.ErrBusy. The kernel lets go of the lock when its process ends, so a
// killed tool leaves none behind; the file itself stays, since removing it would
// let two processes hold two locks of one name.
func Lock(path string, wait time.Duration) (release func(), err error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	const least, most = time.Millisecond, 20 * time.Millisecond
	for end, nap := time.Now().Add(wait), least; ; nap = min(2*nap, most) {
		err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return func() { f.Close() }, nil
		}
		if left := time.Until(end); !errors.Is(err, syscall.EINTR) {
			if !errors.Is(err, syscall.EWOULDBLOCK) || left <= 0 {
				break
			}
			time.Sleep(min(nap, left))
		}
	}
	f.Close()
	if errors.Is(err, syscall.EWOULDBLOCK) {
		err = guest.ErrBusy
	}
	return nil, fmt.Errorf("lock %s: %w", path, err)
}
