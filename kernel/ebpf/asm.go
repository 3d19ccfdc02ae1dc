package ebpf

import (
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
)

// Register is one of the eleven registers.
type Register byte

// The registers: R0 is results, R1 to R5 arguments, which a call clobbers, R6 to R9
// survive calls, FP is the end of the stack of 512 bytes.
const (
	R0 Register = iota
	R1
	R2
	R3
	R4
	R5
	R6
	R7
	R8
	R9
	FP
)

// Instruction is one instruction.
type Instruction struct {
	Op       byte
	Dst, Src Register
	Off      int16
	Imm      int32

	Label string // of this instruction
	To    string // label that a jump goes to
	Text  string // as a reader sees it

	here bool // a label alone
	back bool // the label that it jumps to is behind it
}

// Size is the size of a memory access.
type Size byte

// The sizes.
const (
	Byte  Size = unix.BPF_B
	Half  Size = unix.BPF_H
	Word  Size = unix.BPF_W
	DWord Size = unix.BPF_DW
)

// Pointer is the size of a kernel's pointer on a machine with so many bits.
func Pointer(bits int) Size {
	if bits == 32 {
		return Word
	}
	return DWord
}

// Bytes is the size in bytes.
func (s Size) Bytes() int32 {
	switch s {
	case Byte:
		return 1
	case Half:
		return 2
	case Word:
		return 4
	}
	return 8
}

func (s Size) String() string { return fmt.Sprintf("u%d", s.Bytes()*8) }

// Load is dst = *(size *)(src + off).
func Load(dst, src Register, off int16, size Size) Instruction {
	return Instruction{Op: unix.BPF_LDX | unix.BPF_MEM | byte(size), Dst: dst, Src: src, Off: off,
		Text: fmt.Sprintf("%v = *(%v *)(%v %+d)", dst, size, src, off)}
}

// Store is *(size *)(dst + off) = src.
func Store(dst Register, off int16, src Register, size Size) Instruction {
	return Instruction{Op: unix.BPF_STX | unix.BPF_MEM | byte(size), Dst: dst, Src: src, Off: off,
		Text: fmt.Sprintf("*(%v *)(%v %+d) = %v", size, dst, off, src)}
}

// StoreImm is *(size *)(dst + off) = imm.
func StoreImm(dst Register, off int16, imm int32, size Size) Instruction {
	return Instruction{Op: unix.BPF_ST | unix.BPF_MEM | byte(size), Dst: dst, Off: off, Imm: imm,
		Text: fmt.Sprintf("*(%v *)(%v %+d) = %d", size, dst, off, imm)}
}

// Mov is dst = src.
func Mov(dst, src Register) Instruction {
	return Instruction{Op: unix.BPF_ALU64 | unix.BPF_MOV | unix.BPF_X, Dst: dst, Src: src, Text: fmt.Sprintf("%v = %v", dst, src)}
}

// Add is dst += src.
func Add(dst, src Register) Instruction {
	return Instruction{Op: unix.BPF_ALU64 | unix.BPF_ADD | unix.BPF_X, Dst: dst, Src: src, Text: fmt.Sprintf("%v += %v", dst, src)}
}

// Sub is dst -= src, on all 64 bits.
func Sub(dst, src Register) Instruction { return aluReg(unix.BPF_SUB, "-", dst, src) }

// MovImm is dst = imm.
func MovImm(dst Register, imm int32) Instruction { return alu(unix.BPF_MOV, "", dst, imm) }

// AddImm is dst += imm.
func AddImm(dst Register, imm int32) Instruction { return alu(unix.BPF_ADD, "+", dst, imm) }

// MulImm is dst *= imm.
func MulImm(dst Register, imm int32) Instruction { return alu(unix.BPF_MUL, "*", dst, imm) }

// ShiftRight is dst >>= imm.
func ShiftRight(dst Register, imm int32) Instruction { return alu(unix.BPF_RSH, ">>", dst, imm) }

func alu(op byte, sign string, dst Register, imm int32) Instruction {
	return Instruction{Op: unix.BPF_ALU64 | op | unix.BPF_K, Dst: dst, Imm: imm, Text: fmt.Sprintf("%v %s= %d", dst, sign, imm)}
}

// Map is dst = the map with descriptor fd; it takes two instructions.
func Map(dst Register, fd int) []Instruction {
	return []Instruction{
		{Op: unix.BPF_LD | unix.BPF_IMM | unix.BPF_DW, Dst: dst, Src: unix.BPF_PSEUDO_MAP_FD, Imm: int32(fd), Text: fmt.Sprintf("%v = map %d", dst, fd)},
		{Text: "(its upper half)"},
	}
}

// Value is dst = the place of the one value of the array with descriptor fd, which no
// look is taken for; it takes two instructions.
func Value(dst Register, fd int) []Instruction {
	return []Instruction{
		{Op: unix.BPF_LD | unix.BPF_IMM | unix.BPF_DW, Dst: dst, Src: unix.BPF_PSEUDO_MAP_VALUE, Imm: int32(fd), Text: fmt.Sprintf("%v = value of map %d", dst, fd)},
		{Text: "(its upper half)"},
	}
}

// Call is R0 = helper(R1, ...).
func Call(h Helper) Instruction {
	return Instruction{Op: unix.BPF_JMP | unix.BPF_CALL, Imm: int32(h), Text: "call " + h.String()}
}

// JumpIfZero goes forward to a label if dst is 0.
func JumpIfZero(dst Register, to string) Instruction {
	return Instruction{Op: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Dst: dst, To: to, Text: fmt.Sprintf("if %v == 0 goto %s", dst, to)}
}

// Exit returns R0.
func Exit() Instruction {
	return Instruction{Op: unix.BPF_JMP | unix.BPF_EXIT, Text: "exit"}
}

// Here is a label of what follows, and no instruction.
func Here(label string) Instruction { return Instruction{Label: label, here: true} }

// Labelled gives an instruction a label.
func Labelled(label string, i Instruction) Instruction {
	i.Label = label
	return i
}

func (r Register) String() string {
	if r == FP {
		return "fp"
	}
	return fmt.Sprintf("r%d", byte(r))
}

// Assemble gives the program's bytes, jumps resolved.
func Assemble(program []Instruction) ([]byte, error) {
	at := map[string]int{}
	n := 0
	for _, i := range program {
		if i.Label != "" {
			at[i.Label] = n
		}
		if !i.here {
			n++
		}
	}
	code := make([]byte, 0, 8*n)
	for _, i := range program {
		if i.here {
			continue
		}
		n := len(code) / 8
		if i.To != "" {
			to, ok := at[i.To]
			if !ok || i.back != (to <= n) {
				return nil, fmt.Errorf("BPF program: no label %q where it should be: %w", i.To, unix.EINVAL)
			}
			i.Off = int16(to - n - 1)
		}
		code = i.encode(code)
	}
	return code, nil
}

// Text is the program for a reader, a line for each instruction.
func Text(program []Instruction) string {
	var b strings.Builder
	n := 0
	for _, i := range program {
		if i.Label != "" {
			fmt.Fprintf(&b, "%s:\n", i.Label)
		}
		if !i.here {
			fmt.Fprintf(&b, "%4d  %s\n", n, i.Text)
			n++
		}
	}
	return b.String()
}
