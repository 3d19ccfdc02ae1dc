package proc

import (
	"errors"
	"math/bits"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

// The mask is the thread's own, as large as the kernel's, however much room there is.
func TestAffinity(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var set unix.CPUSet
	if err := unix.SchedGetaffinity(0, &set); err != nil {
		t.Fatal(err)
	}
	small, err1 := Affinity(unix.Gettid(), 128)
	large, err2 := Affinity(unix.Gettid(), 1<<20)
	n := 0
	for _, b := range small {
		n += bits.OnesCount8(b)
	}
	if err1 != nil || err2 != nil || n != set.Count() || len(large) < len(small) {
		t.Errorf("%x %v, %x %v; %d processors", small, err1, large, err2, set.Count())
	}
	if _, err := Affinity(unix.Gettid(), 1); !errors.Is(err, unix.EINVAL) {
		t.Errorf("no room: %v", err)
	}
}
