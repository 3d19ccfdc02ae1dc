package memfd

import (
	"bytes"
	"encoding/binary"
	"runtime"
)

// Text gives the text of a program in the Go assembler's language that stands in our
// binary and never runs there: word gives its 32-bit words, and the 16 bytes
// "vserver-text-end" stand behind it.
func Text(word func(int) uint32) []byte {
	const mark = "vserver-text-end"
	var b []byte
	for i := 0; !bytes.HasSuffix(b, []byte(mark)); i++ {
		// Byte by byte: on amd64 the mark stands at any address.
		w := binary.LittleEndian.AppendUint32(nil, word(i))
		for _, c := range w {
			b = append(b, c)
			if bytes.HasSuffix(b, []byte(mark)) {
				break
			}
		}
	}
	return bytes.TrimSuffix(b, []byte(mark))
}

// ELF gives a file to execute for this machine: a header, two segments and the text,
// which must not depend on where it is. The file is ET_DYN without interpreter.
func ELF(text []byte) []byte {
	if runtime.GOARCH == "arm" {
		return elf32(text)
	}
	return elf64(text)
}

// Values of elf.h.
const (
	etDyn    = 3
	ptLoad   = 1
	ptStack  = 0x6474e551 // PT_GNU_STACK; its flags are those of the stack
	pfX      = 1
	pfW      = 2
	pfR      = 4
	emARM    = 40
	emAMD64  = 62
	emARM64  = 183
	armEABI5 = 0x05000000
	// align is the largest page size of our machines: 64 KiB on some arm64.
	align = 0x10000
)

func elf64(code []byte) []byte {
	const ehsize, phsize = 64, 56
	machine := uint16(emAMD64)
	if runtime.GOARCH == "arm64" {
		machine = emARM64
	}
	size := uint64(ehsize + 2*phsize + len(code))
	e := elf{[]byte("\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00")}
	e.add(uint16(etDyn), machine, uint32(1), uint64(ehsize+2*phsize), uint64(ehsize), uint64(0), uint32(0),
		uint16(ehsize), uint16(phsize), uint16(2), uint16(0), uint16(0), uint16(0))
	e.add(uint32(ptLoad), uint32(pfR|pfX), uint64(0), uint64(0), uint64(0), size, size, uint64(align))
	e.add(uint32(ptStack), uint32(pfR|pfW), uint64(0), uint64(0), uint64(0), uint64(0), uint64(0), uint64(16))
	return append(e.b, code...)
}

func elf32(code []byte) []byte {
	const ehsize, phsize = 52, 32
	size := uint32(ehsize + 2*phsize + len(code))
	e := elf{[]byte("\x7fELF\x01\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00")}
	e.add(uint16(etDyn), uint16(emARM), uint32(1), uint32(ehsize+2*phsize), uint32(ehsize), uint32(0), uint32(armEABI5),
		uint16(ehsize), uint16(phsize), uint16(2), uint16(0), uint16(0), uint16(0))
	e.add(uint32(ptLoad), uint32(0), uint32(0), uint32(0), size, size, uint32(pfR|pfX), uint32(align))
	e.add(uint32(ptStack), uint32(0), uint32(0), uint32(0), uint32(0), uint32(0), uint32(pfR|pfW), uint32(16))
	return append(e.b, code...)
}

// elf is a file being written.
type elf struct{ b []byte }

func (e *elf) add(fields ...any) {
	for _, f := range fields {
		switch f := f.(type) {
		case uint16:
			e.b = binary.LittleEndian.AppendUint16(e.b, f)
		case uint32:
			e.b = binary.LittleEndian.AppendUint32(e.b, f)
		case uint64:
			e.b = binary.LittleEndian.AppendUint64(e.b, f)
		}
	}
}
