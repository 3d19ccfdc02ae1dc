// Package solo has the program begin with one processor for its Go code.
//
// The runtime wakes a thread for each goroutine that begins while a processor is idle,
// its own collectors' first of all: two threads and two thirds of the changes between
// them in a program that lives for three milliseconds, 0.2 to 0.3 ms of a start, an exec
// and a stop (measured 2026-11, Go 1.26). It heeds GOMAXPROCS in the environment alone
// there; set later it gains nothing. So the program is entered some instructions earlier
// than Go's are (begin_*.s), where the setting is added to what the kernel left on the
// stack. The linker must be told: -E vserver/kernel/solo.begin. Without that nothing is
// different.
package solo

import (
	"os"
	"runtime"
)

// The setting is written as nobody else does. One that was there before wins.
const name, value = "GOMAXPROCS", "01"

var began bool //house:allow a process has one beginning

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
}

// Over gives Go code all processors. It is for what computes, or does several things at
// once.
func Over() {
	if began {
		began = false
		runtime.SetDefaultGOMAXPROCS()
	}
}
