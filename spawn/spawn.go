package spawn

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"os"
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Options say how the first child is cloned.
type Options struct {
	Flags  uint64 // CLONE_NEW*
	Cgroup int    // directory fd of the cgroup v2 group to be born in; -1 for ours
	// Owner, when not 0, is the user id that the kernel notes as the maker, and
	// charges as the owner, of the user namespace that Flags ask for.
	Owner uint32
	// Share lets the first child share our memory: it costs nothing to make, but
	// cannot join a time namespace. What it does may be seen by who can trace it.
	Share bool
}

// Child is a process that follows a table.
type Child struct {
	first  int // of the first clone; ends at the table's fork
	pid    int // of the process that will exec
	ended  bool
	pidfd  int
	table  *Table
	report *os.File
	gate   *os.File
	shared []byte
	// What the children read until they execute.
	regs    []uintptr
	runners [2]*runner
}

// Start clones a child that begins to follow t. It waits at the entries Await and
// Receive until Open or Send is called. The caller ends it with Finish or Kill, and
// always with Close.
func Start(t *Table, o Options) (*Child, error) {
	if err := t.check(); err != nil {
		return nil, err
	}
	c := &Child{table: t, pidfd: -1}
	ends, err := c.channels()
	if err != nil {
		return nil, err
	}
	pid, err := c.clone(o, ends)
	unix.Close(ends.gate)
	unix.Close(ends.report)
	if err != nil {
		c.Close()
		return nil, fmt.Errorf("clone3: %w", err)
	}
	if t.forks == nil {
		c.pid = pid
	} else {
		c.first = pid
	}
	return c, nil
}

// ends are the child's ends of the channels.
type ends struct{ gate, report int }

// channels makes the gate, the report pipe and the page on which the table's fork
// leaves the pid of the second child.
func (c *Child) channels() (ends, error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return ends{}, fmt.Errorf("socketpair: %w", err)
	}
	c.gate = os.NewFile(uintptr(pair[0]), "gate")
	var pipe [2]int
	if err := unix.Pipe2(pipe[:], unix.O_CLOEXEC); err != nil {
		unix.Close(pair[1])
		c.gate.Close()
		return ends{}, fmt.Errorf("pipe: %w", err)
	}
	c.report = os.NewFile(uintptr(pipe[0]), "report")
	out := ends{pair[1], pipe[1]}
	if c.table.forks == nil {
		return out, nil
	}
	c.shared, err = unix.Mmap(-1, 0, os.Getpagesize(), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_ANONYMOUS)
	if err != nil {
		unix.Close(out.gate)
		unix.Close(out.report)
		c.Close()
		return ends{}, fmt.Errorf("mmap: %w", err)
	}
	c.table.forks.parentTID = uint64(uintptr(unsafe.Pointer(&c.shared[0])))
	return out, nil
}

func (c *Child) clone(o Options, e ends) (int, error) {
	t := c.table
	args := &cloneArgs{flags: o.Flags, exitSignal: uint64(unix.SIGCHLD)}
	if o.Cgroup >= 0 {
		args.flags |= unix.CLONE_INTO_CGROUP
		args.cgroup = uint64(o.Cgroup)
	}
	if o.Share {
		args.flags |= shareFlags
		args.giveStack(t)
	}
	if t.polled != nil {
		parent, err := unix.PidfdOpen(unix.Getpid(), 0)
		if err != nil {
			return 0, fmt.Errorf("pidfd of ours: %w", err)
		}
		defer unix.Close(parent)
		t.polled[0].Fd, t.polled[1].Fd = int32(e.gate), int32(parent)
	}
	c.regs = make([]uintptr, max(t.nregs, int(regsFixed)))
	for i := range c.regs {
		c.regs[i] = ^uintptr(0) // what is left out got nothing
	}
	c.regs[regGate], c.regs[regOurGate], c.regs[regReport] = uintptr(e.gate), c.gate.Fd(), uintptr(e.report)
	for _, g := range t.given {
		c.regs[g.reg] = g.value
	}
	c.runners[0], c.runners[1] = t.split(c.regs, e.report)

	var bits int
	if o.Owner != 0 {
		var err error
		if bits, err = unix.PrctlRetInt(unix.PR_GET_SECUREBITS, 0, 0, 0, 0); err != nil {
			return 0, fmt.Errorf("securebits: %w", err)
		}
	}
	pid, failed := cloneQuietly(args, c.runners[0], uintptr(o.Owner), uintptr(bits))
	if failed != 0 {
		return 0, fmt.Errorf("effective ids %d: %w", o.Owner, failed)
	}
	if e := errno(pid); e != 0 {
		return 0, e
	}
	return int(pid), nil
}

