package seccomp

import (
	"slices"

	"golang.org/x/sys/unix"
)

// Offsets in struct seccomp_data of linux/seccomp.h. All our architectures are
// little-endian: the low half of an argument comes first.
const (
	offNr   = 0
	offArch = 4
	offArgs = 16
)

// low and high are the offsets of the halves of an argument.
func low(arg uint32) uint32  { return offArgs + 8*arg }
func high(arg uint32) uint32 { return offArgs + 8*arg + 4 }

// permit lets a call through; errno makes it fail with a number.
const permit = unix.SECCOMP_RET_ALLOW

func errno(e unix.Errno) uint32 { return unix.SECCOMP_RET_ERRNO | uint32(e) }

// code is a program being written from its end to its beginning. Jumps of classic
// BPF only go forward, so that every target is known when the jump is written.
type code struct {
	at   []unix.SockFilter // last instruction first
	rets []label           // instructions that end the program, to be shared
}

// label is an instruction: its place counted from the end.
type label int

func (c *code) emit(op uint16, k uint32, jt, jf uint8) label {
	c.at = append(c.at, unix.SockFilter{Code: op, Jt: jt, Jf: jf, K: k})
	return label(len(c.at) - 1)
}

// ret gives an instruction that ends the program with k.
func (c *code) ret(k uint32) label {
	for _, l := range c.rets {
		if c.at[l].K == k {
			return l
		}
	}
	l := c.emit(unix.BPF_RET|unix.BPF_K, k, 0, 0)
	c.rets = append(c.rets, l)
	return l
}

// load writes a load of the word at an offset of seccomp_data.
func (c *code) load(off uint32) label {
	return c.emit(unix.BPF_LD|unix.BPF_W|unix.BPF_ABS, off, 0, 0)
}

// loaded writes a load that goes on at next.
func (c *code) loaded(off uint32, next label) label {
	c.near(next, 0)
	return c.load(off)
}

// jump writes a comparison of what is loaded with k, and where to go when it holds
// and when not.
func (c *code) jump(cmp uint16, k uint32, yes, no label) label {
	yes = c.near(yes, 254) // one less: the other may need an instruction between
	no = c.near(no, 255)
	here := label(len(c.at))
	return c.emit(unix.BPF_JMP|cmp|unix.BPF_K, k, uint8(here-1-yes), uint8(here-1-no))
}

// near gives an instruction that leads to l and is at most far instructions from the
// one that is written next.
func (c *code) near(l label, far int) label {
	gap := len(c.at) - 1 - int(l)
	if gap <= far {
		return l
	}
	return c.emit(unix.BPF_JMP|unix.BPF_JA, uint32(gap), 0, 0)
}

// oneOf writes comparisons with each of list that lead to yes, and then to no.
func (c *code) oneOf(list []uint32, yes, no label) label {
	for _, k := range slices.Backward(list) {
		no = c.jump(unix.BPF_JEQ, k, yes, no)
	}
	return no
}

// done gives the program, first instruction first.
func (c *code) done() []unix.SockFilter {
	slices.Reverse(c.at)
	return c.at
}
