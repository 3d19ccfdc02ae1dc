package spawn

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The hooks that the runtime keeps for syscall.forkExec: they block signals around
// the fork. linkname to these two is a promise of the runtime's ("used by gVisor" in
// its source).

//go:linkname beforeFork syscall.runtime_BeforeFork
func beforeFork()

//go:linkname afterFork syscall.runtime_AfterFork
func afterFork()

// cloneQuietly clones with all signals blocked, and so is the child born; as the user
// owner, if that is not 0, of whom e tells why it cannot be. securebits are ours.
//
// The credentials are those of this thread alone, as the kernel keeps them: only the C
// library and the syscall package spread changes to all. Nothing else can come to run on
// the thread meanwhile, since the runtime stops nobody who is about to fork; to lock the
// thread instead would have the runtime make another one (0.1 ms).
//
//go:noinline
//go:norace
func cloneQuietly(args *cloneArgs, r *runner, owner, securebits uintptr) (pid uintptr, e syscall.Errno) {
	beforeFork()
	if owner != 0 {
		e = becomeOwner(owner, securebits)
	}
	if e == 0 {
		pid = rawClone(args, unsafe.Sizeof(*args), r)
	}
	if owner != 0 {
		setEffective(0)
		syscall.RawSyscall6(syscall.SYS_PRCTL, unix.PR_SET_SECUREBITS, securebits, 0, 0, 0, 0)
	}
	afterFork()
	return pid, e
}

// becomeOwner gives the calling thread the effective ids id with all its capabilities.
//
//go:nosplit
//go:norace
func becomeOwner(id, securebits uintptr) syscall.Errno {
	const noSetuidFixup = 1 << 2 // SECBIT_NO_SETUID_FIXUP, capabilities(7)
	_, _, e := syscall.RawSyscall6(syscall.SYS_PRCTL, unix.PR_SET_SECUREBITS, securebits|noSetuidFixup, 0, 0, 0, 0)
	if e == 0 {
		e = setEffective(id)
	}
	return e
}

//go:nosplit
//go:norace
func setEffective(id uintptr) syscall.Errno {
	const same = ^uintptr(0)
	_, _, e := syscall.RawSyscall(sysSetresgid, same, id, same)
	if e == 0 {
		_, _, e = syscall.RawSyscall(sysSetresuid, same, id, same)
	}
	return e
}

// What an entry of the table does with its arguments.
const (
	kindCall    = iota // a system call
	kindLoad           // register := int32 at address args[0]
	kindFork           // a clone3, whose new process follows next
	kindPrint          // write args[0] in decimal before address args[1]
	kindStore          // int32 at address args[1] := args[0]
	kindEnd            // the process ends well
	kindSignals        // the call for each signal that can have an action, whose number is args[0]
)

// op is one entry of a table, complete: the child only follows it.
type op struct {
	nr   uintptr
	args [6]uintptr
	regs uint8 // bit i: args[i] is the number of a register
	kind uint8
	save int16 // register for the result; -1 for none
	want int   // the result must be this; -1 accepts any
	pass [2]syscall.Errno
	// needs, when not 0, is a register that holds a descriptor: the entry is left out when
	// none was got. With lacks it is left out when one was.
	needs, lacks Reg
	show         bool // on EACCES, set dumpable and try again
	next         *runner
}

const lastSignal = 64

// showTries bounds how often a child opens its own file in /proc. Whoever shares our
// memory (the parent, other children of it on their way to execve) takes the right to
// that away from all by a change of ids, which is a matter of microseconds.
const showTries = 10000

// runner is where a process stands in a table.
type runner struct {
	ops    []op
	at     int // number of ops[0] in the whole table
	regs   []uintptr
	report uintptr
}

// rawClone is clone3(2), 5.3. The new process, on the stack that args name or on a copy
// of the caller's, calls follow(r) and never comes back. It is written in assembly: a
// process that shares our memory must not return through our stack.
//
//go:noescape
func rawClone(args *cloneArgs, size uintptr, r *runner) (pid uintptr)

var _ = follow // rawClone calls it

