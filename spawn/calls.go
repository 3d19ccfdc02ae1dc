package spawn

import (
	"fmt"
	"strconv"
	"strings"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

var none = arg{}

// Await waits until the parent calls Open. When the parent dies instead, the child
// ends.
func (t *Table) Await(what string) {
	buf := put(t, [8]byte{})
	t.listen(what)
	t.call("wait for "+what, unix.SYS_RECVFROM, regGate.arg(), at(buf), num(1), num(unix.MSG_DONTWAIT), num(0), num(0)).want = 1
}

// Watch waits until the parent is dead, to do what the entries behind it say; a parent
// that needs that no more ends the child by Kill.
func (t *Table) Watch() { t.listen("the parent's end") }

// listen waits until there is something at the gate or the parent is dead. The end of
// the gate alone does not tell: a child that the parent cloned at the same time has it
// open as well, and two such children would wait for each other for ever.
func (t *Table) listen(what string) {
	if t.polled == nil {
		t.polled = put(t, [2]unix.PollFd{{Events: unix.POLLIN}, {Events: unix.POLLIN}})
	}
	t.call("listen for "+what, unix.SYS_PPOLL, at(t.polled), num(len(t.polled)), num(0), num(0), num(0))
}

// Receive waits until the parent calls Send with n files and gives their registers.
func (t *Table) Receive(what string, n int) []Reg {
	space := unix.CmsgSpace(4 * n)
	control := puts(t, make([]byte, space))
	msg := t.message([]byte{1}, control)
	t.listen(what)
	t.call("wait for "+what, unix.SYS_RECVMSG, regGate.arg(), at(msg), num(unix.MSG_CMSG_CLOEXEC|unix.MSG_DONTWAIT)).want = 1
	regs := make([]Reg, n)
	for i := range regs {
		fd := (*int32)(unsafe.Pointer(&control[unix.CmsgLen(0)+4*i]))
		regs[i] = t.load(fmt.Sprintf("%s %d", what, i), fd)
	}
	return regs
}

// message is one of a text and of what control is for.
func (t *Table) message(text, control []byte) *unix.Msghdr {
	iov := put(t, unix.Iovec{Base: &puts(t, text)[0]})
	iov.SetLen(len(text))
	msg := put(t, unix.Msghdr{Iov: iov, Control: &control[0]})
	msg.SetIovlen(1)
	msg.SetControllen(len(control))
	return msg
}

// Fork clones once more with flags; the new process, a child of the caller of
// Start, goes on with the table. It is how one gets into a pid namespace. The old
// process does what old appends, with the new one's pid in a register, and ends.
func (t *Table) Fork(name string, flags uint64, old func(pid Reg)) {
	// exit_signal must be 0 with CLONE_PARENT: it is taken from the first child.
	args := put(t, cloneArgs{flags: flags | unix.CLONE_PARENT | unix.CLONE_PARENT_SETTID | shareFlags})
	args.giveStack(t)
	t.forks = args
	pid := t.saved(name, unix.SYS_CLONE3, at(args))
	t.at = len(t.ops) - 1
	t.ops[t.at].kind = kindFork
	if old != nil {
		old(pid)
	}
	t.End()
	t.skip = len(t.ops) - 1 - t.at
}

// giveStack gives a child that shares our memory a stack of its own.
func (a *cloneArgs) giveStack(t *Table) {
	a.stack = uint64(at(put(t, [stackSize]byte{})).v)
	a.stackSize = stackSize
}

// ResetSignals gives every signal its default action and unblocks all: execve keeps
// what is ignored and blocked.
func (t *Table) ResetSignals() {
	action := put(t, [4]uint64{}) // struct sigaction: SIG_DFL, no flags, empty mask
	t.call("reset signals", unix.SYS_RT_SIGACTION, num(1), at(action), none, num(8)).kind = kindSignals
	t.call("unblock signals", unix.SYS_RT_SIGPROCMASK, num(unix.SIG_SETMASK), at(put(t, uint64(0))), none, num(8))
}

// WriteOf writes text to the file of process pid in a procfs that the parent had open
// when it called Start. Inodes and names of what was looked up in one stay as long as the
// process; in a procfs of the caller's own they go with that.
func (t *Table) WriteOf(procfs int, pid Reg, file, text string) {
	// ".///////123/file": procfs takes no leading zeros, but any number of slashes.
	const digits = 10
	start := t.str("." + strings.Repeat("/", digits) + "/" + file)
	end := arg{v: start.v + uintptr(len(".")+digits)}
	t.call("name /proc/PID/"+file, 0, pid.arg(), end).kind = kindPrint
	t.write("/proc/PID/"+file, procfs, start, text)
}

// Setns joins the namespaces flags of the process behind pidfd (5.8), or the one
// namespace that fd refers to.
func (t *Table) Setns(fd int, flags int) { t.join(num(fd), flags) }

// Join is Setns for the process behind a pidfd that is Given.
func (t *Table) Join(pidfd Reg, flags int) { t.join(pidfd.arg(), flags) }

func (t *Table) join(fd arg, flags int) {
	t.call("join namespaces", unix.SYS_SETNS, fd, num(flags))
}

// Unshare leaves namespaces behind.
func (t *Table) Unshare(name string, flags int) {
	t.call(name, unix.SYS_UNSHARE, num(flags))
}

// WriteFile writes text to an existing file in one write.
func (t *Table) WriteFile(path, text string) { t.write(path, unix.AT_FDCWD, t.str(path), text) }

// WriteFileAt is WriteFile for a file below a directory that the parent had open when it
// called Start.
func (t *Table) WriteFileAt(dir int, path, text string) { t.write(path, dir, t.str(path), text) }

// WriteIfThere is WriteFile for a file that may not be there.
func (t *Table) WriteIfThere(path, text string) {
	begin := len(t.ops)
	t.WriteFile(path, text)
	open := &t.ops[begin]
	open.passing(unix.ENOENT)
	for i := range t.ops[begin+1:] {
		t.ops[begin+1+i].needs = Reg(open.save)
	}
}

func (t *Table) write(name string, dir int, path arg, text string) {
	fd := t.saved("open "+name, unix.SYS_OPENAT, num(dir), path, num(unix.O_WRONLY|unix.O_CLOEXEC))
	t.last().show = true
	t.call("write "+name, unix.SYS_WRITE, fd.arg(), t.str(text), num(len(text))).want = len(text)
	t.call("close "+name, unix.SYS_CLOSE, fd.arg())
}

// WriteFd writes a text to a file that the parent had open when it called Start.
func (t *Table) WriteFd(name string, fd int, text string) {
	t.call("write "+name, unix.SYS_WRITE, num(fd), t.str(text), num(len(text))).want = len(text)
}

// Hide makes the process undumpable: nobody inside a guest can trace it or look
// into its files before it executes the guest's program.
func (t *Table) Hide() {
	t.call("set undumpable", unix.SYS_PRCTL, num(unix.PR_SET_DUMPABLE), num(0))
}

// Show takes Hide back, or what a change of ids did of the kind: the files of the
// process's own /proc/self are then its own again.
func (t *Table) Show() {
	t.call("set dumpable", unix.SYS_PRCTL, num(unix.PR_SET_DUMPABLE), num(1))
}

// Become takes the ids, with the supplementary groups. Ids are those of the user
// namespace the process is in.
func (t *Table) Become(uid, gid uint32, groups []uint32) {
	list := none
	if len(groups) > 0 {
		list = at(&puts(t, groups)[0])
	}
	t.call("set groups", sysSetgroups, num(len(groups)), list)
	t.call("set gid "+strconv.Itoa(int(gid)), sysSetresgid, num(gid), num(gid), num(gid))
	t.call("set uid "+strconv.Itoa(int(uid)), sysSetresuid, num(uid), num(uid), num(uid))
}

// Keyring gives the process a session keyring of its own. A kernel without keyrings
// has nothing to share.
func (t *Table) Keyring() {
	const joinSessionKeyring = 1 // KEYCTL_JOIN_SESSION_KEYRING, keyctl(2)
	t.call("join new session keyring", unix.SYS_KEYCTL, num(joinSessionKeyring)).passing(syscall.ENOSYS, syscall.EPERM)
}

// Hostname sets the name in the UTS namespace.
func (t *Table) Hostname(name string) {
	t.call("set hostname "+name, unix.SYS_SETHOSTNAME, t.str(name), num(len(name)))
}

// Rlimit sets a limit of the process by its number.
func (t *Table) Rlimit(name string, resource int, soft, hard uint64) {
	lim := put(t, unix.Rlimit{Cur: soft, Max: hard})
	t.call("set rlimit "+name, unix.SYS_PRLIMIT64, num(0), num(resource), at(lim), num(0))
}

// Nice sets the niceness of the process.
func (t *Table) Nice(n int) {
	t.call("set niceness", unix.SYS_SETPRIORITY, num(unix.PRIO_PROCESS), num(0), num(n))
}

// IOPrio sets the priority of the process at block devices, as ioprio_set(2) counts.
func (t *Table) IOPrio(prio int) {
	const whoProcess = 1 // IOPRIO_WHO_PROCESS
	t.call("set priority of input and output", unix.SYS_IOPRIO_SET, num(whoProcess), num(0), num(prio))
}

// LoopbackUp brings lo up in the process's network namespace.
func (t *Table) LoopbackUp() {
	ifr := put(t, struct {
		name  [unix.IFNAMSIZ]byte
		flags uint16
		_     [22]byte
	}{flags: unix.IFF_UP | unix.IFF_RUNNING})
	copy(ifr.name[:], "lo")
	s := t.Socket()
	t.call("set lo up", unix.SYS_IOCTL, s.arg(), num(unix.SIOCSIFFLAGS), at(ifr))
	t.call("close the socket", unix.SYS_CLOSE, s.arg())
}

// Socket opens a datagram socket in the process's network namespace.
func (t *Table) Socket() Reg {
	return t.saved("open a socket", unix.SYS_SOCKET, num(unix.AF_INET), num(unix.SOCK_DGRAM|unix.SOCK_CLOEXEC), num(0))
}

// Session begins a session of the process's own.
func (t *Table) Session() { t.call("begin a session", unix.SYS_SETSID) }

// Terminal makes the terminal on fd 0 the controlling one.
func (t *Table) Terminal() {
	t.call("take the terminal", unix.SYS_IOCTL, num(0), num(unix.TIOCSCTTY), num(0))
}

// Stdio makes the files 0, 1 and 2 of the process. They may be the same.
func (t *Table) Stdio(files [3]Reg) {
	// Those received are above 2: the runtime opens 0 to 2 before main.
	for i, r := range files {
		t.call("set file "+strconv.Itoa(i), unix.SYS_DUP3, r.arg(), num(i), num(0))
	}
}

// StdioFds is Stdio for files that the parent had when it called Start. Each must be
// above 2, or at its place already.
func (t *Table) StdioFds(files [3]int) {
	for i, fd := range files {
		if fd != i {
			t.call("set file "+strconv.Itoa(i), unix.SYS_DUP3, num(fd), num(i), num(0))
		}
	}
}

// Close closes files that the parent had when it called Start.
func (t *Table) Close(fds ...int) {
	for _, fd := range fds {
		t.call("close file "+strconv.Itoa(fd), unix.SYS_CLOSE, num(fd)).passing(syscall.EBADF)
	}
}

// End ends the process well, without executing anything.
func (t *Table) End() { t.call("end", 0).kind = kindEnd }

// CloseOthers has all files from 3 on closed by execve.
func (t *Table) CloseOthers() {
	t.call("close other files", unix.SYS_CLOSE_RANGE, num(3), num(^uint32(0)), num(unix.CLOSE_RANGE_CLOEXEC))
}

// DropBounding drops every capability not in keep from the bounding set. last is the
// highest capability of this kernel.
func (t *Table) DropBounding(keep uint64, last int) {
	for c := range last + 1 {
		if keep&(1<<c) == 0 {
			t.call("drop capability "+strconv.Itoa(c), unix.SYS_PRCTL, num(unix.PR_CAPBSET_DROP), num(c))
		}
	}
}

// Capabilities makes set what the process has, and leaves nothing that a program it
// executes would inherit.
func (t *Table) Capabilities(set uint64) {
	t.call("clear ambient capabilities", unix.SYS_PRCTL, num(unix.PR_CAP_AMBIENT), num(unix.PR_CAP_AMBIENT_CLEAR_ALL))
	hdr := put(t, unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3})
	data := put(t, [2]unix.CapUserData{})
	for i := range data {
		word := uint32(set >> (32 * i))
		data[i] = unix.CapUserData{Effective: word, Permitted: word}
	}
	t.call("set capabilities", unix.SYS_CAPSET, at(hdr), at(data))
}

