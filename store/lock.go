package store

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"vserver/guest"
	"vserver/kernel/file"
)

// Lock takes the lock file at path, making it when it is missing, and waits up to wait
// for another process to let go of it; after that the error is guest.ErrBusy.
func Lock(path string, wait time.Duration) (*file.Lock, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, err
	}
	l, err := file.TryLock(path)
	if errors.Is(err, file.ErrLocked) && wait > 0 {
		ctx, cancel := context.WithTimeout(context.Background(), wait)
		defer cancel()
		l, err = file.WaitLock(ctx, path)
	}
	if errors.Is(err, file.ErrLocked) {
		return nil, fmt.Errorf("lock %s: %w", path, guest.ErrBusy)
	}
	return l, err
}

// seize takes the lock of a directory, waiting up to wait, until dir is closed.
func seize(dir *file.Dir, wait time.Duration) error {
	for end := time.Now().Add(wait); ; time.Sleep(time.Millisecond) {
		err := dir.Seize()
		if !errors.Is(err, file.ErrLocked) {
			return err
		}
		if time.Now().After(end) {
			return fmt.Errorf("%w: %w", err, guest.ErrBusy)
		}
	}
}