// First is the pid of the process cloned first, for the id maps of its user
// namespace. It is good until Forked.
func (c *Child) First() int { return max(c.first, c.pid) }

// Open lets the child pass one Await.
func (c *Child) Open() error {
	if _, err := c.gate.Write([]byte{1}); err != nil {
		return c.because(fmt.Errorf("gate: %w", err))
	}
	return nil
}

// Send lets the child pass its Receive, with the files it asked for.
func (c *Child) Send(fds []int) error {
	if err := unix.Sendmsg(int(c.gate.Fd()), []byte{1}, unix.UnixRights(fds...), nil, 0); err != nil {
		return c.because(fmt.Errorf("gate: %w", err))
	}
	return nil
}

// Listener receives what SeccompListened hands over: the caller's own, close-on-exec.
// It waits until the child is that far.
func (c *Child) Listener() (fd int, err error) {
	oob := make([]byte, unix.CmsgSpace(4))
	var n, oobn int
	for {
		n, oobn, _, _, err = unix.Recvmsg(int(c.gate.Fd()), make([]byte, 1), oob, unix.MSG_CMSG_CLOEXEC)
		if err != unix.EINTR {
			break
		}
	}
	var fds []int
	if err == nil && n > 0 {
		var msgs []unix.SocketControlMessage
		if msgs, err = unix.ParseSocketControlMessage(oob[:oobn]); err == nil && len(msgs) == 1 {
			fds, err = unix.ParseUnixRights(&msgs[0])
		}
	}
	if err == nil && n == 0 {
		err = syscall.ECONNRESET
	}
	if err != nil || len(fds) != 1 {
		return -1, c.because(fmt.Errorf("filter's listener: %w", cmp.Or(err, error(syscall.EPROTO))))
	}
	return fds[0], nil
}

// because gives the child's own report, when it has failed, as the reason of err.
func (c *Child) because(err error) error {
	if failure := c.Finish(); failure != nil {
		return failure
	}
	if errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNRESET) { // it is gone, and reported nothing
		return fmt.Errorf("its first process was killed before it executed anything: %w", syscall.EPIPE)
	}
	return err
}

// Forked waits until the table's fork has been done and gives the pid of the
// process that goes on.
func (c *Child) Forked() (pid int, err error) {
	if c.pid != 0 {
		return c.pid, nil
	}
	ws, err := c.reap(c.first)
	if err != nil {
		return 0, err
	}
	c.first = 0
	if c.pid = c.second(); c.pid == 0 || ws != 0 {
		err := fmt.Errorf("child before its fork: status %#x", uint32(ws))
		if ws.Signaled() {
			err = syscall.EPIPE
		}
		return 0, c.because(err)
	}
	return c.pid, nil
}

// second is the pid that the table's fork has left; 0 for none.
func (c *Child) second() int {
	if c.shared == nil {
		return 0
	}
	return int(binary.NativeEndian.Uint32(c.shared))
}

