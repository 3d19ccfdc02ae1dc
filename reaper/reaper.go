package reaper

import (
	"bytes"
	"encoding/binary"
	"path"
	"runtime"
	"strings"

	"vserver/kernel/memfd"
)

// ReportEntry is the first word of what the reaper writes to its report, where
// spawn's own reports have the number of an entry.
const ReportEntry = 0xffffffff

// ReportFD is the number of the file that the report goes to.
const ReportFD = 3

// The modes.
const (
	Command = "command"
	Sysv    = "sysv"
)

// Name is argv[0] of the reaper and the name of its process.
const Name = "vserver-init"

// Open gives a file to execute: the reaper for this machine, in memory, sealed,
// close-on-exec.
func Open() (fd int, err error) { return memfd.Executable(Name, ELF()) }

// Args gives the arguments of the reaper for a mode and a command. A command without
// a slash is looked for, by the reaper, in the directories of search, which has the
// form of PATH.
func Args(mode, search string, command []string) []string {
	args := []string{Name, mode}
	if len(command) > 0 && !strings.Contains(command[0], "/") {
		for dir := range strings.SplitSeq(search, ":") {
			// An empty entry means the current directory to a shell. Not here: nobody
			// asks for that knowingly.
			if path.IsAbs(dir) {
				args = append(args, path.Join(dir, command[0]))
			}
		}
	}
	return append(append(args, "--"), command...)
}

// word gives a 32-bit word of the program's text.
func word(i int) uint32

// text gives the program, without the mark behind it.
func text() []byte {
	const mark = "vserver-text-end" // as the last line of program_*.s spells it
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

// ELF gives the reaper's file: a header, two segments and the text. It is position
// independent (ET_DYN without interpreter): the kernel then puts it near the stack,
// where it needs fewer page tables than at an address of its own.
func ELF() []byte {
	if runtime.GOARCH == "arm" {
		return elf32()
	}
	return elf64()
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

func elf64() []byte {
	const ehsize, phsize = 64, 56
	machine := uint16(emAMD64)
	if runtime.GOARCH == "arm64" {
		machine = emARM64
	}
	code := text()
	size := uint64(ehsize + 2*phsize + len(code))
	e := elf{[]byte("\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00")}
	e.add(uint16(etDyn), machine, uint32(1), uint64(ehsize+2*phsize), uint64(ehsize), uint64(0), uint32(0),
		uint16(ehsize), uint16(phsize), uint16(2), uint16(0), uint16(0), uint16(0))
	e.add(uint32(ptLoad), uint32(pfR|pfX), uint64(0), uint64(0), uint64(0), size, size, uint64(align))
	e.add(uint32(ptStack), uint32(pfR|pfW), uint64(0), uint64(0), uint64(0), uint64(0), uint64(0), uint64(16))
	return append(e.b, code...)
}

func elf32() []byte {
	const ehsize, phsize = 52, 32
	code := text()
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
