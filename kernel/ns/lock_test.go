package ns

import (
	"errors"
	"os"
	"runtime"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"vserver/guest"
	"vserver/internal/need"
)

// TestLockNet has two want the lock, and one who must not be able to have it.
func TestLockNet(t *testing.T) {
	need.Root(t)
	unlock, err := LockNet()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := lockNet(10 * time.Millisecond); !errors.Is(err, guest.ErrBusy) {
		t.Errorf("who waits for ever: %v", err)
	}
	got := make(chan error)
	go func() {
		unlock, err := LockNet()
		if err == nil {
			unlock()
		}
		got <- err
	}()
	select {
	case err := <-got:
		t.Errorf("two have it: %v", err)
	case <-time.After(50 * time.Millisecond):
	}
	nobody := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends as nobody
		// The calls themselves: those of package syscall change all threads.
		if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, 65534, 65534, 65534); errno != 0 {
			nobody <- errno
			return
		}
		fd, err := syscall.Open(lockPath, syscall.O_RDONLY, 0)
		if err == nil {
			syscall.Close(fd)
		}
		nobody <- err
	}()
	if err := <-nobody; !errors.Is(err, os.ErrPermission) {
		t.Errorf("everybody can take the lock: %v", err)
	}
	unlock()
	if err := <-got; err != nil {
		t.Error(err)
	}
}
