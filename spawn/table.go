package spawn

import (
	"fmt"
	"math"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// shareFlags are those of a child that shares its parent's memory until it executes
// a program: nothing is copied, and the parent goes on meanwhile.
const shareFlags = unix.CLONE_VM

// stackSize is what follow needs with room to spare: the linker holds a chain of
// nosplit functions below 800 bytes.
const stackSize = 8 << 10

// cloneArgs is struct clone_args of linux/sched.h up to cgroup (5.7).
type cloneArgs struct {
	flags      uint64
	_          [2]uint64 // pidfd, child_tid
	parentTID  uint64
	exitSignal uint64
	stack      uint64
	stackSize  uint64
	_          [3]uint64 // tls, set_tid, set_tid_size
	cgroup     uint64
}

// Table is what a child does between clone and exec. The methods in calls.go and
// mounts.go append to it. The zero value is ready.
//
//house:allow a method for each system call that a child may make
type Table struct {
	ops   []op
	names []string
	nregs int
	keep  []any // memory that entries point to, unless that is block
	block *block
	forks *cloneArgs
	// at is the entry that forks, and skip how many entries after it are the old
	// process's.
	at, skip int
	// polled are the gate and the parent's pidfd; nil when the table does not wait.
	polled *[2]unix.PollFd
	// handed names what a program that the report pipe was handed to was to do.
	handed string
	given  []given
	// named are the places of ExecNamed's program, in the order in which they are tried.
	named  []namedPath
	words  Reg
	served bool // has SeccompServed
}

// given is a register that Start fills with a value of the parent's.
type given struct {
	reg   Reg
	value uintptr
}

// The registers that Start fills.
const (
	regGate    Reg = iota // the child's end of the gate
	regOurGate            // the parent's end, which the child has inherited
	regReport             // the child's end of the report pipe
	regsFixed
)

// Reg is a register of the child: the result of an earlier entry.
type Reg int

// arg is an argument of an entry: a number, or the register it is found in.
type arg struct {
	v   uintptr
	reg bool
}

// Strings tells what the table does, an entry a line.
func (t *Table) Strings() []string { return t.names }

func num[T ~int | ~int32 | ~uint32 | ~uint64 | ~uintptr](v T) arg { return arg{v: uintptr(v)} }

func (r Reg) arg() arg { return arg{v: uintptr(r), reg: true} }

// put gives v a place in the memory of the table, which keeps it alive; what Go's
// collector does not move stays where the child's copy will have it as well.
func put[T any](t *Table, v T) *T {
	if t.block != nil {
		return &placed(t.block, []T{v})[0]
	}
	t.keep = append(t.keep, &v)
	return &v
}

// puts is put for a list, which is the table's from then on.
func puts[T any](t *Table, list []T) []T {
	if t.block != nil {
		return placed(t.block, list)
	}
	t.keep = append(t.keep, list)
	return list
}

// at makes memory of the table an argument.
func at[T any](p *T) arg { return arg{v: uintptr(unsafe.Pointer(p))} }

func (t *Table) str(s string) arg {
	b := make([]byte, len(s)+1)
	copy(b, s)
	return at(&puts(t, b)[0])
}

func (t *Table) strs(list []string) arg {
	ptrs := make([]uintptr, len(list)+1)
	for i, s := range list {
		ptrs[i] = t.str(s).v
	}
	return at(&puts(t, ptrs)[0])
}

// Given is a register with a number that the parent has when it calls Start.
func (t *Table) Given(n int) Reg {
	r := t.reg()
	t.given = append(t.given, given{r, uintptr(n)})
	return r
}

func (t *Table) reg() Reg {
	t.nregs = max(t.nregs, int(regsFixed)) + 1
	return Reg(t.nregs - 1)
}

// call appends a system call and returns it for the refinements below.
func (t *Table) call(name string, nr uintptr, args ...arg) *op {
	if len(t.ops) == 0 {
		// As long as the child held that end itself it would not see the parent die.
		t.ops = []op{{nr: unix.SYS_CLOSE, args: [6]uintptr{uintptr(regOurGate)}, regs: 1, save: -1, want: -1}}
		t.names = []string{"close the parent's end of the gate"}
	}
	o := op{nr: nr, save: -1, want: -1}
	for i, a := range args {
		o.args[i] = a.v
		if a.reg {
			o.regs |= 1 << i
		}
	}
	t.ops = append(t.ops, o)
	t.names = append(t.names, name)
	return &t.ops[len(t.ops)-1]
}

// saved appends a system call whose result later entries use.
func (t *Table) saved(name string, nr uintptr, args ...arg) Reg {
	r := t.reg()
	t.call(name, nr, args...).save = int16(r)
	return r
}

func (t *Table) last() *op { return &t.ops[len(t.ops)-1] }

// passing has the child go on over these errors; the result is then -1.
func (o *op) passing(e ...syscall.Errno) *op {
	copy(o.pass[:], e)
	return o
}

// load appends the reading of an int32 that a system call will have written.
func (t *Table) load(name string, p *int32) Reg {
	r := t.reg()
	o := t.call(name, 0, at(p))
	o.kind, o.save = kindLoad, int16(r)
	return r
}

// split gives the table as the two processes follow it; the second is nil when the
// table does not fork.
func (t *Table) split(regs []uintptr, report int) (first, second *runner) {
	first = &runner{ops: t.ops, regs: regs, report: uintptr(report)}
	if t.forks == nil {
		return first, nil
	}
	mine := t.at + 1 + t.skip
	first.ops = t.ops[:mine]
	second = &runner{ops: t.ops[mine:], at: mine, regs: regs, report: uintptr(report)}
	t.ops[t.at].next = second
	return first, second
}

// check refuses a table that the child could not follow.
func (t *Table) check() error {
	if len(t.ops) == 0 || t.nregs > math.MaxInt16 {
		return fmt.Errorf("spawn table of %d entries: %w", len(t.ops), syscall.EINVAL)
	}
	return nil
}
