package state

import (
	"context"
	"errors"
	"fmt"
	"time"

	"vserver/guest"
	"vserver/kernel/file"
	"vserver/store"
)

// Patience is how long an operation waits for another one on the same guest: as long
// as a start or a stop in good order takes. After that it is guest.ErrBusy.
const Patience = 5 * time.Second

// Lock takes the lock of a guest, waiting a while for another operation on it. unlock
// may be called twice.
func Lock(d guest.Dirs, n guest.Name) (unlock func(), err error) {
	unlock, _, err = LockToLeave(d, n)
	return unlock, err
}

// TryLock is Lock that waits a moment: for who holds the lock of another guest, which
// whoever has this one may be waiting for.
func TryLock(d guest.Dirs, n guest.Name) (unlock func(), err error) {
	const moment = time.Second
	l, err := store.Lock(d.Lock(n), moment)
	if err != nil {
		return nil, err
	}
	return func() { release(d, n, l) }, nil
}

// LockToLeave is Lock for an operation that may end before all of its work is done:
// leave, called before unlock, has a process cloned meanwhile keep the lock.
func LockToLeave(d guest.Dirs, n guest.Name) (unlock, leave func(), err error) {
	l, err := store.Lock(d.Lock(n), Patience)
	if err != nil {
		return nil, nil, err
	}
	unlock, leave = held(d, n, l)
	return unlock, leave, nil
}

func held(d guest.Dirs, n guest.Name, l *file.Lock) (unlock, leave func()) {
	leave = func() {
		l.Leave()
		l = nil
	}
	return func() {
		if l != nil {
			release(d, n, l)
			l = nil
		}
	}, leave
}

// LockWithin is LockToLeave for who can wait longer, up to wait, or until ctx ends; late is called
// when it takes longer than Patience.
func LockWithin(ctx context.Context, d guest.Dirs, n guest.Name, wait time.Duration, late func()) (unlock, leave func(), err error) {
	unlock, leave, err = LockToLeave(d, n)
	if wait <= Patience || !errors.Is(err, guest.ErrBusy) {
		return unlock, leave, err
	}
	late()
	bounded, cancel := context.WithTimeout(ctx, wait-Patience)
	defer cancel()
	l, err := file.WaitLock(bounded, d.Lock(n))
	if err != nil && ctx.Err() != nil {
		err = ctx.Err()
	} else if errors.Is(err, file.ErrLocked) {
		err = fmt.Errorf("lock %s: %w", d.Lock(n), guest.ErrBusy)
	}
	if err != nil {
		return nil, nil, err
	}
	unlock, leave = held(d, n, l)
	return unlock, leave, nil
}

// Locked runs do while the guest's lock is held.
func Locked(d guest.Dirs, n guest.Name, wait time.Duration, do func() error) error {
	l, err := store.Lock(d.Lock(n), wait)
	if err != nil {
		return err
	}
	defer release(d, n, l)
	return do()
}

// release lets go of a guest's lock. The file of one that is there stays, for the next
// operation; with the guest it goes.
func release(d guest.Dirs, n guest.Name, l *file.Lock) {
	if there, err := store.Exists(d.Spec(n)); err == nil && !there {
		l.Unlock()
		return
	}
	l.Release()
}
