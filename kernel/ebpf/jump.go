package ebpf

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// Test is how a jump compares.
type Test byte

// The tests. Any is true when the two have a bit in common.
const (
	Equal   Test = unix.BPF_JEQ
	Differs Test = unix.BPF_JNE
	Any     Test = unix.BPF_JSET
	Above   Test = unix.BPF_JGT
	AtLeast Test = unix.BPF_JGE
	Below   Test = unix.BPF_JLT
)

func (t Test) String() string {
	switch t {
	case Equal:
		return "=="
	case Differs:
		return "!="
	case Any:
		return "&"
	case Above:
		return ">"
	case AtLeast:
		return ">="
	}
	return "<"
}

// Goto goes forward to a label.
func Goto(to string) Instruction {
	return Instruction{Op: unix.BPF_JMP | unix.BPF_JA, To: to, Text: "goto " + to}
}

// JumpIf goes forward to a label if the lower 32 bits of dst compare so with imm.
func JumpIf(dst Register, test Test, imm int32, to string) Instruction {
	return Instruction{Op: unix.BPF_JMP32 | byte(test) | unix.BPF_K, Dst: dst, Imm: imm, To: to,
		Text: fmt.Sprintf("if w%d %v %#x goto %s", byte(dst), test, uint32(imm), to)}
}

// JumpIfReg goes forward to a label if all of dst compares so with src.
func JumpIfReg(dst Register, test Test, src Register, to string) Instruction {
	return Instruction{Op: unix.BPF_JMP | byte(test) | unix.BPF_X, Dst: dst, Src: src, To: to,
		Text: fmt.Sprintf("if %v %v %v goto %s", dst, test, src, to)}
}

// Again is JumpIf backward. The kernel takes it when it sees an end of that.
func Again(dst Register, test Test, imm int32, to string) Instruction {
	i := JumpIf(dst, test, imm, to)
	i.back = true
	return i
}

// And is dst &= imm, Or is dst |= imm, ShiftLeft is dst <<= imm, on all 64 bits.
func And(dst Register, imm int32) Instruction { return alu(unix.BPF_AND, "&", dst, imm) }

// Or is dst |= imm.
func Or(dst Register, imm int32) Instruction { return alu(unix.BPF_OR, "|", dst, imm) }

// ShiftLeft is dst <<= imm.
func ShiftLeft(dst Register, imm int32) Instruction { return alu(unix.BPF_LSH, "<<", dst, imm) }

// AndReg is dst &= src.
func AndReg(dst, src Register) Instruction { return aluReg(unix.BPF_AND, "&", dst, src) }

// OrReg is dst |= src.
func OrReg(dst, src Register) Instruction { return aluReg(unix.BPF_OR, "|", dst, src) }

// XorReg is dst ^= src.
func XorReg(dst, src Register) Instruction { return aluReg(unix.BPF_XOR, "^", dst, src) }

func aluReg(op byte, sign string, dst, src Register) Instruction {
	return Instruction{Op: unix.BPF_ALU64 | op | unix.BPF_X, Dst: dst, Src: src, Text: fmt.Sprintf("%v %s= %v", dst, sign, src)}
}

// And32 is dst &= imm on the lower 32 bits; the upper ones are 0 then.
func And32(dst Register, imm int32) Instruction {
	return Instruction{Op: unix.BPF_ALU | unix.BPF_AND | unix.BPF_K, Dst: dst, Imm: imm,
		Text: fmt.Sprintf("w%d &= %#x", byte(dst), uint32(imm))}
}

// Or32 is dst |= imm on the lower 32 bits; the upper ones are 0 then.
func Or32(dst Register, imm int32) Instruction {
	return Instruction{Op: unix.BPF_ALU | unix.BPF_OR | unix.BPF_K, Dst: dst, Imm: imm,
		Text: fmt.Sprintf("w%d |= %#x", byte(dst), uint32(imm))}
}

// MovImm32 is dst = imm without extending its sign.
func MovImm32(dst Register, imm int32) Instruction {
	return Instruction{Op: unix.BPF_ALU | unix.BPF_MOV | unix.BPF_K, Dst: dst, Imm: imm,
		Text: fmt.Sprintf("w%d = %#x", byte(dst), uint32(imm))}
}

// Swap16 turns the lower 16 bits of dst between network order and the machine's; the
// upper ones are 0 then.
func Swap16(dst Register) Instruction {
	return Instruction{Op: unix.BPF_ALU | unix.BPF_END | unix.BPF_TO_BE, Dst: dst, Imm: 16,
		Text: fmt.Sprintf("%v = be16 %v", dst, dst)}
}

// AtomicAdd is *(size *)(dst + off) += src, at once for all processors.
func AtomicAdd(dst Register, off int16, src Register, size Size) Instruction {
	return Instruction{Op: unix.BPF_STX | unix.BPF_ATOMIC | byte(size), Dst: dst, Src: src, Off: off, Imm: unix.BPF_ADD,
		Text: fmt.Sprintf("atomic *(%v *)(%v %+d) += %v", size, dst, off, src)}
}

// AtomicFetch is AtomicAdd, with what was there before in src.
func AtomicFetch(dst Register, off int16, src Register, size Size) Instruction {
	i := AtomicAdd(dst, off, src, size)
	i.Imm |= unix.BPF_FETCH
	i.Text = fmt.Sprintf("%v = fetched, %s", src, i.Text)
	return i
}

// Reached leaves out what is never executed, which the kernel would refuse: programs
// that are put together of parts have such.
func Reached(program []Instruction) []Instruction {
	var out []Instruction
	wanted := map[string]bool{}
	live := true
	for _, i := range program {
		live = live || wanted[i.Label]
		if !live {
			continue
		}
		out = append(out, i)
		if i.To != "" {
			wanted[i.To] = true
		}
		if i.Op == unix.BPF_JMP|unix.BPF_JA && !i.here || i.Op == unix.BPF_JMP|unix.BPF_EXIT {
			live = false
		}
	}
	return out
}
