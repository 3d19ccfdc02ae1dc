package fuse

import (
	"encoding/binary"
	"syscall"
	"time"
)

// Attr is what stat(2) says of a file of the tree.
type Attr struct {
	Node uint64
	Mode uint32 // type and permissions
	// Size is how much there is to read.
	Size uint64
	// Changed is when the content did, in nanoseconds. The kernel keeps what it has read
	// until it is told of another time or size.
	Changed int64
	UID     uint32 // owner and group
	// NameStays and Stays say that the name and the attributes never change. Else the
	// kernel asks for the name each time, and for the attributes whenever For has passed: it
	// does so before it opens and before it reads.
	NameStays, Stays bool
	For              time.Duration
}

// ever is how long the kernel remembers what stays, in seconds.
const ever = 1 << 31

// stays gives how long the name and the attributes are known, in seconds, and the rest in
// nanoseconds of both.
func (a Attr) stays() (name, attr uint64, nanos [2]uint32) {
	if a.NameStays {
		name = ever
	}
	if a.Stays {
		return name, ever, nanos
	}
	nanos[1] = uint32(a.For % time.Second)
	return name, uint64(a.For / time.Second), nanos
}

var enc = binary.NativeEndian

// attr appends struct fuse_attr.
func (a Attr) attr(b []byte) []byte {
	links := uint32(1)
	if a.Mode&syscall.S_IFMT == syscall.S_IFDIR {
		links = 2
	}
	seconds, nanos := uint64(a.Changed/1e9), uint32(a.Changed%1e9)
	for _, v := range []uint64{a.Node, a.Size, (a.Size + 511) / 512, seconds, seconds, seconds} {
		b = enc.AppendUint64(b, v)
	}
	for _, v := range []uint32{nanos, nanos, nanos, a.Mode, links, a.UID, a.UID, 0, 4096, 0} {
		b = enc.AppendUint32(b, v)
	}
	return b
}

// entry appends struct fuse_entry_out.
func (a Attr) entry(b []byte) []byte {
	name, attr, nanos := a.stays()
	for _, v := range []uint64{a.Node, 0, name, attr} {
		b = enc.AppendUint64(b, v)
	}
	b = enc.AppendUint32(enc.AppendUint32(b, nanos[0]), nanos[1])
	return a.attr(b)
}

// Entry answers Lookup.
func (a Attr) Entry() []byte { return a.entry(make([]byte, 0, 128)) }

// Attributes answers GetAttr.
func (a Attr) Attributes() []byte {
	_, attr, nanos := a.stays()
	b := enc.AppendUint64(make([]byte, 0, 104), attr)
	return a.attr(enc.AppendUint32(enc.AppendUint32(b, nanos[1]), 0))
}

// Stats answers StatFS: a file system without space, which df leaves out.
func Stats() []byte {
	b := make([]byte, 80) // struct fuse_kstatfs
	enc.PutUint32(b[40:], 4096)
	enc.PutUint32(b[44:], 255)
	return b
}

// The flags of struct fuse_init_out that we take, if the kernel has them.
const (
	initAutoInval      = 1 << 12 // pages go when the time of the change does
	initNoOpen         = 1 << 17
	initParallelDirops = 1 << 18
	initNoOpenDir      = 1 << 24
)

// The version of the protocol that we speak, and the largest write, which the size of
// the buffer allows and nobody makes.
const (
	major    = 7
	minor    = 36
	maxWrite = 4096
)

// InitAnswer answers Init. e is EPROTO for a kernel that speaks another protocol.
func InitAnswer(r Request) (data []byte, e syscall.Errno) {
	if len(r.Body) < 16 || enc.Uint32(r.Body) != major {
		return nil, syscall.EPROTO
	}
	b := make([]byte, 64) // struct fuse_init_out
	enc.PutUint32(b, major)
	enc.PutUint32(b[4:], min(minor, enc.Uint32(r.Body[4:])))
	enc.PutUint32(b[12:], enc.Uint32(r.Body[12:])&(initAutoInval|initNoOpen|initParallelDirops|initNoOpenDir))
	enc.PutUint16(b[16:], 64) // max_background
	enc.PutUint16(b[18:], 48)
	enc.PutUint32(b[20:], maxWrite)
	enc.PutUint32(b[24:], 1) // time_gran
	return b, 0
}

// Dirent is a file in a directory.
type Dirent struct {
	Name string
	Attr Attr
}

// Dir answers ReadDir: entries from number offset on, as many as fit into size bytes.
func Dir(list []Dirent, offset uint64, size int) []byte {
	var b []byte
	for i := offset; i < uint64(len(list)); i++ {
		d := list[i]
		before := len(b)
		b = enc.AppendUint64(b, d.Attr.Node)
		b = enc.AppendUint64(b, i+1)
		b = enc.AppendUint32(b, uint32(len(d.Name)))
		b = enc.AppendUint32(b, d.Attr.Mode>>12)
		b = append(b, d.Name...)
		for len(b)%8 != 0 {
			b = append(b, 0)
		}
		if len(b) > size {
			return b[:before]
		}
	}
	return b
}
