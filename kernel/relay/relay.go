// Package relay passes the signals that this process gets on to another one.
//
// The handler itself does it, some instructions of assembly (handler_*.s). os/signal
// would do as well, but it has two threads take turns for each signal that is listened
// to, again for each that is not any more, and makes three threads: with eight signals
// 0.4 ms, a tenth of what running a command in a guest takes (measured 2026-11, Go 1.26).
//
// A signal that came twice before it could be passed on is passed on once, as the
// kernel does with signals that wait.
package relay

import (
	"fmt"
	"sync/atomic"
	"syscall"
	"unsafe"
)

// What the handler looks at, and held: 1 when somebody has a Relay.
var (
	target  uint32 //house:allow a process has one table of signal handlers; the pidfd they go to, 0 for none yet
	pending uint32 //house:allow the same; bit s-1: signal s came and was not passed on
	held    uint32
)

// addresses tells where the handler is, and what the kernel shall return to from it; 0
// where it brings that itself. The handler is no Go function: it runs on the signal
// stack of whichever thread the kernel chose, and calls the kernel alone.
func addresses() (handler, restorer uintptr)

// Action is what is done at a signal: the kernel's struct sigaction (signal.h of each
// architecture).
type Action struct {
	handler, flags, restorer uintptr
	mask                     uint64
}

// Flags of an action, <asm/signal.h>.
const (
	restorerGiven = 0x04000000 // SA_RESTORER
	onStack       = 0x08000000 // SA_ONSTACK
	restart       = 0x10000000 // SA_RESTART
)

// Relay is the taking of some signals.
type Relay struct {
	signals []syscall.Signal
	were    []Action
}

// Begin has the signals wait from now on, whatever was to be done about them before;
// they are of 1 to 31. There is one Relay in a process at a time, else the error is
// EBUSY. Who listens to the same signals with os/signal does not hear them meanwhile.
func Begin(signals ...syscall.Signal) (*Relay, error) {
	if !atomic.CompareAndSwapUint32(&held, 0, 1) {
		return nil, fmt.Errorf("signals: passed on already: %w", syscall.EBUSY)
	}
	r := &Relay{signals: signals, were: make([]Action, len(signals))}
	if e := Hold(signals, r.were); e != 0 {
		atomic.StoreUint32(&held, 0)
		return nil, fmt.Errorf("sigaction: %w", e)
	}
	return r, nil
}

// To passes what came and what comes on to the process that pidfd is of, which must
// stay open until End. That it ends is no error.
func (r *Relay) To(pidfd int) { Pass(r.signals, pidfd) }

// End has the signals do again what they did before.
func (r *Relay) End() {
	Let(r.signals, r.were)
	atomic.StoreUint32(&held, 0)
}

// Hold is Begin for code that runs before Go's runtime: were is room for as many actions
// as there are signals.
//
//go:nosplit
//go:norace
func Hold(signals []syscall.Signal, were []Action) syscall.Errno {
	atomic.StoreUint32(&target, 0)
	atomic.StoreUint32(&pending, 0)
	ours := Action{flags: onStack | restart, mask: ^uint64(0)}
	if ours.handler, ours.restorer = addresses(); ours.restorer != 0 {
		ours.flags |= restorerGiven
	}
	for i := range signals {
		if e := act(signals[i], &ours, &were[i]); e != 0 {
			Let(signals[:i], were)
			return e
		}
	}
	return 0
}

// Pass is To for signals that Hold holds.
//
//go:nosplit
//go:norace
func Pass(signals []syscall.Signal, pidfd int) {
	atomic.StoreUint32(&target, uint32(pidfd))
	// The handler looks at the target after it has noted its signal, and we at the notes
	// after we have set the target: whoever takes the note away passes it on.
	came := atomic.SwapUint32(&pending, 0)
	for _, s := range signals {
		if came&(1<<(s-1)) != 0 {
			syscall.RawSyscall6(sysPidfdSendSignal, uintptr(pidfd), uintptr(s), 0, 0, 0, 0)
		}
	}
}

const sysPidfdSendSignal = 424 // on every architecture

// Let is End for signals that Hold holds. Bit s-1 of what it gives tells that signal s came
// and was passed on to nobody.
//
//go:nosplit
//go:norace
func Let(signals []syscall.Signal, were []Action) (came uint32) {
	for i := range signals {
		act(signals[i], &were[i], nil) // what it was it can be again
	}
	atomic.StoreUint32(&target, 0)
	return atomic.SwapUint32(&pending, 0)
}

// act sets what happens at a signal and gives what would have happened.
//
//go:nosplit
//go:norace
func act(s syscall.Signal, do, did *Action) syscall.Errno {
	_, _, e := syscall.RawSyscall6(syscall.SYS_RT_SIGACTION, uintptr(s), uintptr(unsafe.Pointer(do)), uintptr(unsafe.Pointer(did)),
		unsafe.Sizeof(do.mask), 0, 0)
	return e
}
