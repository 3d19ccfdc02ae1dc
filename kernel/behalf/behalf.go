// Package behalf makes device nodes for a process that may not, as if it had done so
// itself: with its root and working directory, its ids, its groups and its umask, and
// with one capability of the machine's, that to make nodes. The process is a hostile
// one: it waits in a system call whose arguments are looked at once, and no path of its
// is followed with more rights than it has, nor through the magic links of /proc.
package behalf

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Ask are the arguments of mknod(2) or mknodat(2).
type Ask struct {
	Dir  int // descriptor of the caller's, or AT_FDCWD
	Path uint64
	Mode uint32
	Dev  uint32
}

// AskOf reads a system call of the machine's own kind; ok is false for other calls.
func AskOf(nr int, args [6]uint64) (a Ask, ok bool) {
	switch nr {
	case sysMknod:
		return Ask{unix.AT_FDCWD, args[0], uint32(args[1]), uint32(args[2])}, true
	case unix.SYS_MKNODAT:
		return Ask{int(int32(args[0])), args[1], uint32(args[2]), uint32(args[3])}, true
	}
	return Ask{}, false
}

// Device gives kind and numbers of the device that is asked for; ok is false when it is
// none.
func (a Ask) Device() (block bool, major, minor int, ok bool) {
	kind := a.Mode & unix.S_IFMT
	return kind == unix.S_IFBLK, int(a.Dev >> 8 & 0xfff), int(a.Dev&0xff | a.Dev>>12&0xfff00), kind == unix.S_IFBLK || kind == unix.S_IFCHR
}

// Capabilities that a caller may have.
const (
	Mknod       = unix.CAP_MKNOD
	SysAdmin    = unix.CAP_SYS_ADMIN
	SysResource = unix.CAP_SYS_RESOURCE
)

// Caller is a thread that waits, held so that it can be acted for. What was read of it
// is of that thread only if it still waits afterwards.
type Caller struct {
	tid       int
	root, dir int // descriptors
	uid, gid  int // of the file system, as the host counts
	groups    []uint32
	umask     int
	effective uint64
}

// Look looks at who a thread is, and holds none of its files.
func Look(tid int) (*Caller, error) {
	c := &Caller{tid: tid, root: -1, dir: -1}
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", tid))
	if err == nil {
		err = c.read(string(text))
	}
	if err != nil {
		return nil, fmt.Errorf("thread %d: %w", tid, err)
	}
	return c, nil
}

// Hold looks at the thread that asks for a node.
func Hold(tid int, a Ask) (*Caller, error) {
	c := &Caller{tid: tid, root: -1, dir: -1}
	if err := c.hold(a); err != nil {
		c.Close()
		return nil, fmt.Errorf("thread %d: %w", tid, err)
	}
	return c, nil
}

func (c *Caller) hold(a Ask) (err error) {
	proc := fmt.Sprintf("/proc/%d/", c.tid)
	const flags = unix.O_PATH | unix.O_DIRECTORY | unix.O_CLOEXEC
	if c.root, err = unix.Open(proc+"root", flags, 0); err != nil {
		return err
	}
	dir := proc + "cwd"
	if a.Dir != unix.AT_FDCWD {
		dir = proc + "fd/" + strconv.Itoa(a.Dir)
	}
	c.dir, err = unix.Open(dir, flags, 0)
	if a.Dir != unix.AT_FDCWD && errors.Is(err, unix.ENOENT) {
		err, c.dir = nil, -1 // it matters for a relative path alone
	}
	if err != nil {
		return err
	}
	text, err := os.ReadFile(proc + "status")
	if err != nil {
		return err
	}
	return c.read(string(text))
}

// read takes what is needed of /proc/PID/status.
func (c *Caller) read(status string) error {
	seen := 0
	for line := range strings.Lines(status) {
		key, rest, _ := strings.Cut(strings.TrimSpace(line), ":")
		words := strings.Fields(rest)
		var err error
		switch {
		case key == "Uid" && len(words) == 4:
			c.uid, err = strconv.Atoi(words[3])
		case key == "Gid" && len(words) == 4:
			c.gid, err = strconv.Atoi(words[3])
		case key == "Umask" && len(words) == 1:
			var n uint64
			n, err = strconv.ParseUint(words[0], 8, 32)
			c.umask = int(n)
		case key == "CapEff" && len(words) == 1:
			c.effective, err = strconv.ParseUint(words[0], 16, 64)
		case key == "Groups":
			for _, w := range words {
				var n uint64
				n, err = strconv.ParseUint(w, 10, 32)
				c.groups = append(c.groups, uint32(n))
			}
		default:
			continue
		}
		if err != nil {
			return err
		}
		seen++
	}
	if seen != 5 {
		return fmt.Errorf("status: %w", unix.ESRCH)
	}
	return nil
}

// Close lets the thread go.
func (c *Caller) Close() {
	for _, fd := range []int{c.root, c.dir} {
		if fd >= 0 {
			unix.Close(fd)
		}
	}
}

