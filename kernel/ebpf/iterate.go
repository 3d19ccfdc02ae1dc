package ebpf

import (
	"context"
	"fmt"
	"os"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Iterate runs a program of an iterator's once over everything that it iterates, in
// the caller's network namespace.
func Iterate(program int) error {
	const traceIter, iterCreate = 28, 33 // BPF_TRACE_ITER, BPF_ITER_CREATE
	link, err := Link(0, program, traceIter)
	if err != nil {
		return err
	}
	defer unix.Close(link)
	attr := struct{ link, flags uint32 }{link: uint32(link)}
	fd, err := call("iterate", iterCreate, unsafe.Pointer(&attr), unsafe.Sizeof(attr))
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	for b := make([]byte, 4096); ; {
		n, err := unix.Read(fd, b)
		if err == unix.EINTR || err == unix.EAGAIN {
			continue
		}
		if n <= 0 || err != nil {
			return os.NewSyscallError("read iterator", err)
		}
	}
}

// Ring is a ring buffer whose records are of interest only for being there.
type Ring struct {
	fd                 int
	consumer, producer []byte
}

// OpenRing maps the ring buffer with this descriptor, which it keeps using.
func OpenRing(fd int) (*Ring, error) {
	page := os.Getpagesize()
	c, err := unix.Mmap(fd, 0, page, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("map ring buffer: %w", err)
	}
	p, err := unix.Mmap(fd, int64(page), page, unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		unix.Munmap(c)
		return nil, fmt.Errorf("map ring buffer: %w", err)
	}
	return &Ring{fd, c, p}, nil
}

// Close ends the mapping.
func (r *Ring) Close() error {
	if err := unix.Munmap(r.producer); err != nil {
		return err
	}
	return unix.Munmap(r.consumer)
}

// Wait waits until there are records, and drops them. The error is the context's when
// that ends first.
func (r *Ring) Wait(ctx context.Context) error {
	wake, err := unix.Eventfd(0, unix.EFD_CLOEXEC)
	if err != nil {
		return os.NewSyscallError("eventfd", err)
	}
	defer unix.Close(wake)
	woken := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		unix.Write(wake, []byte{1, 0, 0, 0, 0, 0, 0, 0})
		close(woken)
	})
	defer func() {
		if !stop() {
			<-woken // it uses the descriptor
		}
	}()
	for ctx.Err() == nil {
		fds := []unix.PollFd{{Fd: int32(r.fd), Events: unix.POLLIN}, {Fd: int32(wake), Events: unix.POLLIN}}
		if _, err := unix.Poll(fds, -1); err != nil && err != unix.EINTR {
			return os.NewSyscallError("poll", err)
		}
		if r.drain() {
			return nil
		}
	}
	return ctx.Err()
}

// drain gives back all that was written, and tells whether there was something.
func (r *Ring) drain() bool {
	written := atomic.LoadUint64((*uint64)(unsafe.Pointer(&r.producer[0])))
	read := (*uint64)(unsafe.Pointer(&r.consumer[0]))
	some := atomic.LoadUint64(read) != written
	atomic.StoreUint64(read, written)
	return some
}
