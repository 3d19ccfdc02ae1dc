package ns

import (
	"fmt"
	"runtime"

	"golang.org/x/sys/unix"
)

// Apart calls do in a thread that has left the namespaces flags (CLONE_NEWNS,
// CLONE_NEWNET, ...) of the process, and that ends with the call: what do mounts or
// makes there is gone afterwards, unless a descriptor holds it. Mounts of the new
// namespace do not spread to the process's own.
//
// Descriptors opened before belong to the mounts of the old namespace; where the
// kernel wants a mount of the caller's own, they must be opened anew.
func Apart(flags int, do func() error) error {
	return Aside(func() error { return apart(flags, do) })
}

// Aside calls do in a thread that ends with the call, with all that do makes of it.
func Aside(do func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // for good: the thread ends with the goroutine
		if unix.Gettid() == unix.Getpid() {
			// The main thread never ends, and /proc/self speaks of its namespaces. While
			// this goroutine holds it, another gets another thread.
			defer runtime.UnlockOSThread()
			done <- Aside(do)
			return
		}
		done <- do()
	}()
	return <-done
}

func apart(flags int, do func() error) error {
	if flags&unix.CLONE_NEWNS != 0 {
		flags |= unix.CLONE_FS // threads share it, and the kernel wants it given up first
	}
	if err := unix.Unshare(flags); err != nil {
		return fmt.Errorf("leave namespaces: %w", err)
	}
	if flags&unix.CLONE_NEWNS != 0 {
		if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
			return fmt.Errorf("make mounts private: %w", err)
		}
	}
	return do()
}
