// Package epoll waits for what is about to come (epoll_wait(2)), for moments so short that
// the Go runtime need not hear of it.
package epoll

import (
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Linger waits for events of ep, and gives how many came within d, which is to be less
// than a millisecond; 0 is none, or that a signal came. The caller's processor does nothing
// else meanwhile, and the runtime's collector waits as long.
func Linger(ep int, events []syscall.EpollEvent, d time.Duration) int {
	if len(events) == 0 {
		return 0
	}
	bound := [2]int64{0, int64(d)} // struct __kernel_timespec
	n, _, e := syscall.RawSyscall6(unix.SYS_EPOLL_PWAIT2, uintptr(ep), uintptr(unsafe.Pointer(&events[0])),
		uintptr(len(events)), uintptr(unsafe.Pointer(&bound)), 0, 0)
	if e != 0 {
		return 0
	}
	return int(n)
}