// NoNewPrivs takes from execve the power to give privileges.
func (t *Table) NoNewPrivs() {
	t.call("set no_new_privs", unix.SYS_PRCTL, num(unix.PR_SET_NO_NEW_PRIVS), num(1))
}

// Umask sets the file mode creation mask.
func (t *Table) Umask(mask int) { t.call("set umask", unix.SYS_UMASK, num(mask)) }

// Chdir changes the working directory.
func (t *Table) Chdir(dir string) { t.call("chdir "+dir, unix.SYS_CHDIR, t.str(dir)) }

// Chroot makes the working directory the root.
func (t *Table) Chroot() { t.call("chroot", unix.SYS_CHROOT, t.str(".")) }

// Personality sets the execution domain of the process and its flags, personality(2).
func (t *Table) Personality(persona uint32) {
	t.call("set personality", unix.SYS_PERSONALITY, num(persona))
}

// Exec executes the first of paths that exists, with argv and env. What is not
// there, or below something that is no directory, is passed over.
func (t *Table) Exec(paths, argv, env []string) {
	args, vars := t.strs(argv), t.strs(env)
	for i, p := range paths {
		o := t.call("exec "+p, unix.SYS_EXECVE, t.str(p), args, vars)
		if i < len(paths)-1 {
			o.passing(syscall.ENOENT, syscall.ENOTDIR)
		}
	}
}

