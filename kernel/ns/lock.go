package ns

import (
	"fmt"
	"os"
	"syscall"
)

// LockNet keeps others that call it off the network namespace of the calling thread:
// the lock is on the namespace's own file, needs no place on disk, and holds whatever
// directories a tool works in. It waits as long as it takes, and ends with the process.
func LockNet() (unlock func(), err error) {
	f, err := os.Open("/proc/thread-self/ns/net")
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
	return func() { f.Close() }, nil
}
