package facade

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"syscall"

	"vserver/kernel/cgroup"
	"vserver/kernel/cred"
	"vserver/kernel/memfd"
	"vserver/kernel/notify"
	"vserver/kernel/ns"
	"vserver/kernel/pidfd"
	"vserver/spawn"
)

// ServerName is argv[0] of a server and the name of its process.
const ServerName = "vserver-net"

// pageSize is that of the page.
const pageSize = 4096

// word gives a 32-bit word of the server's text.
func word(i int) uint32

// elf gives the server's file.
func elf() []byte { return memfd.ELF(memfd.Text(word)) }

// Tree is a tree of processes under one filter, with its server: descriptors, all
// close-on-exec and the holder's own.
type Tree struct {
	Listener int // of the filter
	Page     int // the request being served
	Init     int // pidfd of the guest's init
	Network  int // the host's network namespace
	Server   int // pidfd of the server; -1 while there is none
}

// Serve starts a server for the tree of processes behind listener, in the control
// group of the guest whose init is behind the pidfd init. Both stay the caller's;
// the tree has copies. group is the guest's.
func Serve(group *cgroup.Group, listener, init int) (*Tree, error) {
	t := &Tree{-1, -1, -1, -1, -1}
	var err1, err2, err3, err4 error
	t.Listener, err1 = dup(listener)
	t.Init, err2 = dup(init)
	t.Page, err3 = memfd.Shared(ServerName, pageSize)
	t.Network, err4 = syscall.Open("/proc/thread-self/ns/net", syscall.O_RDONLY|syscall.O_CLOEXEC, 0)
	err := errors.Join(err1, err2, err3, os.NewSyscallError("open network namespace", err4))
	if err == nil {
		err = t.start(group)
	}
	if err != nil {
		t.Close()
		return nil, fmt.Errorf("server of sockets: %w", err)
	}
	return t, nil
}

// Revive starts another server in the place of one that died. What that one had begun
// is finished. A server that is there already, started by somebody who died before he
// could tell, is taken: two must not share a page.
func (t *Tree) Revive(group *cgroup.Group) error {
	t.dropServer()
	if t.find(group) {
		return nil
	}
	t.finish()
	if err := t.start(group); err != nil {
		return fmt.Errorf("server of sockets: %w", err)
	}
	return nil
}

// Over tells whether the tree is gone: no server is needed any more.
func (t *Tree) Over() bool {
	over, err := notify.Over(t.Listener)
	if ended, _ := pidfd.Ended(t.Init); ended {
		return true
	}
	return over || err != nil
}

// Files gives the descriptors in the order of Tree's fields.
func (t *Tree) Files() []int { return []int{t.Listener, t.Page, t.Init, t.Network, t.Server} }

// FromFiles makes a tree of what Files gave, in this process or another; the last may
// be -1. The descriptors are the tree's from now on. ok is false, and they are closed,
// when their number is another.
func FromFiles(files []int) (t *Tree, ok bool) {
	if len(files) != 5 {
		for _, fd := range files {
			syscall.Close(fd)
		}
		return nil, false
	}
	return &Tree{files[0], files[1], files[2], files[3], files[4]}, true
}

// Close lets go of the tree; its server goes on.
func (t *Tree) Close() {
	for _, fd := range []*int{&t.Listener, &t.Page, &t.Init, &t.Network} {
		if *fd >= 0 {
			syscall.Close(*fd)
			*fd = -1
		}
	}
	t.dropServer()
}

func (t *Tree) dropServer() {
	if t.Server < 0 {
		return
	}
	syscall.Close(t.Server)
	t.Server = -1
}

// capSetuid and capSysPtrace are those of linux/capability.h: to make sockets for
// every user of the guest, and to answer questions whose answer goes into the caller's
// memory.
const (
	capSetuid    = 7
	capSysPtrace = 19
)

// start starts the server.
func (t *Tree) start(group *cgroup.Group) error {
	leaf, err := cgroup.OpenServer(group)
	if err != nil {
		return err
	}
	defer leaf.Close()
	above, err := t.above()
	if err != nil {
		return err
	}
	defer above.Close()
	program, err := memfd.Executable(ServerName, elf())
	if err != nil {
		return err
	}
	defer syscall.Close(program)
	child, err := spawn.Start(t.table(int(above.Fd()), program), spawn.Options{Cgroup: leaf.FD(), Share: true})
	if err != nil {
		return err
	}
	defer child.Close()
	if err = child.Finish(); err == nil {
		t.Server, err = child.Pidfd()
	}
	if err == nil {
		t.Server, err = dup(t.Server)
	}
	if err != nil {
		child.Kill()
		t.Server = -1
		return err
	}
	go child.Wait() // should we live that long, it must not stay a zombie
	pid, _ := child.Forked()
	// Where we may ask for it: the guest's own want of memory should not take it.
	ns.Write(pid, "oom_score_adj", strconv.Itoa(spared))
	return nil
}

// spared is the oom_score_adj of a server: the last to be taken, as vserverd is.
const spared = -900

// above opens the user namespace above the guest's.
func (t *Tree) above() (*os.File, error) {
	pid, err := pidfd.PID(t.Init)
	if err != nil {
		return nil, err
	}
	if pid <= 0 {
		return nil, fmt.Errorf("guest's init: %w", syscall.ESRCH)
	}
	own, err := ns.Open(pid, "user")
	if err != nil {
		return nil, err
	}
	defer own.Close()
	return ns.Parent(own)
}

// table gives what the server does before it is one.
func (t *Tree) table(userns, program int) *spawn.Table {
	const keep = 1<<capSetuid | 1<<capSysPtrace
	c := &spawn.Table{}
	c.Setns(t.Init, spawn.NewNet)
	s := c.Socket()
	c.Setns(t.Network, spawn.NewNet)
	c.Setns(userns, spawn.NewUser)
	c.Session()
	c.Chdir("/")
	c.StdioFds([3]int{t.Listener, t.Page, t.Init})
	c.CloseOthers()
	c.DropBounding(keep, cred.LastCap())
	c.Become(0, 0, nil)
	c.Capabilities(keep)
	c.ExecFd(ServerName, program, s)
	return c
}

// least is above the standard files, whose numbers the server's own get.
const least = 64

// dup gives a copy of a descriptor, close-on-exec.
func dup(fd int) (int, error) {
	n, _, e := syscall.Syscall(syscall.SYS_FCNTL, uintptr(fd), syscall.F_DUPFD_CLOEXEC, least)
	if e != 0 {
		return -1, os.NewSyscallError("fcntl", e)
	}
	return int(n), nil
}