// ExecNamed executes the program whose name and words an Image is launched with, as Exec
// does: in the first of dirs that has it, or where the name says if that has a slash.
func (t *Table) ExecNamed(dirs, env []string) {
	vars := t.strs(env)
	t.words = t.reg()
	for i, dir := range dirs {
		at := namedPath{reg: t.reg(), prefix: len(dir) + 1, path: puts(t, make([]byte, len(dir)+1+nameSize))}
		copy(at.path, dir+"/")
		t.named = append(t.named, at)
		o := t.call("exec in "+dir, unix.SYS_EXECVE, at.reg.arg(), t.words.arg(), vars)
		if i < len(dirs)-1 {
			o.passing(syscall.ENOENT, syscall.ENOTDIR)
		}
	}
}

// ExecFile executes the program that the file is, as long as the process has it.
func (t *Table) ExecFile(name string, file Reg, argv, env []string) {
	t.call("exec "+name, unix.SYS_EXECVEAT, file.arg(), t.str(""), t.strs(argv), t.strs(env), num(unix.AT_EMPTY_PATH))
}

// ExecFd executes the program that is a file of the parent's. It has the file handed,
// and one argument, the number that has there: ten digits.
func (t *Table) ExecFd(name string, fd int, handed Reg) {
	const digits = 10
	start := t.str(strings.Repeat("0", digits))
	t.call("keep a file open", unix.SYS_FCNTL, handed.arg(), num(unix.F_SETFD), num(0))
	t.call("name it", 0, handed.arg(), arg{v: start.v + digits}).kind = kindPrint
	argv := put(t, [3]uintptr{t.str(name).v, start.v, 0})
	t.call("exec "+name, unix.SYS_EXECVEAT, num(fd), t.str(""), at(argv), t.strs(nil), num(unix.AT_EMPTY_PATH))
}

