package ready

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"vserver/guest"
	"vserver/kernel/early"
	"vserver/kernel/relay"
	"vserver/spawn"
)

var _ = ahead // begin calls it

// room is for what a stack without a guard does not hold.
type room struct {
	path    [pathSize]byte
	stat    unix.Statx_t
	termios [64]byte
	how     unix.OpenHow
	events  [64]byte // of a group
	passed  [8]syscall.Signal
	were    [8]relay.Action // what was done at those
	usual   relay.Action
	child   relay.Action // what was done at SIGCHLD
	mask    uint64
	all     uint64 // signals
	report  [8]byte
	pipe    [2]int32
	status  int32
	fds     [8]uintptr // open ones
	open    int
}

var hall room //house:allow there is one beginning, and no heap

// ahead runs a command that is ready, and does not come back from that. stack is as the
// kernel left it: the number of words, the words, 0, the environment, 0.
//
//go:nosplit
//go:norace
//go:nocheckptr
func ahead(stack unsafe.Pointer) {
	r := &hall
	who, words := command(stack)
	if words == nil || !r.find(stack, who) {
		return
	}
	if h := r.load(); h != nil {
		if i := (*spawn.Image)(unsafe.Add(unsafe.Pointer(h), page)); r.stands(h) && r.plain() {
			r.run(h, i, words)
		}
		unload()
	}
	for r.open > 0 {
		r.open--
		early.Call(unix.SYS_CLOSE, r.fds[r.open], 0, 0, 0, 0, 0)
	}
}

// command finds the guest and the command's words in `vserver NAME exec [--] COMMAND...`, in
// either order; nil words when it is anything else.
//
//go:nosplit
//go:norace
//go:nocheckptr
func command(stack unsafe.Pointer) (who, words unsafe.Pointer) {
	count := *(*int)(stack)
	argv := unsafe.Add(stack, early.WordSize)
	if count < 4 || !early.Is(early.Last(early.Word(argv, 0)), "vserver") {
		return nil, nil
	}
	switch {
	case early.Is(early.Word(argv, 1), "exec"):
		who = early.Word(argv, 2)
	case early.Is(early.Word(argv, 2), "exec"):
		who = early.Word(argv, 1)
	default:
		return nil, nil
	}
	at := 3
	if early.Is(early.Word(argv, at), "--") {
		at++
	} else if early.Char(early.Word(argv, at), 0) == '-' {
		return nil, nil // an option
	}
	if at >= count {
		return nil, nil
	}
	return who, unsafe.Add(argv, uintptr(at)*early.WordSize)
}

// find writes the path of the guest's file.
//
//go:nosplit
//go:norace
//go:nocheckptr
func (r *room) find(stack, who unsafe.Pointer) bool {
	end := 0
	for e := early.Environ(stack); early.Word(e, 0) != nil; e = unsafe.Add(e, early.WordSize) {
		if root := early.Behind(early.Word(e, 0), guest.RootVar+"="); root != nil {
			end = early.Put(r.path[:], early.Put(r.path[:], 0, "/", nil), "", root)
			break
		}
	}
	end = early.Put(r.path[:], end, "/"+guest.RunPlace+"/"+guest.StatePlace+"/", nil)
	begin := end
	if end = early.Put(r.path[:], end, "", who); end < 0 || end == begin {
		return false
	}
	for i := 0; i < end && i < pathSize-1; i++ {
		// Only what stands as it is: no way up, no second directory in a name.
		if r.path[i] == '.' && (r.path[i+1] == '.' || i == begin) || r.path[i] == '/' && i >= begin {
			return false
		}
	}
	return early.Put(r.path[:], end, "/"+name, nil) > 0
}

// load maps the file where its image was made for, and the page for a pid behind it.
//
//go:nosplit
//go:norace
//go:nocheckptr
func (r *room) load() *header {
	fd := r.opened(unsafe.Pointer(&r.path), unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NOFOLLOW)
	var s stamp
	if fd == none || s.take(fd, early.Empty(), unix.AT_EMPTY_PATH, &r.stat) != 0 {
		return nil
	}
	if r.stat.Mode != unix.S_IFREG|0o600 || r.stat.Uid != 0 || s.size <= page || s.size > size {
		return nil
	}
	const access, private = unix.PROT_READ | unix.PROT_WRITE, unix.MAP_PRIVATE | unix.MAP_FIXED_NOREPLACE
	if p, e := early.Call(unix.SYS_MMAP, base, size, access, private, fd, 0); e != 0 || p != base {
		return nil
	}
	const shared = unix.MAP_SHARED | unix.MAP_ANONYMOUS | unix.MAP_FIXED_NOREPLACE
	p, e := early.Call(unix.SYS_MMAP, told, page, access, shared, none, 0)
	h := *(**header)(unsafe.Pointer(&[1]uintptr{base}))
	if e != 0 || p != told || h.format != format || h.size != s.size {
		unload()
		return nil
	}
	return h
}

// unload takes away what load mapped.
//
//go:nosplit
//go:norace
//go:nocheckptr
func unload() {
	early.Call(unix.SYS_MUNMAP, base, told+page-base, 0, 0, 0, 0)
}

// stands tells whether all that the image was made from is as it was.
//
//go:nosplit
//go:norace
//go:nocheckptr
func (r *room) stands(h *header) bool {
	var s stamp
	if s.take(early.FDCWD, unsafe.Pointer(unsafe.StringData(self)), 0, &r.stat) != 0 || !s.same(&h.program) {
		return false
	}
	if s.take(early.FDCWD, unsafe.Pointer(&h.paths[pathNote]), 0, &r.stat) != 0 || !s.same(&h.note) {
		return false
	}
	root := r.opened(unsafe.Pointer(&h.paths[pathRoot]), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC)
	if root == none {
		return false
	}
	for i, db := range databases() {
		if was, e := r.user(root, db); e != 0 || !was.same(&h.users[i]) {
			return false
		}
	}
	// Last: while this process is there, and after it was, all that was seen is its own.
	pidfd, e := early.Call(unix.SYS_PIDFD_OPEN, uintptr(h.init), 0, 0, 0, 0, 0)
	if e != 0 {
		return false
	}
	r.keep(pidfd)
	return s.take(pidfd, early.Empty(), unix.AT_EMPTY_PATH, &r.stat) == 0 && s.ino == h.unique
}
