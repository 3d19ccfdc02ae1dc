package cgroup

import (
	"bytes"

	"golang.org/x/sys/unix"
)

// File is one of a group's files, held open: who reads it again and again saves the
// opening, which costs more than the reading. It outlives its Group.
type File struct {
	fd   int
	name string
	of   Group
}

// File opens one of the group's files for reading.
func (g *Group) File(name string) (*File, error) {
	fd, err := openat(g.fd, name, unix.O_RDONLY|unix.O_NOFOLLOW)
	if err != nil {
		return nil, g.fail("open", name, err)
	}
	return &File{fd, name, Group{path: g.path}}, nil
}

// Close gives the descriptor back.
func (f *File) Close() error { return unix.Close(f.fd) }

// Read gives what the file says now, without the newline at its end. It lies in buf when
// that has room for it. The error is unix.ENODEV when the group was removed.
func (f *File) Read(buf []byte) ([]byte, error) {
	text, err := readAll(f.fd, buf[:0])
	if err != nil {
		return nil, f.of.fail("read", f.name, err)
	}
	return bytes.TrimRight(text, "\n"), nil
}
