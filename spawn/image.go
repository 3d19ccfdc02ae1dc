package spawn

import (
	"fmt"
	"math"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Image is a table whose whole memory lies in one block, so that another process can have
// it: where the block is mapped at the address that it was made for, Launch follows the
// table, without an allocation and without Go's runtime. What is not known beforehand is in
// registers: those that are Given, and the program of ExecNamed.
type Image struct {
	args   cloneArgs
	first  runner
	second *runner
	given  []Reg
	words  Reg
	named  []namedPath
}

// namedPath is where a program may be: a directory with a slash, and room for its name.
type namedPath struct {
	reg    Reg
	prefix int
	path   []byte
}

// nameSize bounds the name of a program, with the 0 at its end.
const nameSize = 256

// BlockSize is what the memory of an image's table takes at most.
const BlockSize = 128 << 10

// block is such memory, and how much of it is taken.
type block struct {
	mem   []byte
	taken int
}

// placed puts a list into the block. Who asks for more than there is gets memory that the
// image will lack, and Image says so.
func placed[T any](b *block, list []T) []T {
	var one T
	b.taken = (b.taken + 15) &^ 15
	begin := b.taken
	b.taken += max(len(list), 1) * int(unsafe.Sizeof(one))
	if b.taken > len(b.mem) {
		return append([]T(nil), list...)
	}
	out := unsafe.Slice((*T)(unsafe.Pointer(&b.mem[begin])), len(list))
	copy(out, list)
	return out
}

// Fix has the memory of a table, which is empty yet, lie in mem.
func (t *Table) Fix(mem []byte) { t.block = &block{mem: mem, taken: int(unsafe.Sizeof(Image{}))} }

// Image makes the beginning of the table's block an image of it, and tells how much of the
// block is used. told is where the table's fork leaves the pid of the second process: memory
// that an image's caller shares with its children.
func (t *Table) Image(told uintptr) (used int, err error) {
	if err := t.check(); err != nil {
		return 0, err
	}
	if t.forks == nil || t.polled != nil {
		return 0, fmt.Errorf("image of a table that waits or does not fork: %w", syscall.EINVAL)
	}
	t.forks.parentTID = uint64(told)
	t.ops[0].needs = regOurGate // there is no gate
	t.ops = puts(t, t.ops)
	regs := puts(t, make([]uintptr, max(t.nregs, int(regsFixed))))
	regs[regGate], regs[regOurGate] = math.MaxUint, math.MaxUint
	first, second := t.split(regs, 0)
	i := (*Image)(unsafe.Pointer(&t.block.mem[0]))
	*i = Image{args: cloneArgs{exitSignal: uint64(unix.SIGCHLD)}, first: *first, second: put(t, *second), words: t.words, named: puts(t, t.named)}
	t.ops[t.at].next = i.second
	for _, g := range t.given {
		i.given = append(i.given, g.reg)
	}
	i.given = puts(t, i.given)
	if t.block.taken > len(t.block.mem) {
		return 0, fmt.Errorf("image of %d bytes: %w", t.block.taken, syscall.E2BIG)
	}
	return t.block.taken, nil
}

// Served tells whether the table needs a Gate.
func (t *Table) Served() bool { return t.served }

// Give sets a register that the table was Given.
//
//go:nosplit
//go:norace
func (i *Image) Give(n int, value uintptr) {
	if n < len(i.given) {
		i.first.regs[i.given[n]] = value
	}
}

// Gate sets the connection for SeccompServed.
//
//go:nosplit
//go:norace
func (i *Image) Gate(fd uintptr) { i.first.regs[regGate] = fd }

// Name sets the program of ExecNamed: its words as execve(2) has them, of which the first
// names it. It tells whether the name is one that there is room for.
//
//go:nosplit
//go:norace
func (i *Image) Name(words unsafe.Pointer) bool {
	name := *(*unsafe.Pointer)(words)
	length, slash := 0, false
	for ; ; length++ {
		c := *(*byte)(unsafe.Add(name, length))
		if c == 0 {
			break
		}
		slash = slash || c == '/'
	}
	if length == 0 || length >= nameSize && !slash {
		return false
	}
	i.first.regs[i.words] = uintptr(words)
	for n := range i.named {
		p := &i.named[n]
		if slash {
			i.first.regs[p.reg] = uintptr(name)
			continue
		}
		for c := 0; c <= length; c++ {
			p.path[p.prefix+c] = *(*byte)(unsafe.Add(name, c))
		}
		i.first.regs[p.reg] = uintptr(unsafe.Pointer(&p.path[0]))
	}
	return true
}

// Launch clones the image's first process into the control group that the descriptor is of;
// its children report to the other one, as those of Start do. All signals must be blocked.
//
//go:nosplit
//go:norace
func (i *Image) Launch(group, report int) (pid int, e syscall.Errno) {
	i.args.flags = unix.CLONE_INTO_CGROUP
	i.args.cgroup = uint64(group)
	i.first.report, i.second.report = uintptr(report), uintptr(report)
	i.first.regs[regReport] = uintptr(report)
	r := rawClone(&i.args, unsafe.Sizeof(i.args), &i.first)
	if e := errno(r); e != 0 {
		return 0, e
	}
	return int(r), 0
}
