package warm

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"vserver/guest"
	"vserver/kernel/early"
	"vserver/step"
)

var _ = ahead // begin calls it

// Able tells whether programs of this architecture ask.
const Able = true

// room is for what a stack without a guard does not hold.
type room struct {
	address unix.RawSockaddrUnix
	path    [len(unix.RawSockaddrUnix{}.Path)]byte
	caller  caller
	parts   [1 + maxWords]unix.Iovec
	message unix.Msghdr
	files   struct {
		unix.Cmsghdr
		fds [4]int32 // three
	}
	polled  [2]unix.PollFd
	patient unix.Timespec
	signal  [128]byte // signalfd(2)
	answer  [8]byte
	mask    uint64
	held    uint64
	came    uint32
}

var hall room //house:allow there is one beginning, and no heap

// ahead has the warm process do what the words say, and ends as it did. It comes back when it
// does not.
//
//go:nosplit
//go:norace
//go:nocheckptr
func ahead(stack unsafe.Pointer) {
	if !plain(stack) {
		return
	}
	r := &hall
	root, usual := environment(stack)
	if !usual {
		return
	}
	fd, e := early.Call(unix.SYS_SOCKET, unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0, 0, 0, 0)
	if e != 0 {
		return
	}
	if fd > 2 && r.connect(fd, root) { // else it is in the place of a standard file that is closed
		r.converse(fd, stack, root)
	}
	early.Call(unix.SYS_CLOSE, fd, 0, 0, 0, 0, 0)
}

// environment finds VSERVER_ROOT, "" when there is none. It is not usual when there is more that
// the program heeds.
//
//go:nosplit
//go:norace
//go:nocheckptr
func environment(stack unsafe.Pointer) (root unsafe.Pointer, usual bool) {
	root = early.Empty()
	for e := early.Environ(stack); early.Word(e, 0) != nil; e = unsafe.Add(e, early.WordSize) {
		text := early.Word(e, 0)
		if value := early.Behind(text, guest.RootVar+"="); value != nil {
			if early.Char(root, 0) != 0 {
				return root, false
			}
			root = value
			continue
		}
		if early.Behind(text, step.DieVar+"=") != nil || early.Behind(text, "VSERVERD_") != nil || early.Behind(text, "GODEBUG=") != nil || early.Behind(text, "GOMAXPROCS=") != nil ||
			early.Behind(text, "GOGC=") != nil || early.Behind(text, "NO_DEFAULT_OPTS=") != nil || early.Behind(text, "GOMEMLIMIT=") != nil || early.Behind(text, "GOTRACEBACK=") != nil {
			return root, false
		}
		if early.Is(text, "TERM=dumb") && screen() {
			return root, false
		}
	}
	return root, true
}

// screen tells whether standard error is a terminal, where TERM tells what is said.
//
//go:nosplit
//go:norace
//go:nocheckptr
func screen() bool {
	_, e := early.Call(unix.SYS_IOCTL, 2, unix.TCGETS, uintptr(unsafe.Pointer(&hall.signal)), 0, 0, 0)
	return e == 0
}

//go:nosplit
//go:norace
//go:nocheckptr
func (r *room) connect(fd uintptr, root unsafe.Pointer) bool {
	end := 0
	if early.Char(root, 0) != 0 {
		end = early.Put(r.path[:], early.Put(r.path[:], 0, "/", nil), "", root)
	}
	if end = early.Put(r.path[:], end, "/"+guest.RunPlace+"/"+socket, nil); end < 0 {
		return false
	}
	r.address.Family = unix.AF_UNIX
	for i := 0; i < end; i++ {
		r.address.Path[i] = int8(r.path[i])
	}
	length := unsafe.Offsetof(r.address.Path) + uintptr(end) + 1
	_, e := early.Call(unix.SYS_CONNECT, fd, uintptr(unsafe.Pointer(&r.address)), length, 0, 0, 0)
	return e == 0
}

