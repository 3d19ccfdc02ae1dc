// Package solo has the program begin with one processor for its Go code, and with the
// standard streams that it was given.
//
// The runtime wakes a thread for each goroutine that begins while a processor is idle,
// its own collectors' first of all: two threads and two thirds of the changes between
// them in a program that lives for three milliseconds, 0.2 to 0.3 ms of a start, an exec
// and a stop (measured 2026-11, Go 1.26). It heeds GOMAXPROCS in the environment alone
// there; set later it gains nothing. So the program is entered some instructions earlier
// than Go's are (begin_*.s), where the setting is added to what the kernel left on the
// stack. The linker must be told: -E vserver/kernel/solo.begin. Without that nothing is
// different.
//
// The runtime opens /dev/null in place of a standard stream that is closed. What is
// written there is lost, and nobody is told. So begin notes what is closed, and Settle
// puts in its place what can neither be read nor written.
package solo

import (
	"os"
	"runtime"
	"syscall"
)

// The setting is written as nobody else does. One that was there before wins.
const name, value = "GOMAXPROCS", "01"

var began bool //house:allow a process has one beginning

// Bit n is set when descriptor n was closed.
var closed uint8 //house:allow the same

// begin is where the kernel enters the program.
func begin()

var _ = begin // the linker looks for it

// Settle takes the setting out of the environment again, which other programs inherit.
// It comes before anything that reads the environment.
func Settle() {
	if os.Getenv(name) == value {
		os.Unsetenv(name)
		began = true
	}
	for fd := range 3 {
		if closed&(1<<fd) != 0 {
			fail(fd)
		}
	}
}

// fail has a standard descriptor fail as a closed one does (EBADF), in the program and
// in those that inherit it: it is /dev/null, open for the other direction.
func fail(fd int) {
	mode := syscall.O_RDONLY
	if fd == 0 {
		mode = syscall.O_WRONLY
	}
	null, err := syscall.Open(os.DevNull, mode|syscall.O_CLOEXEC, 0)
	if err != nil {
		return
	}
	_ = syscall.Dup3(null, fd, 0) // both are open
	syscall.Close(null)
}

// Over gives Go code all processors. It is for what computes, or does several things at
// once.
func Over() {
	if began {
		began = false
		runtime.SetDefaultGOMAXPROCS()
	}
}