// Pidfd gives a pidfd of the process that execs. It stays the Child's.
func (c *Child) Pidfd() (int, error) {
	if c.pidfd >= 0 {
		return c.pidfd, nil
	}
	pid, err := c.Forked()
	if err != nil {
		return -1, err
	}
	// The child is ours and not waited for, so that its pid cannot be another's.
	if c.pidfd, err = unix.PidfdOpen(pid, 0); err != nil {
		return -1, fmt.Errorf("pidfd_open %d: %w", pid, err)
	}
	return c.pidfd, nil
}

// Finish waits until the child has executed its program, or gives the entry of the
// table that failed and why.
func (c *Child) Finish() error {
	if c.gate != nil {
		c.gate.Close()
		c.gate = nil
	}
	var rep [8]byte
	n, err := c.report.Read(rep[:])
	if n < len(rep) {
		if err == nil || n > 0 {
			return fmt.Errorf("report of %d bytes: %w", n, syscall.EPROTO)
		}
		return nil
	}
	entry := binary.NativeEndian.Uint32(rep[:])
	errno := syscall.Errno(binary.NativeEndian.Uint32(rep[4:]))
	name := c.table.handed
	if entry != math.MaxUint32 {
		if int(entry) >= len(c.table.names) {
			return fmt.Errorf("report of entry %d: %w", entry, syscall.EPROTO)
		}
		name = c.table.names[entry]
	}
	if errno == 0 {
		return fmt.Errorf("%s: unexpected result", name)
	}
	return fmt.Errorf("%s: %w", name, errno)
}

// Wait waits until the process has ended. It must not be called twice.
func (c *Child) Wait() (syscall.WaitStatus, error) {
	pid, err := c.Forked()
	if err != nil {
		return 0, err
	}
	c.ended = true
	return c.reap(pid)
}

// Reap is Wait for who has more to do than that: no thread waits.
func (c *Child) Reap() (ws syscall.WaitStatus, err error) {
	pid, err := c.Forked()
	if err != nil {
		return 0, err
	}
	c.ended = true
	fd, err := unix.PidfdOpen(pid, unix.PIDFD_NONBLOCK) // 5.10
	if err != nil {
		return 0, fmt.Errorf("pidfd_open %d: %w", pid, err)
	}
	f := os.NewFile(uintptr(fd), "pidfd")
	defer f.Close()
	raw, err := f.SyscallConn()
	if err != nil {
		return 0, err
	}
	var failed error
	err = raw.Read(func(uintptr) bool {
		var got int
		got, failed = syscall.Wait4(pid, &ws, syscall.WALL|syscall.WNOHANG, nil)
		return got != 0 || failed != nil && failed != syscall.EINTR
	})
	return ws, errors.Join(err, failed)
}

func (c *Child) reap(pid int) (ws syscall.WaitStatus, err error) {
	for {
		if _, err = syscall.Wait4(pid, &ws, syscall.WALL, nil); err != syscall.EINTR {
			break
		}
	}
	if err != nil {
		return 0, fmt.Errorf("wait %d: %w", pid, err)
	}
	return ws, nil
}

// Kill ends a child that has not been finished, or whose Finish gave an error, and
// reaps it.
func (c *Child) Kill() {
	if c.first != 0 {
		syscall.Kill(c.first, syscall.SIGKILL)
		c.reap(c.first)
		c.first = 0
		if c.pid == 0 {
			c.pid = c.second()
		}
	}
	if c.pid != 0 && !c.ended {
		syscall.Kill(c.pid, syscall.SIGKILL)
		c.reap(c.pid)
		c.ended = true
	}
}

// Close releases what the parent holds of the child; the child itself goes on if it
// has executed its program, and ends if it has not.
func (c *Child) Close() {
	for _, f := range []*os.File{c.gate, c.report} {
		if f != nil {
			f.Close()
		}
	}
	if c.pidfd >= 0 {
		unix.Close(c.pidfd)
		c.pidfd = -1
	}
	if c.shared != nil {
		unix.Munmap(c.shared)
		c.shared = nil
	}
	runtime.KeepAlive(c)
	runtime.KeepAlive(c.table.keep)
}
