package ns

import (
	"fmt"
	"os"
	"syscall"
)

// lockPath is a directory of the host's first process. The kernel has one of it for all
// who look, and lets only root look: a guest's is that of its own first process. The
// namespace's own file, which would be nearer, can be opened and locked by everybody
// who is in the namespace, as all guests of mode shared are: one that never let go
// would keep all others from starting.
const lockPath = "/proc/1/fd"

// LockNet keeps others that call it off the network of the host, whatever namespace and
// directories they work in. The lock needs no place on disk. It waits as long as it
// takes, and ends with the process.
func LockNet() (unlock func(), err error) {
	f, err := os.Open(lockPath)
	if err != nil {
		return nil, err
	}
	for {
		if err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != syscall.EINTR {
			break
		}
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("lock %s: %w", f.Name(), err)
	}
	return func() {
		// To close it is not enough: a guest's first process, cloned meanwhile by another
		// start of this program, has it open too, waits at its gate, and its start for us.
		syscall.Flock(int(f.Fd()), syscall.LOCK_UN)
		f.Close()
	}, nil
}
