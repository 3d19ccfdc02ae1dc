package proc

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// SysPrlimit is the number of prlimit64(2).
const SysPrlimit = unix.SYS_PRLIMIT64

// Rlimit is a limit of setrlimit(2).
type Rlimit struct{ Soft, Hard uint64 }

// Limit gives a process's limit by its number, and sets another one unless that is nil.
// pid may be any thread's of it.
func Limit(pid, resource int, set *Rlimit) (Rlimit, error) {
	var old unix.Rlimit
	var to *unix.Rlimit
	if set != nil {
		to = &unix.Rlimit{Cur: set.Soft, Max: set.Hard}
	}
	if err := unix.Prlimit(pid, resource, to, &old); err != nil {
		return Rlimit{}, fmt.Errorf("prlimit %d: %w", pid, err)
	}
	return Rlimit{old.Cur, old.Max}, nil
}
