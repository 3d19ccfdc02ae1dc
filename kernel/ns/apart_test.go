package ns

import (
	"errors"
	"os"
	"runtime"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"vserver/internal/need"
)

func TestMain(m *testing.M) { need.Main(m) }

// The main thread, of which /proc/self speaks, stays where it is, be it asked to do
// the work or not.
func TestApartSparesMainThread(t *testing.T) {
	need.Root(t)
	before, err := os.Readlink("/proc/self/ns/mnt")
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for range 200 {
		all.Go(func() {
			err := Apart(unix.CLONE_NEWNS, func() error {
				if now, err := os.Readlink("/proc/thread-self/ns/mnt"); err != nil || now == before {
					t.Errorf("in %s, %v", now, err)
				}
				return unix.Mount("apart", "/sys", "tmpfs", 0, "")
			})
			if err != nil {
				t.Error(err)
			}
			runtime.Gosched()
		})
	}
	all.Wait()
	if now, err := os.Readlink("/proc/self/ns/mnt"); now != before {
		t.Errorf("the process is in %s, %v; was in %s", now, err, before)
	}
	if _, err := os.Stat("/sys/kernel"); err != nil {
		t.Error(err)
	}
}

func TestApartGivesError(t *testing.T) {
	need.Root(t)
	want := errors.New("x")
	if err := Apart(unix.CLONE_NEWUTS, func() error { return want }); err != want {
		t.Errorf("%v", err)
	}
}
