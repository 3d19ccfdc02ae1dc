package ready

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"vserver/kernel/early"
)

// user is the stamp of one of the guest's databases.
//
//go:nosplit
//go:norace
//go:nocheckptr
func (r *room) user(root uintptr, path string) (s stamp, e syscall.Errno) {
	r.how = unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS}
	fd, e := early.Call(unix.SYS_OPENAT2, root, uintptr(unsafe.Pointer(unsafe.StringData(path))), uintptr(unsafe.Pointer(&r.how)), unsafe.Sizeof(r.how), 0, 0)
	if e == syscall.ENOENT {
		return s, 0
	}
	if e == 0 {
		e = s.take(fd, early.Empty(), unix.AT_EMPTY_PATH, &r.stat)
		early.Call(unix.SYS_CLOSE, fd, 0, 0, 0, 0, 0)
	}
	return s, e
}

// take looks at a file.
//
//go:nosplit
//go:norace
//go:nocheckptr
func (s *stamp) take(dir uintptr, path unsafe.Pointer, flags int, stat *unix.Statx_t) syscall.Errno {
	_, e := early.Call(unix.SYS_STATX, dir, uintptr(path), uintptr(flags), unix.STATX_BASIC_STATS, uintptr(unsafe.Pointer(stat)), 0)
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
	fd, e := early.Call(unix.SYS_OPENAT, early.FDCWD, uintptr(path), flags, 0, 0, 0)
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

const none = ^uintptr(0)
