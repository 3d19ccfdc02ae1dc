package file

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// ErrLocked says that somebody else holds a lock.
var ErrLocked = errors.New("locked")

// Lock is a held flock(2): it ends with the process, however that ends.
type Lock struct {
	f    *os.File
	path string
}

// TryLock locks the file at path, which is made when it is not there. It gives
// ErrLocked when another holds it.
func TryLock(path string) (*Lock, error) {
	for {
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			return nil, err
		}
		err = retry(func() error { return unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) })
		if err != nil {
			f.Close()
			if errors.Is(err, unix.EWOULDBLOCK) {
				err = ErrLocked
			}
			return nil, fmt.Errorf("lock %s: %w", path, err)
		}
		// The holder before may have removed the file between our open and flock: then
		// ours is a lock on nothing.
		held, err1 := f.Stat()
		now, err2 := os.Stat(path)
		if err1 == nil && err2 == nil && os.SameFile(held, now) {
			return &Lock{f, path}, nil
		}
		f.Close()
	}
}

// WaitLock is TryLock that waits until ctx ends. It asks every few milliseconds: a
// blocking flock(2) could not be interrupted.
func WaitLock(ctx context.Context, path string) (*Lock, error) {
	for pause := time.Millisecond; ; pause = min(pause*2, 50*time.Millisecond) {
		l, err := TryLock(path)
		if !errors.Is(err, ErrLocked) {
			return l, err
		}
		select {
		case <-ctx.Done():
			return nil, errors.Join(err, ctx.Err())
		case <-time.After(pause):
		}
	}
}

// LockDir is WaitLock for the file lock in a directory, which is made if it is not there
// and then root's alone.
func LockDir(dir string, patience time.Duration) (*Lock, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return WaitLock(ctx, filepath.Join(dir, "lock"))
}

// Release releases the lock and leaves its file.
func (l *Lock) Release() error {
	if l == nil {
		return nil
	}
	return errors.Join(l.free(), l.f.Close())
}

// free lets go of the lock. To close the file is not enough: a process that is being
// cloned by another thread of ours may have it open for a while.
func (l *Lock) free() error {
	return retry(func() error { return unix.Flock(int(l.f.Fd()), unix.LOCK_UN) })
}

// Leave closes the file and no more: a process cloned from this one has the lock until
// it ends.
func (l *Lock) Leave() error { return l.f.Close() }

// Unlock releases the lock and removes its file.
func (l *Lock) Unlock() error {
	if l == nil {
		return nil
	}
	return errors.Join(os.Remove(l.path), l.free(), l.f.Close())
}

// Share takes a shared lock on an open directory, until the Dir is closed. It gives
// ErrLocked when somebody holds it exclusively.
func (d *Dir) Share() error { return d.flock(unix.LOCK_SH) }

// Seize takes an exclusive lock on an open directory, until the Dir is closed. It
// gives ErrLocked when somebody holds it in any way.
func (d *Dir) Seize() error { return d.flock(unix.LOCK_EX) }

func (d *Dir) flock(how int) error {
	err := retry(func() error { return unix.Flock(d.fd, how|unix.LOCK_NB) })
	if errors.Is(err, unix.EWOULDBLOCK) {
		err = ErrLocked
	}
	return d.fault("lock", "", err)
}
