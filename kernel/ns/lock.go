package ns

import (
	"fmt"
	"os"
	"syscall"
	"time"

	"vserver/fault"
	"vserver/guest"
)

// lockPath is a directory of the host's first process. The kernel has one of it for all
// who look, and lets only root look: a guest's is that of its own first process. The
// namespace's own file, which would be nearer, can be opened and locked by everybody
// who is in the namespace, as all guests of mode shared are: one that never let go
// would keep all others from starting.
const lockPath = "/proc/1/fd"

// patience is how long LockNet waits: what is done under the lock takes milliseconds, and
// 500 starts at once some seconds.
const patience = 30 * time.Second

// LockNet keeps others that call it off the network of the host, whatever namespace and
// directories they work in. The lock needs no place on disk, and ends with the process.
// Who waits for half a minute gets guest.ErrBusy: a stopped process has it, or a stuck one.
func LockNet() (unlock func(), err error) { return lockNet(patience) }

func lockNet(patience time.Duration) (unlock func(), err error) {
	f, err := os.Open(lockPath)
	if err != nil {
		return nil, err
	}
	if err = flock(f, syscall.LOCK_EX|syscall.LOCK_NB); err == syscall.EWOULDBLOCK {
		err = wait(f, patience)
	} else if err != nil {
		f.Close()
	}
	if err != nil {
		return nil, fmt.Errorf("lock %s: %w", lockPath, err)
	}
	return func() { letGo(f) }, nil
}

// wait waits for the lock in a thread of its own, as flock(2) cannot be interrupted by
// us. Without it f is that thread's to close.
func wait(f *os.File, patience time.Duration) error {
	got := make(chan error, 1)
	go func() { got <- flock(f, syscall.LOCK_EX) }()
	late := time.NewTimer(patience)
	defer late.Stop()
	select {
	case err := <-got:
		if err != nil {
			f.Close()
		}
		return err
	case <-late.C:
	}
	go func() {
		if <-got == nil {
			letGo(f)
		}
	}()
	return fault.Hint(fmt.Errorf("another command has changed the host's network for %v: %w", patience, guest.ErrBusy),
		"the process that /proc/locks names as the holder of a FLOCK is stuck or stopped; `kill -CONT` or `kill` it")
}

func flock(f *os.File, how int) error {
	for {
		if err := syscall.Flock(int(f.Fd()), how); err != syscall.EINTR {
			return err
		}
	}
}

// letGo gives the lock back. To close it is not enough: a guest's first process, cloned
// meanwhile by another start of this program, has it open too, waits at its gate, and its
// start for us.
func letGo(f *os.File) {
	flock(f, syscall.LOCK_UN)
	f.Close()
}
