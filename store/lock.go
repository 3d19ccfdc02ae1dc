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
	if err := hold(f, wait); err != nil {
		f.Close()
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	return func() { f.Close() }, nil
}

// hold waits up to wait for the lock of an open file.
func hold(f *os.File, wait time.Duration) error {
	const least, most = time.Millisecond, 20 * time.Millisecond
	for end, nap := time.Now().Add(wait), least; ; nap = min(2*nap, most) {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		left := time.Until(end)
		switch {
		case errors.Is(err, syscall.EINTR):
		case errors.Is(err, syscall.EWOULDBLOCK) && left > 0:
			time.Sleep(min(nap, left))
		case errors.Is(err, syscall.EWOULDBLOCK):
			return guest.ErrBusy
		default:
			return err
		}
	}
}
