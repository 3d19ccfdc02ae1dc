// Package ebpf is the bpf(2) system call, as far as our programs need it: words to write
// them in, maps, loading, places to attach them.
//
// 2026-11: written by hand, also the assembler. Importing cilium/ebpf/asm alone, without
// the rest of that library, made every start of a small program 0.12 ms longer (the
// least of 300 starts; the median 0.24 ms) and 1 MB larger, for what its packages
// initialise.
package ebpf

import (
	"encoding/binary"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// maxName is the longest name of a map or program, BPF_OBJ_NAME_LEN with its 0.
const maxName = 15

// element is what the map commands take.
type element struct {
	fd, _      uint32
	key, value uint64
	flags      uint64
}

// Insert sets the value of a key that is not there. The error is EEXIST when it is.
func Insert(fd int, key, value []byte) error {
	return access("insert", unix.BPF_MAP_UPDATE_ELEM, fd, key, value, unix.BPF_NOEXIST)
}

// Get reads the value of a key into value, which has the map's size of values. The
// error is ENOENT when there is none.
func Get(fd int, key, value []byte) error {
	return access("get", unix.BPF_MAP_LOOKUP_ELEM, fd, key, value, 0)
}

// Delete takes a key out. The error is ENOENT when it was not there.
func Delete(fd int, key []byte) error {
	return access("delete", unix.BPF_MAP_DELETE_ELEM, fd, key, nil, 0)
}

// memoryTries is how often what finds no memory is tried, some milliseconds apart. Maps
// take theirs, of each processor's above all, from what is at hand, and the kernel
// brings more a moment after that has been used up.
const memoryTries = 200

func access(op string, cmd uintptr, fd int, key, value []byte, flags uint64) error {
	e := element{fd: uint32(fd), key: address(key), value: address(value), flags: flags}
	_, err := call("map: "+op, cmd, unsafe.Pointer(&e), unsafe.Sizeof(e))
	for i := 1; i < memoryTries && errors.Is(err, unix.ENOMEM); i++ {
		time.Sleep(5 * time.Millisecond)
		_, err = call("map: "+op, cmd, unsafe.Pointer(&e), unsafe.Sizeof(e))
	}
	runtime.KeepAlive(key)
	runtime.KeepAlive(value)
	return err
}

// Hook is a place for programs: what a program for it is loaded as, by the numbers of
// linux/bpf.h.
type Hook struct {
	Type   uint32 // BPF_PROG_TYPE_*
	Attach uint32 // BPF_CGROUP_*, BPF_SK_LOOKUP; 0 for those that have none
	Target uint32 // of a function in BTF: an iterator's, or the one to be watched
}

// LoadRawTracepoint loads a program for a raw tracepoint, as LoadProgram does.
func LoadRawTracepoint(name string, program []Instruction) (fd int, err error) {
	return LoadProgram(Hook{Type: unix.BPF_PROG_TYPE_RAW_TRACEPOINT}, name, program)
}

// LoadProgram loads a program for a hook. When the kernel refuses it, the error carries the
// end of what its verifier says.
func LoadProgram(h Hook, name string, program []Instruction) (fd int, err error) {
	code, err := Assemble(program)
	if err != nil {
		return -1, err
	}
	license := []byte("GPL\x00") // for bpf_probe_read_kernel and others
	attr := struct {
		kind, count       uint32
		code, license     uint64
		logLevel, logSize uint32
		log               uint64
		version, flags    uint32
		name              [maxName + 1]byte
		ifindex, attach   uint32
		_                 [9]uint32 // what describes the program's own types
		target            uint32
	}{kind: h.Type, attach: h.Attach, target: h.Target, count: uint32(len(code) / 8),
		code: address(code), license: address(license), name: object(name)}
	what := "program " + name
	fd, err = call(what, unix.BPF_PROG_LOAD, unsafe.Pointer(&attr), unsafe.Sizeof(attr))
	if err != nil {
		log := make([]byte, 1<<20)
		attr.logLevel, attr.logSize, attr.log = 1, uint32(len(log)), address(log)
		if fd, err = call(what, unix.BPF_PROG_LOAD, unsafe.Pointer(&attr), unsafe.Sizeof(attr)); err != nil {
			if said := lastLines(log, 12); said != "" {
				err = fmt.Errorf("%w (%s)", err, said)
			}
		}
		runtime.KeepAlive(log)
	}
	runtime.KeepAlive(code)
	runtime.KeepAlive(license)
	return fd, err
}

// AttachRawTracepoint has a program called at a tracepoint, for as long as anybody
// holds the descriptor.
func AttachRawTracepoint(tracepoint string, program int) (fd int, err error) {
	name := append([]byte(tracepoint), 0)
	attr := struct {
		name       uint64
		program, _ uint32
	}{name: address(name), program: uint32(program)}
	fd, err = call("tracepoint "+tracepoint, unix.BPF_RAW_TRACEPOINT_OPEN, unsafe.Pointer(&attr), unsafe.Sizeof(attr))
	runtime.KeepAlive(name)
	return fd, err
}

// call makes the system call; the kernel gives close-on-exec descriptors.
func call(what string, cmd uintptr, attr unsafe.Pointer, size uintptr) (int, error) {
	for {
		n, _, e := unix.Syscall(unix.SYS_BPF, cmd, uintptr(attr), size)
		switch e {
		case 0:
			return int(n), nil
		case unix.EINTR, unix.EAGAIN: // EAGAIN: a signal came while it was verified
		default:
			return -1, fmt.Errorf("BPF %s: %w", what, e)
		}
	}
}

// address gives the address of b for the kernel. The caller keeps b alive.
func address(b []byte) uint64 { return fixed(uintptr(unsafe.Pointer(unsafe.SliceData(b)))) }

// fixed is for an address that stands in another structure as a number: what it is of is
// made on the heap by the directive. On a stack it would move when that grows, which the
// number would not know.
//
//go:uintptrescapes
func fixed(p uintptr) uint64 { return uint64(p) }

func object(name string) (n [maxName + 1]byte) {
	copy(n[:maxName], name)
	return n
}

func lastLines(log []byte, n int) string {
	text, _, _ := strings.Cut(string(log), "\x00")
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "; ")
}

// encode writes an instruction as struct bpf_insn.
func (i Instruction) encode(b []byte) []byte {
	regs := byte(i.Dst) | byte(i.Src)<<4
	if binary.NativeEndian.Uint16([]byte{1, 0}) != 1 { // big endian: the bit fields are swapped
		regs = byte(i.Src) | byte(i.Dst)<<4
	}
	b = append(b, i.Op, regs)
	b = binary.NativeEndian.AppendUint16(b, uint16(i.Off))
	return binary.NativeEndian.AppendUint32(b, uint32(i.Imm))
}
