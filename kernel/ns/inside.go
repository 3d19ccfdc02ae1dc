package ns

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// Inside calls do in a thread that has joined namespaces (CLONE_NEWIPC, CLONE_NEWNET,
// CLONE_NEWUTS) of the process behind the pidfd, or the one that it is a file of, with the rights that it had before;
// the thread ends with the call. What do reads and writes below /proc/sys is then of
// those namespaces.
func Inside(pidfd, flags int, do func() error) error {
	return Aside(func() error {
		if err := unix.Setns(pidfd, flags); err != nil {
			return fmt.Errorf("join namespaces: %w", err)
		}
		return do()
	})
}

// Seem gives the calling thread another effective user id, and no other thread of the
// process. It is for what Inside calls, since the thread is never the same again.
func Seem(uid uint32) error {
	const keep = ^uintptr(0)
	if _, _, e := unix.RawSyscall(sysSetresuid, keep, uintptr(uid), keep); e != 0 {
		return fmt.Errorf("become user %d: %w", uid, e)
	}
	return nil
}
