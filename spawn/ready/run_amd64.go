package ready

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"vserver/kernel/early"
	"vserver/kernel/relay"
	"vserver/spawn"
)

// plain tells whether the standard files can be handed in as they are: there, and no
// terminals of the host's.
//
//go:nosplit
//go:norace
//go:nocheckptr
func (r *room) plain() bool {
	for fd := uintptr(0); fd < 3; fd++ {
		_, e := early.Call(unix.SYS_IOCTL, fd, unix.TCGETS, uintptr(unsafe.Pointer(&r.termios)), 0, 0, 0)
		if e == 0 || e == syscall.EBADF {
			return false
		}
	}
	return true
}

// run follows the image, and ends as its command did; it comes back when that was not
// executed.
//
//go:nosplit
//go:norace
//go:nocheckptr
func (r *room) run(h *header, i *spawn.Image, words unsafe.Pointer) {
	i.Give(0, r.fds[r.open-1]) // the init's, opened last
	group := r.opened(unsafe.Pointer(&h.paths[pathGroup]), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC)
	if group == none || !r.thawed(group) || !i.Name(words) || !r.connect(h, i) {
		return
	}
	if _, e := early.Call(unix.SYS_PIPE2, uintptr(unsafe.Pointer(&r.pipe)), unix.O_CLOEXEC, 0, 0, 0, 0); e != 0 {
		return
	}
	r.keep(uintptr(r.pipe[0]))
	// How a child ended is not told to who ignores that it did, as our caller may have us do.
	early.Call(unix.SYS_RT_SIGACTION, uintptr(unix.SIGCHLD), uintptr(unsafe.Pointer(&r.usual)), uintptr(unsafe.Pointer(&r.child)), early.WordSize, 0, 0)
	r.passed = Passed()
	if relay.Hold(r.passed[:], r.were[:]) == 0 {
		r.all = ^uint64(0)
		early.Call(unix.SYS_RT_SIGPROCMASK, unix.SIG_SETMASK, uintptr(unsafe.Pointer(&r.all)), uintptr(unsafe.Pointer(&r.mask)), early.WordSize, 0, 0)
		first, e := i.Launch(int(group), int(r.pipe[1]))
		early.Call(unix.SYS_RT_SIGPROCMASK, unix.SIG_SETMASK, uintptr(unsafe.Pointer(&r.mask)), 0, early.WordSize, 0, 0)
		early.Call(unix.SYS_CLOSE, uintptr(r.pipe[1]), 0, 0, 0, 0, 0)
		if e == 0 {
			r.attend(uintptr(first))
		}
		r.again(relay.Let(r.passed[:], r.were[:]))
	} else {
		early.Call(unix.SYS_CLOSE, uintptr(r.pipe[1]), 0, 0, 0, 0, 0)
	}
	early.Call(unix.SYS_RT_SIGACTION, uintptr(unix.SIGCHLD), uintptr(unsafe.Pointer(&r.child)), 0, early.WordSize, 0, 0)
}

// thawed tells whether a command that is born in this group goes on from there.
//
//go:nosplit
//go:norace
//go:nocheckptr
func (r *room) thawed(group uintptr) bool {
	const file, word = "cgroup.events\x00", "frozen 0\n"
	fd, e := early.Call(unix.SYS_OPENAT, group, uintptr(unsafe.Pointer(unsafe.StringData(file))), unix.O_RDONLY|unix.O_CLOEXEC, 0, 0, 0)
	if e != 0 {
		return false
	}
	n, e := early.Call(unix.SYS_READ, fd, uintptr(unsafe.Pointer(&r.events)), uintptr(len(r.events)), 0, 0, 0)
	early.Call(unix.SYS_CLOSE, fd, 0, 0, 0, 0, 0)
	if e != 0 {
		return false
	}
	for at := 0; at+len(word) <= int(n); at++ {
		i := 0
		for i < len(word) && r.events[at+i] == word[i] {
			i++
		}
		if i == len(word) {
			return true
		}
	}
	return false
}

// connect connects to the server of the command's filter, if that has one.
//
//go:nosplit
//go:norace
//go:nocheckptr
func (r *room) connect(h *header, i *spawn.Image) bool {
	if h.length == 0 {
		return true
	}
	fd, e := early.Call(unix.SYS_SOCKET, unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0, 0, 0, 0)
	if e != 0 {
		return false
	}
	r.keep(fd)
	for option := uintptr(unix.SO_RCVTIMEO); option <= unix.SO_SNDTIMEO; option++ {
		early.Call(unix.SYS_SETSOCKOPT, fd, unix.SOL_SOCKET, option, uintptr(unsafe.Pointer(&h.patience)), unsafe.Sizeof(h.patience), 0)
	}
	i.Gate(fd)
	_, e = early.Call(unix.SYS_CONNECT, fd, uintptr(unsafe.Pointer(&h.server)), uintptr(h.length), 0, 0, 0)
	return e == 0
}

// attend waits for the command and ends as it did, unless it was not executed.
//
//go:nosplit
//go:norace
//go:nocheckptr
func (r *room) attend(first uintptr) {
	n, e := uintptr(0), syscall.EINTR
	for e == syscall.EINTR {
		n, e = early.Call(unix.SYS_READ, uintptr(r.pipe[0]), uintptr(unsafe.Pointer(&r.report)), unsafe.Sizeof(r.report), 0, 0, 0)
	}
	r.wait(first)
	second := uintptr(**(**int32)(unsafe.Pointer(&[1]uintptr{told})))
	if second == 0 {
		return
	}
	if n != 0 || e != 0 { // it says why; whoever comes next will see for himself
		r.wait(second)
		return
	}
	if fd, e := early.Call(unix.SYS_PIDFD_OPEN, second, 0, 0, 0, 0, 0); e == 0 {
		relay.Pass(r.passed[:], int(fd))
	}
	r.status = 1 << 8 // should nobody say how it ended
	r.wait(second)
	code := uintptr(r.status>>8) & 0xff
	if signal := uintptr(r.status) & 0x7f; signal != 0 {
		code = 128 + signal
	}
	for {
		early.Call(unix.SYS_EXIT_GROUP, code, 0, 0, 0, 0, 0)
	}
}

// wait waits for the end of a child.
//
//go:nosplit
//go:norace
//go:nocheckptr
func (r *room) wait(pid uintptr) {
	for {
		_, e := early.Call(unix.SYS_WAIT4, pid, uintptr(unsafe.Pointer(&r.status)), unix.WALL, 0, 0, 0)
		if e != syscall.EINTR {
			return
		}
	}
}

// again sends this process the signals that came and were passed on to nobody.
//
//go:nosplit
//go:norace
//go:nocheckptr
func (r *room) again(came uint32) {
	self, _ := early.Call(unix.SYS_GETPID, 0, 0, 0, 0, 0, 0)
	for s := uintptr(1); came>>(s-1) != 0; s++ {
		if came&(1<<(s-1)) != 0 {
			early.Call(unix.SYS_KILL, self, s, 0, 0, 0, 0)
		}
	}
}