// follow is a child's whole life until execve. It may use the stack it has and memory
// that exists, and must not allocate, grow its stack, take a lock, look at its
// goroutine (it has none) or call anything but raw system calls.
//
//go:nosplit
//go:norace
//go:nocheckptr
func follow(r *runner) {
	for i := range r.ops {
		o := &r.ops[i]
		if o.needs != 0 && r.regs[o.needs] == ^uintptr(0) || o.lacks != 0 && r.regs[o.lacks] != ^uintptr(0) {
			continue
		}
		a := &o.args
		for j := range a {
			if o.regs&(1<<j) != 0 {
				a[j] = r.regs[a[j]]
			}
		}
		switch o.kind {
		case kindLoad:
			r.regs[o.save] = uintptr(**(**int32)(unsafe.Pointer(&a[0])))
		case kindPrint:
			printDecimal(a[0], a[1])
		case kindStore:
			**(**int32)(unsafe.Pointer(&a[1])) = int32(a[0])
		case kindEnd:
			exit(0)
		case kindFork:
			r.regs[o.save] = forkOn(r, i, o)
		case kindSignals:
			for sig := uintptr(1); sig <= lastSignal; sig++ {
				if _, _, e := syscall.RawSyscall6(o.nr, sig, a[1], a[2], a[3], 0, 0); e != 0 && sig != uintptr(unix.SIGKILL) && sig != uintptr(unix.SIGSTOP) {
					fail(r.report, r.at+i, e)
				}
			}
		default:
			n, _, e := syscall.RawSyscall6(o.nr, a[0], a[1], a[2], a[3], a[4], a[5])
			for try := 0; e == syscall.EACCES && o.show && try < showTries; try++ {
				syscall.RawSyscall6(syscall.SYS_PRCTL, syscall.PR_SET_DUMPABLE, 1, 0, 0, 0, 0)
				n, _, e = syscall.RawSyscall6(o.nr, a[0], a[1], a[2], a[3], a[4], a[5])
			}
			if e != 0 && e != o.pass[0] && e != o.pass[1] || e == 0 && o.want >= 0 && n != uintptr(o.want) {
				fail(r.report, r.at+i, e)
			}
			if o.save >= 0 {
				r.regs[o.save] = n
			}
		}
	}
	exit(126)
}

// forkOn makes the process that goes on with the table, sharing our memory if the
// kernel lets it: one before 6.3 refuses that to a process that is on its way to
// another time namespace.
//
//go:nosplit
//go:norace
//go:nocheckptr
func forkOn(r *runner, i int, o *op) uintptr {
	args := *(**cloneArgs)(unsafe.Pointer(&o.args[0]))
	pid := rawClone(args, unsafe.Sizeof(*args), o.next)
	if e := errno(pid); e == syscall.EINVAL && args.stack != 0 {
		args.flags &^= shareFlags
		args.stack, args.stackSize = 0, 0
		pid = rawClone(args, unsafe.Sizeof(*args), o.next)
	}
	if e := errno(pid); e != 0 {
		fail(r.report, r.at+i, e)
	}
	return pid
}

// errno is the error in a raw result, as the kernel encodes it.
//
//go:nosplit
func errno(r uintptr) syscall.Errno {
	if r > ^uintptr(4095) {
		return syscall.Errno(-r)
	}
	return 0
}

// printDecimal writes n, last digit first, into the bytes that end before end.
//
//go:nosplit
//go:norace
func printDecimal(n, end uintptr) {
	for {
		end--
		**(**byte)(unsafe.Pointer(&end)) = byte('0' + n%10)
		if n /= 10; n == 0 {
			return
		}
	}
}

// fail reports entry i and its errno and ends the process.
//
//go:nosplit
//go:norace
func fail(report uintptr, i int, e syscall.Errno) {
	rep := [2]uint32{uint32(i), uint32(e)}
	syscall.RawSyscall(syscall.SYS_WRITE, report, uintptr(unsafe.Pointer(&rep[0])), unsafe.Sizeof(rep))
	exit(127)
}

//go:nosplit
//go:norace
func exit(code uintptr) {
	for {
		syscall.RawSyscall(syscall.SYS_EXIT_GROUP, code, 0, 0)
	}
}