// converse asks and waits. Signals that end a program are passed on meanwhile, since what was
// begun has to be undone.
//
//go:nosplit
//go:norace
//go:nocheckptr
func (r *room) converse(fd uintptr, stack, root unsafe.Pointer) {
	r.held = 1<<(unix.SIGHUP-1) | 1<<(unix.SIGINT-1) | 1<<(unix.SIGTERM-1)
	early.Call(unix.SYS_RT_SIGPROCMASK, unix.SIG_BLOCK, uintptr(unsafe.Pointer(&r.held)), uintptr(unsafe.Pointer(&r.mask)), early.WordSize, 0, 0)
	signals, e := early.Call(unix.SYS_SIGNALFD4, ^uintptr(0), uintptr(unsafe.Pointer(&r.held)), early.WordSize, unix.SFD_CLOEXEC, 0, 0)
	if e == 0 {
		if r.ask(fd, stack, root) {
			r.attend(fd, signals)
		}
		early.Call(unix.SYS_CLOSE, signals, 0, 0, 0, 0, 0)
	}
	if r.came != 0 { // nobody took it
		self, _ := early.Call(unix.SYS_GETPID, 0, 0, 0, 0, 0, 0)
		early.Call(unix.SYS_KILL, self, uintptr(r.came), 0, 0, 0, 0)
	}
	early.Call(unix.SYS_RT_SIGPROCMASK, unix.SIG_SETMASK, uintptr(unsafe.Pointer(&r.mask)), 0, early.WordSize, 0, 0)
}

// ask sends who we are and the words.
//
//go:nosplit
//go:norace
//go:nocheckptr
func (r *room) ask(fd uintptr, stack, root unsafe.Pointer) bool {
	r.caller.look()
	r.parts[0].Base, r.parts[0].Len = (*byte)(unsafe.Pointer(&r.caller)), uint64(unsafe.Sizeof(r.caller))
	count := *(*int)(stack)
	for i := 0; i <= count; i++ {
		text := root
		if i > 0 {
			text = early.Word(stack, i)
		}
		n := 1
		for early.Char(text, n-1) != 0 {
			n++
		}
		r.parts[1+i].Base, r.parts[1+i].Len = (*byte)(text), uint64(n)
	}
	r.message.Iov, r.message.Iovlen = &r.parts[0], uint64(2+count)
	_, e := early.Call(unix.SYS_SENDMSG, fd, uintptr(unsafe.Pointer(&r.message)), unix.MSG_NOSIGNAL, 0, 0, 0)
	return e == 0
}

// give sends the standard files, to who is at work for us: with one that sleeps they would be
// open for as long as it does.
//
//go:nosplit
//go:norace
//go:nocheckptr
func (r *room) give(fd uintptr) bool {
	r.files.Level, r.files.Type = unix.SOL_SOCKET, unix.SCM_RIGHTS
	r.files.fds[1], r.files.fds[2] = 1, 2
	r.files.Len = uint64(unsafe.Sizeof(r.files.Cmsghdr) + 3*unsafe.Sizeof(r.files.fds[0]))
	r.message.Iovlen = 1 // of any text
	r.message.Control, r.message.Controllen = (*byte)(unsafe.Pointer(&r.files)), uint64(unsafe.Sizeof(r.files))
	_, e := early.Call(unix.SYS_SENDMSG, fd, uintptr(unsafe.Pointer(&r.message)), unix.MSG_NOSIGNAL, 0, 0, 0)
	return e == 0
}

// attend waits for the end of the command and ends as it did. Who does not take the command in
// a second does not get it.
//
//go:nosplit
//go:norace
//go:nocheckptr
func (r *room) attend(fd, signals uintptr) {
	r.polled[0].Fd, r.polled[0].Events = int32(fd), unix.POLLIN
	r.polled[1].Fd, r.polled[1].Events = int32(signals), unix.POLLIN
	r.patient.Sec = 1
	patience := unsafe.Pointer(&r.patient)
	for {
		n, e := early.Call(unix.SYS_PPOLL, uintptr(unsafe.Pointer(&r.polled)), uintptr(len(r.polled)), uintptr(patience), 0, 0, 0)
		switch {
		case e == syscall.EINTR:
		case e != 0 || n == 0:
			return
		case r.polled[0].Revents != 0:
			n, e := early.Call(unix.SYS_RECVFROM, fd, uintptr(unsafe.Pointer(&r.answer)), unsafe.Sizeof(r.answer), 0, 0, 0)
			if e != 0 || n != 2 {
				return
			}
			if r.answer[0] == done {
				early.Call(unix.SYS_EXIT_GROUP, uintptr(r.answer[1]), 0, 0, 0, 0, 0)
			}
			if r.answer[0] != taken || patience == nil || !r.give(fd) {
				return
			}
			patience = nil
		default:
			second := r.came != 0
			early.Call(unix.SYS_READ, signals, uintptr(unsafe.Pointer(&r.signal)), unsafe.Sizeof(r.signal), 0, 0, 0)
			r.came = *(*uint32)(unsafe.Pointer(&r.signal))
			if second || patience != nil {
				return
			}
			early.Call(unix.SYS_SENDTO, fd, uintptr(unsafe.Pointer(&r.signal)), 1, unix.MSG_NOSIGNAL, 0, 0)
		}
	}
}
