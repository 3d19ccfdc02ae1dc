package ns

import (
	"os"
	"syscall"
	"testing"

	"vserver/internal/need"
)

// TestLockNet: one has the lock at a time, also of two in different namespaces, and
// who has let go of it is no longer in the way.
func TestLockNet(t *testing.T) {
	need.Root(t)
	need.Namespaces(t, syscall.CLONE_NEWNET)
	unlock, err := LockNet()
	if err != nil {
		t.Fatal(err)
	}
	free := func() bool {
		f, err := os.Open(lockPath)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		return syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) == nil
	}
	if free() {
		t.Error("two have the lock")
	}
	if err := Apart(syscall.CLONE_NEWNET, func() error {
		if free() {
			t.Error("two have the lock, in two namespaces")
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	done := make(chan error)
	go func() {
		again, err := LockNet()
		if err == nil {
			again()
		}
		done <- err
	}()
	unlock()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
