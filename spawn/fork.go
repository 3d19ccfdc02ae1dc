package spawn

import (
	"syscall"
	"unsafe"
)

// The hooks that the runtime keeps for syscall.forkExec: they block signals around
// the fork and put handlers and mask right in the child. linkname to these three is
// a promise of the runtime's ("used by gVisor" in its source).

//go:linkname beforeFork syscall.runtime_BeforeFork
func beforeFork()

//go:linkname afterFork syscall.runtime_AfterFork
func afterFork()

//go:linkname afterForkInChild syscall.runtime_AfterForkInChild
func afterForkInChild()

// What an entry of the table does with its arguments.
const (
	kindCall  = iota // a system call
	kindLoad         // register := int32 at address args[0]
	kindFork         // a clone3: the new process goes on after the next want entries, which are the old one's
	kindPrint        // write args[0] in decimal before address args[1]
	kindEnd          // the process ends well
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
}

// fork clones the calling thread with args and lets the child run ops. Only the
// parent returns. The child may use the stack it has and memory that exists, and
// must not allocate, grow its stack, take a lock or call anything but raw system
// calls.
//
//go:noinline
//go:norace
//go:nocheckptr
func fork(args *cloneArgs, ops []op, regs []uintptr, report uintptr) (pid uintptr, err syscall.Errno) {
	beforeFork()
	pid, _, err = syscall.RawSyscall(sysClone3, uintptr(unsafe.Pointer(args)), unsafe.Sizeof(*args), 0)
	if err != 0 || pid != 0 {
		afterFork()
		return pid, err
	}
	afterForkInChild()
	for i := 0; i < len(ops); i++ {
		o := &ops[i]
		a := &o.args
		for j := range a {
			if o.regs&(1<<j) != 0 {
				a[j] = regs[a[j]]
			}
		}
		switch o.kind {
		case kindLoad:
			regs[o.save] = uintptr(**(**int32)(unsafe.Pointer(&a[0])))
			continue
		case kindPrint:
			printDecimal(a[0], a[1])
			continue
		case kindEnd:
			exit(0)
		}
		r, _, e := syscall.RawSyscall6(o.nr, a[0], a[1], a[2], a[3], a[4], a[5])
		if e != 0 && e != o.pass[0] && e != o.pass[1] || e == 0 && o.kind == kindCall && o.want >= 0 && r != uintptr(o.want) {
			fail(report, i, e)
		}
		if o.save >= 0 {
			regs[o.save] = r
		}
		if o.kind == kindFork && r == 0 {
			i += o.want
		}
	}
	exit(126)
	return 0, 0
}

// printDecimal writes n, last digit first, into the bytes that end before end.
//
//go:noinline
//go:norace
//go:nosplit
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
//go:noinline
//go:norace
//go:nosplit
func fail(report uintptr, i int, e syscall.Errno) {
	rep := [2]uint32{uint32(i), uint32(e)}
	syscall.RawSyscall(syscall.SYS_WRITE, report, uintptr(unsafe.Pointer(&rep[0])), unsafe.Sizeof(rep))
	exit(127)
}

//go:noinline
//go:norace
//go:nosplit
func exit(code uintptr) {
	for {
		syscall.RawSyscall(syscall.SYS_EXIT_GROUP, code, 0, 0)
	}
}
