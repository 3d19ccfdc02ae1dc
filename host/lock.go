package host

import (
	"time"

	"vserver/guest"
	"vserver/kernel/file"
	"vserver/store"
)

// lock takes the lock of a guest, waiting a while for another operation on it. unlock
// may be called twice.
func (h *Host) lock(n guest.Name) (unlock func(), err error) {
	unlock, _, err = h.lockToLeave(n)
	return unlock, err
}

// lockToLeave is lock for an operation that may end before all of its work is done:
// leave, called before unlock, has a process cloned meanwhile keep the lock.
func (h *Host) lockToLeave(n guest.Name) (unlock, leave func(), err error) {
	l, err := store.Lock(h.Dirs.Lock(n), lockWait)
	if err != nil {
		return nil, nil, err
	}
	leave = func() {
		l.Leave()
		l = nil
	}
	return func() {
		if l != nil {
			h.unlock(n, l)
			l = nil
		}
	}, leave, nil
}

// locked runs do while the guest's lock is held.
func (h *Host) locked(n guest.Name, wait time.Duration, do func(guest.Name) error) error {
	l, err := store.Lock(h.Dirs.Lock(n), wait)
	if err != nil {
		return err
	}
	defer h.unlock(n, l)
	return do(n)
}

// unlock lets go of a guest's lock. The file of one that is there stays, for the next
// operation; with the guest it goes.
func (h *Host) unlock(n guest.Name, l *file.Lock) {
	if there, err := exists(h.Dirs.Spec(n)); err == nil && !there {
		l.Unlock()
		return
	}
	l.Release()
}
