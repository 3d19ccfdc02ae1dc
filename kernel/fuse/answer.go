package fuse

import (
	"encoding/binary"
	"syscall"
)

// Attr is what stat(2) says of a file of the tree. All times are 0.
type Attr struct {
	Node uint64
	Mode uint32 // type and permissions
	// Size is what stat(2) says. read(2) does not care for it; sendfile(2) gives no more.
	Size uint64
	UID  uint32 // owner and group
	// NameStays and Stays say that the name and the attributes never change; else the
	// kernel asks each time. It asks for the attributes of a file when that is opened.
	NameStays, Stays bool
}

// ever is how long the kernel remembers what stays, in seconds.
const ever = 1 << 31

func valid(stays bool) uint64 {
	if stays {
		return ever
	}
	return 0
}

var enc = binary.NativeEndian

// attr appends struct fuse_attr.
func (a Attr) attr(b []byte) []byte {
	links := uint32(1)
	if a.Mode&syscall.S_IFMT == syscall.S_IFDIR {
		links = 2
	}
	for _, v := range []uint64{a.Node, a.Size, (a.Size + 511) / 512, 0, 0, 0} {
		b = enc.AppendUint64(b, v)
	}
	for _, v := range []uint32{0, 0, 0, a.Mode, links, a.UID, a.UID, 0, 4096, 0} {
		b = enc.AppendUint32(b, v)
	}
	return b
}

// entry appends struct fuse_entry_out.
func (a Attr) entry(b []byte) []byte {
	for _, v := range []uint64{a.Node, 0, valid(a.NameStays), valid(a.Stays), 0} {
		b = enc.AppendUint64(b, v)
	}
	return a.attr(b)
}

// Entry answers Lookup.
func (a Attr) Entry() []byte { return a.entry(nil) }

// Attributes answers GetAttr.
func (a Attr) Attributes() []byte {
	b := enc.AppendUint64(nil, valid(a.Stays))
	return a.attr(enc.AppendUint64(b, 0))
}

// Opened answers Open: what is read is asked for each time, and no close is waited for.
func Opened(handle uint64) []byte {
	const directIO, noFlush = 1 << 0, 1 << 5 // FOPEN_
	b := enc.AppendUint64(nil, handle)
	return enc.AppendUint64(b, directIO|noFlush)
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
	initParallelDirops = 1 << 18
	initReadDirPlus    = 1 << 13
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
	enc.PutUint32(b[12:], enc.Uint32(r.Body[12:])&(initParallelDirops|initReadDirPlus|initNoOpenDir))
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

// Dir answers ReadDir, and ReadDirPlus with plus: entries from number offset on, as many
// as fit into size bytes.
func Dir(list []Dirent, offset uint64, size int, plus bool) []byte {
	var b []byte
	for i := offset; i < uint64(len(list)); i++ {
		d := list[i]
		before := len(b)
		if plus {
			b = d.Attr.entry(b)
		}
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
