package proc

import (
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// maxMask is the size of a mask of processors, in bytes, of the largest kernels
// (CONFIG_NR_CPUS is 8192 at most).
const maxMask = 1024

// Affinity gives the mask of the processors on which a thread may run, as the kernel
// writes it for a caller that has room for size bytes. The error is the kernel's:
// unix.EINVAL when that is too little.
func Affinity(tid, size int) ([]byte, error) {
	mask := make([]byte, maxMask)
	n, _, e := unix.RawSyscall(unix.SYS_SCHED_GETAFFINITY, uintptr(tid), uintptr(min(size, maxMask)), uintptr(unsafe.Pointer(&mask[0])))
	if e != 0 {
		return nil, fmt.Errorf("sched_getaffinity %d: %w", tid, e)
	}
	return mask[:n], nil
}