// IDs are the user and the groups by which the thread's rights to files are judged, as
// the host counts them.
func (c *Caller) IDs() (uid uint32, groups []uint32) {
	return uint32(c.uid), append([]uint32{uint32(c.gid)}, c.groups...)
}

// May tells whether the thread has a capability ([Mknod] and the like) in its user
// namespace, and that is the one of the process init.
func (c *Caller) May(init int, capability uint) bool {
	var own, its unix.Stat_t
	err1 := unix.Stat(fmt.Sprintf("/proc/%d/ns/user", init), &own)
	err2 := unix.Stat(fmt.Sprintf("/proc/%d/ns/user", c.tid), &its)
	return err1 == nil && err2 == nil && own.Ino == its.Ino && own.Dev == its.Dev && c.effective>>capability&1 == 1
}

// Text reads a path in the thread's memory.
func (c *Caller) Text(at uint64) (string, error) {
	const page = 4096
	var text []byte
	for len(text) <= unix.PathMax {
		b := make([]byte, page-at%page)
		local := []unix.Iovec{{Base: &b[0]}}
		local[0].SetLen(len(b))
		n, err := unix.ProcessVMReadv(c.tid, local, []unix.RemoteIovec{{Base: uintptr(at), Len: len(b)}}, 0)
		if err != nil || n != len(b) {
			return "", unix.EFAULT
		}
		if i := bytes.IndexByte(b, 0); i >= 0 {
			text = append(text, b[:i]...)
			break
		}
		text, at = append(text, b...), at+uint64(len(b))
	}
	if len(text) >= unix.PathMax {
		return "", unix.ENAMETOOLONG
	}
	return string(text), nil
}

// Mknod makes the node.
func (c *Caller) Mknod(path string, a Ask) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // for good: the thread ends with the goroutine
		if unix.Gettid() == unix.Getpid() {
			defer runtime.UnlockOSThread() // the main thread must stay who it is
			done <- c.Mknod(path, a)
			return
		}
		done <- c.mknod(path, a)
	}()
	return <-done
}

// mknod is what the thread does that is given up for it.
func (c *Caller) mknod(path string, a Ask) error {
	dir, name, err := split(path)
	if err != nil {
		return err
	}
	if err := c.become(strings.HasPrefix(path, "/")); err != nil {
		return err
	}
	// Behind a magic link of /proc could be what the caller may not open, as files of
	// whoever is just entering the guest.
	at, err := unix.Openat2(unix.AT_FDCWD, dir, &unix.OpenHow{Flags: unix.O_PATH | unix.O_DIRECTORY | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_NO_MAGICLINKS})
	if err != nil {
		return err
	}
	defer unix.Close(at)
	return unix.Mknodat(at, name, a.Mode, int(a.Dev))
}

// split cuts the last name from a path. One that can be no node's is an error, as by
// the kernel.
func split(path string) (dir, name string, err error) {
	i := strings.LastIndexByte(path, '/')
	dir, name = path[:i+1], path[i+1:]
	switch {
	case path == "":
		return "", "", unix.ENOENT
	case name == "." || name == ".." || strings.Trim(path, "/") == "":
		return "", "", unix.EEXIST
	case name == "":
		return "", "", unix.ENOENT
	case dir == "":
		dir = "."
	}
	return dir, name, nil
}

// become makes the calling thread what the caller is, but for its namespaces.
func (c *Caller) become(absolute bool) error {
	if err := unix.Unshare(unix.CLONE_FS); err != nil {
		return err
	}
	if err := unix.Fchdir(c.root); err != nil {
		return err
	}
	if err := unix.Chroot("."); err != nil {
		return err
	}
	switch {
	case c.dir >= 0:
		if err := unix.Fchdir(c.dir); err != nil {
			return err
		}
	case !absolute:
		return unix.EBADF
	}
	unix.Umask(c.umask)
	var groups unsafe.Pointer
	if len(c.groups) > 0 {
		groups = unsafe.Pointer(&c.groups[0])
	}
	// Go's own would change all threads.
	if _, _, e := unix.RawSyscall(sysSetgroups, uintptr(len(c.groups)), uintptr(groups), 0); e != 0 {
		return e
	}
	unix.SetfsgidRetGid(c.gid)
	unix.SetfsuidRetUid(c.uid)
	hdr := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	data := [2]unix.CapUserData{{Effective: 1 << unix.CAP_MKNOD, Permitted: 1 << unix.CAP_MKNOD}}
	if err := unix.Capset(&hdr, &data[0]); err != nil {
		return err
	}
	// They give no error of their own.
	if uid, err := unix.SetfsuidRetUid(-1); err != nil || uid != c.uid {
		return unix.EPERM
	}
	if gid, err := unix.SetfsgidRetGid(-1); err != nil || gid != c.gid {
		return unix.EPERM
	}
	return nil
}