// away is above all files that a program is handed by number.
const away = 64

// aside is above the files 0 to 4, all that a guest's init is handed by number. A number
// as high as away would have it keep a larger table of files, 2 KiB, for good.
const aside = 5

// Keep gives a file of the parent's a number that no other of the child's takes.
func (t *Table) Keep(name string, fd int) Reg {
	return t.saved("keep "+name, unix.SYS_FCNTL, num(fd), num(unix.F_DUPFD_CLOEXEC), num(away))
}

// KeepGate moves the gate out of the way of files that get numbers of their own, for
// a SeccompListened that follows.
func (t *Table) KeepGate() {
	t.call("move the gate", unix.SYS_FCNTL, regGate.arg(), num(unix.F_DUPFD_CLOEXEC), num(aside)).save = int16(regGate)
}

// Aside moves a file out of the way of those that get numbers of their own, for a HandOn
// that follows.
func (t *Table) Aside(what string, f Reg) Reg {
	return t.saved("move "+what, unix.SYS_FCNTL, f.arg(), num(unix.F_DUPFD_CLOEXEC), num(aside))
}

// HandOn leaves such a file open over execve as number fd.
func (t *Table) HandOn(what string, f Reg, fd int) {
	t.call("hand "+what+" on", unix.SYS_DUP3, f.arg(), num(fd), num(0))
}

// HandReport leaves the report pipe open over execve as file 3, for a program that
// goes on with the table's business: eight bytes, 0xffffffff and an errno in the
// machine's order, tell that it could not execute command. other is moved out of
// the way first.
func (t *Table) HandReport(command string, other Reg) Reg {
	moved := t.Aside("a file", other)
	t.HandOn("the report pipe", t.Aside("the report pipe", regReport), 3)
	t.handed = "exec " + command
	return moved
}
