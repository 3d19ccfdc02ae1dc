// Package fuse is the kernel's side of a file system that a program serves
// (linux/fuse.h, fuse(4)): its mount, its requests and the form of the answers, as far
// as a small tree of read-only files needs them.
//
// Written by hand rather than with hanwen/go-fuse (2026-11). That library is alive, BSD
// licensed and good, but its server begins with the kernel's first request and keeps in
// memory what the kernel was told: it cannot take over a connection that another
// process had, which is what a server must do that may be killed while guests read. What
// is left for us is this page of structures, at no cost to the start of the program.
package fuse

import (
	"encoding/binary"
	"fmt"
	"syscall"

	"golang.org/x/sys/unix"

	"vserver/kernel/mount"
)

// Root is the node of the tree's root.
const Root = 1

// Op says what a request wants.
type Op uint32

// The requests that a read-only tree answers; others get ENOSYS.
const (
	Lookup      Op = 1
	Forget      Op = 2
	GetAttr     Op = 3
	ReadLink    Op = 5
	Open        Op = 14
	Read        Op = 15
	StatFS      Op = 17
	Flush       Op = 25
	Init        Op = 26
	ReadDir     Op = 28
	Access      Op = 34
	Interrupt   Op = 36
	Destroy     Op = 38
	BatchForget Op = 42
)

// Silent tells whether nobody waits for an answer.
func (o Op) Silent() bool { return o == Forget || o == BatchForget || o == Interrupt }

// Buffer is how large the buffer must be that requests are read into, in bytes: the
// kernel's FUSE_MIN_READ_BUFFER.
const Buffer = 8192

// headerSize is the size of struct fuse_in_header.
const headerSize = 40

// Request is what the kernel asks. Body lies in the buffer that it was read into.
type Request struct {
	Op     Op
	Unique uint64 // number of the request; the answer carries it
	Node   uint64 // what it is about
	Body   []byte
}

// Parse reads a request; ok is false when b holds none.
func Parse(b []byte) (r Request, ok bool) {
	if len(b) < headerSize {
		return r, false
	}
	e := binary.NativeEndian
	size := e.Uint32(b)
	if size < headerSize || int(size) > len(b) {
		return r, false
	}
	r.Op, r.Unique, r.Node = Op(e.Uint32(b[4:])), e.Uint64(b[8:]), e.Uint64(b[16:])
	r.Body = b[headerSize:size]
	return r, true
}

// Name is the name that Lookup asks for.
func (r Request) Name() string {
	for i, c := range r.Body {
		if c == 0 {
			return string(r.Body[:i])
		}
	}
	return string(r.Body)
}

// Span is which bytes Read and ReadDir want. ok is false for a request that is too short.
func (r Request) Span() (offset uint64, size int, ok bool) {
	if len(r.Body) < 20 {
		return 0, 0, false
	}
	e := binary.NativeEndian
	return e.Uint64(r.Body[8:]), int(e.Uint32(r.Body[16:])), true
}

// OpenDevice opens a connection that is not mounted yet. Its descriptor does not block.
func OpenDevice() (fd int, err error) {
	const path = "/dev/fuse"
	fd, err = unix.Open(path, unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return -1, fmt.Errorf("open %s: %w", path, err)
	}
	return fd, nil
}

// Mount makes a detached mount of what is served at the connection, read-only, for all
// users of this user namespace and of those below it.
func Mount(dev int) (fd int, err error) {
	return mount.New("fuse", mount.ReadOnly|mount.NoSuid|mount.NoDev|mount.NoExec,
		fmt.Sprintf("fd=%d", dev), "rootmode=40000", "user_id=0", "group_id=0", "allow_other", "default_permissions")
}

// Take reads the next request into buf, which has room for Buffer bytes. The error is
// EAGAIN when none waits, ENODEV when the file system is gone.
func Take(dev int, buf []byte) (n int, err error) {
	for {
		n, err = unix.Read(dev, buf)
		switch err {
		case unix.EINTR, unix.ENOENT: // ENOENT: who asked was killed meanwhile
		case nil:
			return n, nil
		default:
			return 0, fmt.Errorf("read request: %w", err)
		}
	}
}

// Wait waits until a request is there or the file system is gone, and gives true; false
// when the pipe stop was closed at its other end. stop -1 is none.
func Wait(dev, stop int) (bool, error) {
	p := []unix.PollFd{{Fd: int32(dev), Events: unix.POLLIN}, {Fd: int32(stop)}}
	for {
		if _, err := unix.Poll(p, -1); err != unix.EINTR {
			return p[1].Revents == 0, err
		}
	}
}

// headSize is the size of struct fuse_out_header.
const headSize = 16

// Answer answers a request: with data, or with the error e when it is not 0. The error
// is ENOENT when nobody waits for it.
func Answer(dev int, unique uint64, e syscall.Errno, data []byte) error {
	if e != 0 {
		data = nil
	}
	var room [2 << 10]byte                                                      // most answers are small, and cost less in one piece on the stack
	b := binary.NativeEndian.AppendUint32(room[:0], uint32(headSize+len(data))) // struct fuse_out_header
	b = binary.NativeEndian.AppendUint32(b, uint32(-int32(e)))
	b = binary.NativeEndian.AppendUint64(b, unique)
	b = append(b, data...)
	for {
		_, err := unix.Write(dev, b)
		switch err {
		case unix.EINTR:
		case nil:
			return nil
		default:
			return fmt.Errorf("answer request: %w", err)
		}
	}
}
