// Package btf reads the kernel's own description of its data (BPF Type Format, in
// /sys/kernel/btf/vmlinux): where in a struct a field is. It knows just that much.
//
// 2025-11: written by hand rather than taken from cilium/ebpf, because every start of
// vserver pays for what a package initialises that only vserverd uses: 0.2 ms of 1.4.
package btf

import (
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"syscall"
)

// Types is the description of a kernel's types.
type Types struct {
	types   []byte
	strings []byte
	at      []uint32 // where in types the type with each number begins; number 0 is void
}

// The kinds of types, in bits 24 to 28 of a type's info.
const (
	kindInt       = 1
	kindArray     = 3
	kindStruct    = 4
	kindUnion     = 5
	kindEnum      = 6
	kindConst     = 10
	kindFuncProto = 13
	kindVar       = 14
	kindDatasec   = 15
	kindDeclTag   = 17
	kindEnum64    = 19
	kindLast      = kindEnum64
)

// kindFlag, in the info of a struct, says that offsets carry the size of a bit field
// in their upper eight bits.
const kindFlag = 1 << 31

// The sizes of the header, of what all types begin with, and of a struct's field.
const (
	headerSize = 24
	typeSize   = 12
	fieldSize  = 12
)

// Kernel reads the types of the running kernel. The error is ENOENT when it carries
// none (CONFIG_DEBUG_INFO_BTF).
func Kernel() (*Types, error) {
	f, err := os.Open("/sys/kernel/btf/vmlinux")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	all := make([]byte, st.Size())
	if _, err := io.ReadFull(f, all); err != nil {
		return nil, err
	}
	return Parse(all)
}

// Parse reads a description in this machine's byte order. It keeps all.
func Parse(all []byte) (*Types, error) {
	if len(all) < headerSize || binary.NativeEndian.Uint16(all) != 0xeb9f || all[2] != 1 {
		return nil, fmt.Errorf("type information: not version 1: %w", syscall.EINVAL)
	}
	section := func(from uint32) ([]byte, bool) {
		at, size := uint64(word(all, from)), uint64(word(all, from+4))
		at += uint64(word(all, 4))
		return all[min(at, uint64(len(all))):min(at+size, uint64(len(all)))], at+size <= uint64(len(all))
	}
	types, ok1 := section(8)
	strings, ok2 := section(16)
	if !ok1 || !ok2 {
		return nil, fmt.Errorf("type information: cut short: %w", syscall.EINVAL)
	}
	t := &Types{types: types, strings: strings}
	return t, t.index()
}

// index notes where each type begins.
func (t *Types) index() error {
	t.at = append(make([]uint32, 0, len(t.types)/24), 0) // on average some 27 bytes a type
	for at := uint32(0); int(at) < len(t.types); {
		if len(t.types)-int(at) < typeSize {
			return fmt.Errorf("type %d: cut short: %w", len(t.at), syscall.EINVAL)
		}
		more, ok := tail(word(t.types, at+4))
		if !ok || uint64(at)+typeSize+more > uint64(len(t.types)) {
			return fmt.Errorf("type %d: %w", len(t.at), syscall.EINVAL)
		}
		t.at = append(t.at, at)
		at += typeSize + uint32(more)
	}
	return nil
}

// tail is how many bytes follow the beginning of a type.
func tail(info uint32) (size uint64, ok bool) {
	n := uint64(info & 0xffff)
	switch kind := info >> 24 & 0x1f; kind {
	case kindInt, kindVar, kindDeclTag:
		return 4, true
	case kindArray:
		return 12, true
	case kindStruct, kindUnion, kindDatasec, kindEnum64:
		return n * 12, true
	case kindEnum, kindFuncProto:
		return n * 8, true
	default:
		return 0, kind >= 1 && kind <= kindLast
	}
}

// Field gives the offset in bytes of a field in a struct, also when it is in an
// unnamed struct or union in it. The error is ENOENT when there is no such field.
func (t *Types) Field(in, name string) (offset int32, err error) {
	for number := range t.at {
		if number > 0 && t.isStruct(number, in) {
			if bits, ok := t.field(number, name, 0); ok && bits%8 == 0 {
				return int32(bits / 8), nil
			}
		}
	}
	return 0, fmt.Errorf("struct %s: field %s: %w", in, name, syscall.ENOENT)
}

// Size gives the size of a struct in bytes.
func (t *Types) Size(of string) (int32, error) {
	for number := range t.at {
		if number > 0 && t.isStruct(number, of) {
			return int32(word(t.types, t.at[number]+8)), nil
		}
	}
	return 0, fmt.Errorf("struct %s: %w", of, syscall.ENOENT)
}

// Func gives the number of the type of a function. The error is ENOENT when the kernel
// describes none of this name.
func (t *Types) Func(name string) (uint32, error) {
	const kindFunc = 12
	for number := range t.at {
		if at := t.at[number]; number > 0 && word(t.types, at+4)>>24&0x1f == kindFunc && t.is(word(t.types, at), name) {
			return uint32(number), nil
		}
	}
	return 0, fmt.Errorf("func %s: %w", name, syscall.ENOENT)
}

// Enumerator gives the value of a constant of one of the kernel's enums. The error is ENOENT
// when it has none of this name.
func (t *Types) Enumerator(name string) (int32, error) {
	for number := range t.at {
		at := t.at[number]
		info := word(t.types, at+4)
		if number == 0 || info>>24&0x1f != kindEnum {
			continue
		}
		for i := range info & 0xffff {
			if e := at + typeSize + 8*i; t.is(word(t.types, e), name) {
				return int32(word(t.types, e+4)), nil
			}
		}
	}
	return 0, fmt.Errorf("enumerator %s: %w", name, syscall.ENOENT)
}

func (t *Types) isStruct(number int, name string) bool {
	at := t.at[number]
	return word(t.types, at+4)>>24&0x1f == kindStruct && t.is(word(t.types, at), name)
}

// is tells whether the string at offset is name.
func (t *Types) is(offset uint32, name string) bool {
	if uint64(offset)+uint64(len(name)) >= uint64(len(t.strings)) {
		return false
	}
	s := t.strings[offset:]
	return string(s[:len(name)]) == name && s[len(name)] == 0
}

// maxDepth bounds structs in structs; the kernel nests a handful.
const maxDepth = 16

// field gives the offset in bits.
func (t *Types) field(number int, name string, depth int) (bits uint32, ok bool) {
	if number <= 0 || number >= len(t.at) || depth > maxDepth {
		return 0, false
	}
	at := t.at[number]
	info := word(t.types, at+4)
	switch info >> 24 & 0x1f {
	case kindStruct, kindUnion:
	case kindConst, kindConst - 1, kindConst + 1: // const, volatile, restrict
		return t.field(int(word(t.types, at+8)), name, depth+1)
	default:
		return 0, false
	}
	for i := range info & 0xffff {
		f := at + typeSize + i*fieldSize
		offset := word(t.types, f+8)
		if info&kindFlag != 0 {
			offset &= 0xffffff
		}
		if t.is(word(t.types, f), name) {
			return offset, true
		}
		if t.is(word(t.types, f), "") {
			if inner, ok := t.field(int(word(t.types, f+4)), name, depth+1); ok {
				return offset + inner, true
			}
		}
	}
	return 0, false
}

func word(b []byte, at uint32) uint32 { return binary.NativeEndian.Uint32(b[at:]) }
