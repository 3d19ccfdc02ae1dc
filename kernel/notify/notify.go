// Package notify is the supervisor's end of system calls that a filter leaves to it
// (SECCOMP_RET_USER_NOTIF, seccomp_unotify(2)). The descriptor is called listener; it
// belongs to a filter, and so to all processes under that filter.
package notify

import (
	"encoding/binary"
	"fmt"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Size is the size of a request, struct seccomp_notif, in bytes.
const Size = 80

// Request is a call that waits for its answer.
type Request struct {
	ID   uint64 // among those of the listener
	PID  int    // the thread that calls, as the pid namespace of who took the request counts
	Nr   int    // number of the system call
	Args [6]uint64
}

// Parse reads a request as the kernel writes it. ok is false when b is too short or
// holds none.
func Parse(b []byte) (r Request, ok bool) {
	if len(b) < Size {
		return Request{}, false
	}
	r.ID = binary.NativeEndian.Uint64(b)
	r.PID = int(binary.NativeEndian.Uint32(b[8:]))
	r.Nr = int(binary.NativeEndian.Uint32(b[16:]))
	for i := range r.Args {
		r.Args[i] = binary.NativeEndian.Uint64(b[32+8*i:])
	}
	return r, r.ID != 0
}

// The requests of linux/seccomp.h, with the sizes of their structures.
const (
	recv  = 0xc0502100 // SECCOMP_IOCTL_NOTIF_RECV
	send  = 0xc0182101 // SECCOMP_IOCTL_NOTIF_SEND
	valid = 0x40082102 // SECCOMP_IOCTL_NOTIF_ID_VALID
)

// Take waits for a request and takes it: it is the caller's to answer, and nobody
// else gets it any more. The error is syscall.ENOENT when the calling process was
// killed meanwhile.
func Take(listener int) (Request, error) { return TakeInto(listener, make([]byte, Size)) }

// TakeInto is Take by a buffer of Size zeros, into which the kernel itself writes the
// request. In memory that outlives the process there is no moment in which a request was
// taken and nobody knows of it.
func TakeInto(listener int, b []byte) (Request, error) {
	if len(b) < Size {
		return Request{}, fmt.Errorf("take a system call: %w", syscall.EINVAL)
	}
	if err := ioctl(listener, recv, unsafe.Pointer(&b[0])); err != nil {
		return Request{}, fmt.Errorf("take a system call: %w", err)
	}
	r, _ := Parse(b)
	return r, nil
}

// Waits tells whether a request that was taken still waits for its answer.
func Waits(listener int, id uint64) bool {
	return ioctl(listener, valid, unsafe.Pointer(&id)) == nil
}

// Answer gives the call's result: value, or the error e when it is not 0. The error is
// syscall.ENOENT when nobody waits for it.
func Answer(listener int, id uint64, value int64, e syscall.Errno) error {
	return answer(listener, id, value, e, 0)
}

func answer(listener int, id uint64, value int64, e syscall.Errno, flags uint32) error {
	resp := struct {
		id    uint64
		value int64
		errno int32
		flags uint32
	}{id: id, value: value, errno: -int32(e), flags: flags}
	if err := ioctl(listener, send, unsafe.Pointer(&resp)); err != nil {
		return fmt.Errorf("answer a system call: %w", err)
	}
	return nil
}

// Asked tells, without waiting, whether there is a request to take.
func Asked(listener int) bool {
	p := []unix.PollFd{{Fd: int32(listener), Events: unix.POLLIN}}
	for {
		_, err := unix.Poll(p, 0)
		if err != unix.EINTR {
			return err == nil && p[0].Revents&unix.POLLIN != 0
		}
	}
}

// Over tells whether no process is left that is under the filter.
func Over(listener int) (bool, error) {
	p := []unix.PollFd{{Fd: int32(listener)}}
	for {
		_, err := unix.Poll(p, 0)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return false, fmt.Errorf("poll listener: %w", err)
		}
		return p[0].Revents&(unix.POLLHUP|unix.POLLERR) != 0, nil
	}
}

func ioctl(fd int, request uintptr, p unsafe.Pointer) error {
	for {
		_, _, e := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), request, uintptr(p))
		switch e {
		case unix.EINTR:
		case 0:
			return nil
		default:
			return e
		}
	}
}
