package ready

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// user is the stamp of one of the guest's databases.
//
//go:nosplit
//go:norace
//go:nocheckptr
func (r *room) user(root uintptr, path string) (s stamp, e syscall.Errno) {
	r.how = unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS}
	fd, e := call(unix.SYS_OPENAT2, root, uintptr(unsafe.Pointer(unsafe.StringData(path))), uintptr(unsafe.Pointer(&r.how)), unsafe.Sizeof(r.how), 0, 0)
	if e == syscall.ENOENT {
		return s, 0
	}
	if e == 0 {
		e = s.take(fd, empty(), unix.AT_EMPTY_PATH, &r.stat)
		call(unix.SYS_CLOSE, fd, 0, 0, 0, 0, 0)
	}
	return s, e
}

// take looks at a file.
//
//go:nosplit
//go:norace
//go:nocheckptr
func (s *stamp) take(dir uintptr, path unsafe.Pointer, flags int, stat *unix.Statx_t) syscall.Errno {
	_, e := call(unix.SYS_STATX, dir, uintptr(path), uintptr(flags), unix.STATX_BASIC_STATS, uintptr(unsafe.Pointer(stat)), 0)
	if e == 0 {
		*s = stamp{
			dev: uint64(stat.Dev_major)<<32 | uint64(stat.Dev_minor), ino: stat.Ino, size: stat.Size,
			ctime: stat.Ctime.Sec, ctimeNS: stat.Ctime.Nsec,
		}
	}
	return e
}

// same is written out: the comparison that the compiler makes of == may grow the stack.
//
//go:nosplit
//go:norace
//go:nocheckptr
func (s *stamp) same(as *stamp) bool {
	return s.dev == as.dev && s.ino == as.ino && s.size == as.size && s.ctime == as.ctime && s.ctimeNS == as.ctimeNS
}

// opened opens a file, and has it closed in the end.
//
//go:nosplit
//go:norace
//go:nocheckptr
func (r *room) opened(path unsafe.Pointer, flags uintptr) uintptr {
	fd, e := call(unix.SYS_OPENAT, fdcwd, uintptr(path), flags, 0, 0, 0)
	if e != 0 {
		return none
	}
	r.keep(fd)
	return fd
}

//go:nosplit
//go:norace
//go:nocheckptr
func (r *room) keep(fd uintptr) {
	if r.open < len(r.fds) {
		r.fds[r.open] = fd
		r.open++
	}
}

const (
	wordSize = unsafe.Sizeof(uintptr(0))
	none     = ^uintptr(0)
	fdcwd    = ^uintptr(99) // AT_FDCWD, -100
)

//go:nosplit
//go:norace
//go:nocheckptr
func call(nr, a, b, c, d, e, f uintptr) (uintptr, syscall.Errno) {
	n, _, errno := syscall.RawSyscall6(nr, a, b, c, d, e, f)
	return n, errno
}

// empty is the path of a descriptor itself.
//
//go:nosplit
//go:norace
//go:nocheckptr
func empty() unsafe.Pointer { return unsafe.Pointer(unsafe.StringData("\x00")) }

// word is the text that entry i of a list points to.
//
//go:nosplit
//go:norace
//go:nocheckptr
func word(list unsafe.Pointer, i int) unsafe.Pointer {
	return *(*unsafe.Pointer)(unsafe.Add(list, uintptr(i)*wordSize))
}

//go:nosplit
//go:norace
//go:nocheckptr
func char(text unsafe.Pointer, i int) byte { return *(*byte)(unsafe.Add(text, i)) }

// behind is what follows begin in a text; nil when it begins otherwise.
//
//go:nosplit
//go:norace
//go:nocheckptr
func behind(text unsafe.Pointer, begin string) unsafe.Pointer {
	for i := 0; i < len(begin); i++ {
		if char(text, i) != begin[i] {
			return nil
		}
	}
	return unsafe.Add(text, len(begin))
}

//go:nosplit
//go:norace
//go:nocheckptr
func is(text unsafe.Pointer, what string) bool {
	rest := behind(text, what)
	return rest != nil && char(rest, 0) == 0
}

// last is what stands behind the last slash of a path.
//
//go:nosplit
//go:norace
//go:nocheckptr
func last(path unsafe.Pointer) unsafe.Pointer {
	for p := path; char(p, 0) != 0; p = unsafe.Add(p, 1) {
		if char(p, 0) == '/' {
			path = unsafe.Add(p, 1)
		}
	}
	return path
}
