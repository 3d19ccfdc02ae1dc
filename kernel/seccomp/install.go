package seccomp

import (
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Install puts all threads of this process under a filter (seccomp(2),
// SECCOMP_FILTER_FLAG_TSYNC). The calling thread may do so: it wants no new privileges
// (PR_SET_NO_NEW_PRIVS), or it has CAP_SYS_ADMIN.
func Install(prog []unix.SockFilter) error {
	f := unix.SockFprog{Len: uint16(len(prog)), Filter: &prog[0]}
	_, _, e := syscall.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_TSYNC, uintptr(unsafe.Pointer(&f)))
	runtime.KeepAlive(prog)
	if e != 0 {
		return e
	}
	return nil
}
