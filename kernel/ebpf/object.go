package ebpf

import (
	"encoding/binary"
	"fmt"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Kind is a type of map, BPF_MAP_TYPE_* of linux/bpf.h.
type Kind uint32

// The kinds that are used.
const (
	Hash        Kind = unix.BPF_MAP_TYPE_HASH
	Array       Kind = unix.BPF_MAP_TYPE_ARRAY
	PerCPUHash  Kind = unix.BPF_MAP_TYPE_PERCPU_HASH
	PerCPUArray Kind = unix.BPF_MAP_TYPE_PERCPU_ARRAY
	SockHash    Kind = unix.BPF_MAP_TYPE_SOCKHASH
	SkStorage   Kind = unix.BPF_MAP_TYPE_SK_STORAGE
	RingBuffer  Kind = unix.BPF_MAP_TYPE_RINGBUF // Entries is its size in bytes
)

// MapSpec is a map to be made.
type MapSpec struct {
	Name       string
	Kind       Kind
	Key, Value int // sizes in bytes
	Entries    int // the most there can be; 0 for SkStorage
}

// NewMap makes a map. Entries of hashes and storage take memory only while they are
// there.
func NewMap(m MapSpec) (fd int, err error) {
	attr := struct {
		kind, key, value, entries, flags, inner, node uint32
		name                                          [maxName + 1]byte
		ifindex, types, keyType, valueType            uint32
	}{kind: uint32(m.Kind), key: uint32(m.Key), value: uint32(m.Value), entries: uint32(m.Entries), name: object(m.Name)}
	switch m.Kind {
	case Hash, PerCPUHash:
		attr.flags = unix.BPF_F_NO_PREALLOC
	case SkStorage: // wants its types described
		types, err := storageTypes(m.Value)
		if err != nil {
			return -1, err
		}
		defer unix.Close(types)
		attr.flags, attr.types, attr.keyType, attr.valueType = unix.BPF_F_NO_PREALLOC, uint32(types), 1, 3
	}
	return call("map "+m.Name, unix.BPF_MAP_CREATE, unsafe.Pointer(&attr), unsafe.Sizeof(attr))
}

// storageTypes describes an int (type 1), a byte (2) and an array of n bytes (3).
func storageTypes(n int) (fd int, err error) {
	const kindInt, kindArray = 1 << 24, 3 << 24
	types := []uint32{
		1, kindInt, 4, 1<<24 | 32, // signed, 32 bits
		5, kindInt, 1, 8,
		0, kindArray, 0, 2, 1, uint32(n),
	}
	names := []byte("\x00int\x00u8\x00")
	header := []uint32{0, 24, 0, uint32(4 * len(types)), uint32(4 * len(types)), uint32(len(names))}
	var b []byte
	for _, w := range append(header, types...) {
		b = binary.NativeEndian.AppendUint32(b, w)
	}
	binary.NativeEndian.PutUint16(b, 0xeb9f) // magic
	b[2] = 1                                 // version
	b = append(b, names...)
	attr := struct {
		types, log                  uint64
		size, logSize, logLevel, _x uint32
	}{types: address(b), size: uint32(len(b))}
	fd, err = call("types", unix.BPF_BTF_LOAD, unsafe.Pointer(&attr), unsafe.Sizeof(attr))
	runtime.KeepAlive(b)
	return fd, err
}

// Set sets the value of a key, whether it is there or not, at once.
func Set(fd int, key, value []byte) error {
	return access("set", unix.BPF_MAP_UPDATE_ELEM, fd, key, value, unix.BPF_ANY)
}

// Next reads the key after key into next; nil begins. The error is ENOENT at the end.
func Next(fd int, key, next []byte) error {
	return access("next", unix.BPF_MAP_GET_NEXT_KEY, fd, key, next, 0)
}

// Program is what the kernel tells of a loaded program.
type Program struct {
	ID   uint32
	Name string   // its first 15 bytes
	Maps []uint32 // ids of its maps, in the order of their first use
}

// Describe asks about the program with this descriptor.
func Describe(fd int) (Program, error) {
	const most = 16
	maps := make([]byte, 4*most)
	info := struct {
		kind, id                uint32
		tag                     [8]byte
		jited, xlated           uint32
		jitedInsns, xlatedInsns uint64
		loaded                  uint64
		uid, nrMaps             uint32
		maps                    uint64
		name                    [maxName + 1]byte
	}{nrMaps: most, maps: address(maps)}
	attr := struct {
		fd, size uint32
		info     uint64
	}{uint32(fd), uint32(unsafe.Sizeof(info)), fixed(uintptr(unsafe.Pointer(&info)))}
	_, err := call("describe program", unix.BPF_OBJ_GET_INFO_BY_FD, unsafe.Pointer(&attr), unsafe.Sizeof(attr))
	runtime.KeepAlive(&info)
	runtime.KeepAlive(maps)
	if err != nil {
		return Program{}, err
	}
	p := Program{ID: info.id, Name: unix.ByteSliceToString(info.name[:])}
	for i := range min(info.nrMaps, most) {
		p.Maps = append(p.Maps, binary.NativeEndian.Uint32(maps[4*i:]))
	}
	return p, nil
}

// OpenProgram opens the program with this id.
func OpenProgram(id uint32) (fd int, err error) {
	return byID("program", unix.BPF_PROG_GET_FD_BY_ID, id)
}

// OpenMap opens the map with this id.
func OpenMap(id uint32) (fd int, err error) { return byID("map", unix.BPF_MAP_GET_FD_BY_ID, id) }

func byID(what string, cmd uintptr, id uint32) (int, error) {
	attr := struct{ id, next, flags uint32 }{id: id}
	return call(fmt.Sprintf("open %s %d", what, id), cmd, unsafe.Pointer(&attr), unsafe.Sizeof(attr))
}

// IDOfMap gives the number by which OpenMap finds it.
func IDOfMap(fd int) (id uint32, err error) {
	info, err := describeMap(fd)
	return info.id, err
}

// DescribeMap gives a map's name, of which the kernel keeps 15 bytes, and the size of its
// values.
func DescribeMap(fd int) (name string, value int, err error) {
	info, err := describeMap(fd)
	return unix.ByteSliceToString(info.name[:]), int(info.value), err
}

type mapInfo struct {
	kind, id, key, value, entries, flags uint32
	name                                 [maxName + 1]byte
}

func describeMap(fd int) (info mapInfo, err error) {
	told := new(mapInfo)
	attr := struct {
		fd, size uint32
		info     uint64
	}{uint32(fd), uint32(unsafe.Sizeof(*told)), fixed(uintptr(unsafe.Pointer(told)))}
	_, err = call("describe map", unix.BPF_OBJ_GET_INFO_BY_FD, unsafe.Pointer(&attr), unsafe.Sizeof(attr))
	return *told, err
}
