package ready

import (
	"fmt"
	"io"
	"math"
	"os"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"vserver/kernel/file"
	"vserver/spawn"
)

const (
	page = 4096
	// base is where the file is mapped: far from what the kernel and the runtime choose.
	base = 0x1000_0000_0000
	// told is where the table's fork leaves a pid.
	told = base + page + spawn.BlockSize
	size = page + spawn.BlockSize

	format = 0x76735f7265616479 // changes with the header
)

// header is the file's first page; the image is on those that follow.
type header struct {
	format  uint64
	size    uint64
	program stamp
	note    stamp
	users   [2]stamp
	init    int
	unique  uint64 // of the init in pidfs
	paths   [paths][pathSize]byte
	// The server that the process hands the listener of its filter to; length 0 for none.
	server   unix.RawSockaddrUnix
	length   uint32
	patience unix.Timeval // with it
}

// The paths of a header, each with a 0 behind it.
const (
	pathNote  = iota
	pathRoot  // of the init
	pathGroup // of the control group that a command is born in
	paths

	pathSize = 512
)

// stamp tells a file from what it was. That of a file that is not there is zero.
type stamp struct {
	dev, ino, size uint64
	ctime          int64
	ctimeNS        uint32
}

// databases are where a guest has its users.
func databases() [2]string { return [2]string{"etc/passwd\x00", "etc/group\x00"} }

// keep is Keep.
func keep(s Source) error {
	h := header{format: format, init: s.Init}
	ok, err := h.look(s)
	if !ok || err != nil || h.kept(s) {
		return err
	}
	mem, err := mapped()
	if err != nil {
		return fmt.Errorf("memory for what is ready: %w", err)
	}
	defer unmap(mem)
	t := &spawn.Table{}
	t.Fix(mem[page:])
	if err := s.Table(t); err != nil {
		return err
	}
	if t.Served() && !h.connects(s) {
		return nil
	}
	used, err := t.Image(told)
	if err != nil {
		return err
	}
	h.size = uint64(page + used)
	*(*header)(unsafe.Pointer(&mem[0])) = h
	return file.Replace(Path(s.State), mem[:h.size], 0o600)
}

// kept tells whether what h stands on is what the file there stands on: a command may be a
// first one for other reasons, as a terminal.
func (h *header) kept(s Source) bool {
	f, err := os.Open(Path(s.State))
	if err != nil {
		return false
	}
	defer f.Close()
	var was header
	if _, err := io.ReadFull(f, unsafe.Slice((*byte)(unsafe.Pointer(&was)), unsafe.Sizeof(was))); err != nil {
		return false
	}
	info, err := f.Stat()
	if err != nil || info.Mode() != 0o600 || uint64(info.Size()) != was.size || info.Sys().(*syscall.Stat_t).Uid != 0 {
		return false // ahead refuses it
	}
	was.size, was.server, was.length, was.patience = h.size, h.server, h.length, h.patience // come later
	return was == *h
}

// connects fills in where the server is; false when its path is too long for that.
func (h *header) connects(s Source) bool {
	h.server.Family = unix.AF_UNIX
	if len(s.Server) >= len(h.server.Path) {
		return false
	}
	for i := range len(s.Server) {
		h.server.Path[i] = int8(s.Server[i])
	}
	h.length = uint32(unsafe.Offsetof(h.server.Path)) + uint32(len(s.Server)) + 1
	h.patience = unix.NsecToTimeval(s.Patience.Nanoseconds())
	return true
}

// look fills in what the image will stand on. It is false where that cannot be told.
func (h *header) look(s Source) (ok bool, err error) {
	var fs unix.Statfs_t
	if err := unix.Fstatfs(s.Pidfd, &fs); err != nil || fs.Type != unix.PID_FS_MAGIC {
		return false, err
	}
	rootPath := fmt.Sprintf("/proc/%d/root", s.Init)
	for i, p := range [paths]string{s.Note, rootPath, s.Group} {
		if len(p) >= pathSize {
			return false, nil
		}
		copy(h.paths[i][:], p)
	}
	init, err := stampOf(s.Pidfd, "\x00", unix.AT_EMPTY_PATH)
	h.unique = init.ino
	if err == nil {
		h.program, err = stampOf(unix.AT_FDCWD, self, 0)
	}
	if err == nil {
		h.note, err = stampOf(unix.AT_FDCWD, s.Note+"\x00", 0)
	}
	if err != nil {
		return false, err
	}
	root, err := unix.Open(rootPath, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return false, os.NewSyscallError("open", err)
	}
	defer unix.Close(root)
	for i, db := range databases() {
		var e syscall.Errno
		if h.users[i], e = new(room).user(uintptr(root), db); e != 0 {
			return false, nil // a link, say
		}
	}
	return true, nil
}

const self = "/proc/self/exe\x00"

func stampOf(dir int, path string, flags int) (s stamp, err error) {
	if e := s.take(uintptr(dir), unsafe.Pointer(unsafe.StringData(path)), flags, &unix.Statx_t{}); e != 0 {
		return s, e
	}
	return s, nil
}

// mapped gives memory where the file will be.
func mapped() ([]byte, error) {
	p, _, e := unix.Syscall6(unix.SYS_MMAP, base, size, unix.PROT_READ|unix.PROT_WRITE,
		unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_FIXED_NOREPLACE, math.MaxUint, 0)
	if e != 0 {
		return nil, e
	}
	return unsafe.Slice(*(**byte)(unsafe.Pointer(&p)), size), nil
}

func unmap(mem []byte) {
	unix.Syscall(unix.SYS_MUNMAP, uintptr(unsafe.Pointer(&mem[0])), uintptr(len(mem)), 0)
}
