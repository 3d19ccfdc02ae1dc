package attack

import (
	"os"
	"runtime"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// calls are attacks by system calls that no namespace divides.
func calls() []Attack {
	b := func(row int, name string, do func(*Ground) (string, error), by []syscall.Errno) Attack {
		return Attack{"B", row, name, do, by, nil}
	}
	return []Attack{
		b(25, "make the node of a disk", func(*Ground) (string, error) { return node(unix.S_IFBLK, unix.Mkdev(254, 0)) }, denied()),
		b(25, "make the node of memory", func(*Ground) (string, error) { return node(unix.S_IFCHR, unix.Mkdev(1, 1)) }, denied()),
		b(26, "open a file by its number", byHandle, denied(syscall.ESTALE, syscall.EOPNOTSUPP)),
		b(27, "make a key", addKey, denied()),
		b(27, "link the keys of the user", call(unix.SYS_KEYCTL, 0, ^uintptr(3), 1), denied()),
		b(27, "persistent keyring", call(unix.SYS_KEYCTL, 22, ^uintptr(0), ^uintptr(0)), denied()),
		b(27, "have the kernel fetch a key", requestKey, denied(syscall.ENOKEY)),
		b(28, "type into a terminal", terminal(unix.TIOCSTI), denied()),
		b(28, "command the console's selection", terminal(unix.TIOCLINUX), denied()),
		b(28, "take the console's output", terminal(unix.TIOCCONS), denied()),
		b(28, "change a terminal's discipline", terminal(unix.TIOCSETD), denied()),
		b(29, "read the kernel's log", call(unix.SYS_SYSLOG, 10), denied()),
		b(29, "watch by perf", perf, denied()),
		b(29, "make a map of BPF", bpf, denied()),
		b(29, "handle page faults", call(unix.SYS_USERFAULTFD, 0), denied()),
		b(30, "io_uring", ring, denied()),
		b(24, "load a kernel", call(unix.SYS_KEXEC_LOAD, 0, 0, 0, 0), denied()),
		b(22, "load a module", call(unix.SYS_FINIT_MODULE, ^uintptr(0), 0, 0), denied()),
		b(22, "unload a module", unload, denied()),
		b(38, "use swap space", onPath(sysSwapon), denied()),
		b(38, "end the use of swap space", onPath(sysSwapoff), denied()),
		b(38, "account processes", call(unix.SYS_ACCT, 0), denied()),
		b(38, "ask for quotas", call(unix.SYS_QUOTACTL, 0x80000100, 0, 0, 0), denied(syscall.ENOTBLK)),
		b(39, "set the clock", clock, denied()),
		b(39, "steer the clock", steer, denied()),
		b(24, "ports of the machine", ports(), denied()),
		b(24, "reboot by the keyboard", call(unix.SYS_REBOOT, 0xfee1dead, 672274793, 0x89abcdef), denied(syscall.EINVAL)),
		b(24, "leave the filter by another calling convention", call(0x40000000|unix.SYS_GETPID), denied()),
		b(31, "make a user namespace", namespace(unix.CLONE_NEWUSER), denied(syscall.ENOSPC, syscall.EUSERS)),
		b(31, "make a user namespace by clone3", clone3, denied(syscall.ENOSPC, syscall.EUSERS)),
		b(29, "hear of all files by fanotify", call(unix.SYS_FANOTIFY_INIT, unix.FAN_CLASS_CONTENT, 0), denied()),
		b(35, "trace a process of the host", call(unix.SYS_PTRACE, unix.PTRACE_ATTACH, 0x3ffff0), denied(syscall.ESRCH)),
		b(35, "take hold of a process of the host", call(unix.SYS_PIDFD_OPEN, 0x3ffff0, 0), denied(syscall.ESRCH)),
		b(20, "mount control groups of version 1", func(*Ground) (string, error) { return mounted("cgroup", "none,name=attack") }, denied(syscall.EBUSY, syscall.EINVAL)),
		b(20, "write to control groups of version 1", writeOld, denied(syscall.EBUSY, syscall.EINVAL, syscall.ENOENT)),
		{"C", 40, "see control groups of version 1", func(*Ground) (string, error) { return mounted("cgroup", "memory") },
			denied(syscall.EBUSY, syscall.EINVAL, syscall.ENOENT),
			whenPrivate("a host with controllers of version 1 shows their groups to root of any user namespace; cgroup v2 shows the guest's own")},
		b(24, "mount debugfs", func(*Ground) (string, error) { return mounted("debugfs", "") }, denied(syscall.ENODEV)),
		b(24, "mount tracefs", func(*Ground) (string, error) { return mounted("tracefs", "") }, denied(syscall.ENODEV)),
		b(24, "mount securityfs", func(*Ground) (string, error) { return mounted("securityfs", "") }, denied(syscall.ENODEV)),
		b(25, "mount the machine's devices", func(*Ground) (string, error) { return mounted("devtmpfs", "") }, denied(syscall.ENODEV)),
		b(32, "mount a file system of a disk", func(*Ground) (string, error) { return mounted("ext4", "") }, denied(syscall.ENODEV)),
	}
}

// The numbers that x/sys/unix has no exported call for are the kernel's own.
const (
	sysSwapon  = unix.SYS_SWAPON
	sysSwapoff = unix.SYS_SWAPOFF
)

func node(kind uint32, dev uint64) (string, error) {
	const path = "/tmp/attack-node"
	if err := unix.Mknod(path, kind|0o600, int(dev)); err != nil {
		return "", err
	}
	defer os.Remove(path)
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	unix.Close(fd)
	return "", err
}

// byHandle opens the root of the file system that the guest's files lie on, as CVE
// "shocker" did.
func byHandle(*Ground) (string, error) {
	h, mnt, err := unix.NameToHandleAt(unix.AT_FDCWD, "/", 0)
	if err != nil {
		return "", err
	}
	_ = mnt
	at, err := unix.Open("/", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return "", err
	}
	defer unix.Close(at)
	fd, err := unix.OpenByHandleAt(at, h, unix.O_RDONLY)
	unix.Close(fd)
	return "", err
}

func addKey(*Ground) (string, error) {
	const userKeyring = -4 // KEY_SPEC_USER_KEYRING
	_, err := unix.AddKey("user", "vserver-attack", []byte("x"), userKeyring)
	return "", err
}

// requestKey gives callout information, with which the kernel starts a program of the
// host's.
func requestKey(*Ground) (string, error) {
	_, err := unix.RequestKey("user", "vserver-attack", "info", 0)
	return "", err
}

// terminal commands a terminal of the guest's own: as an administrator's would be, who
// came in with it.
func terminal(request uintptr) func(*Ground) (string, error) {
	return func(*Ground) (string, error) {
		fd, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
		if err != nil {
			return "", err
		}
		defer unix.Close(fd)
		b := [4]byte{}
		err = raw(unix.SYS_IOCTL, uintptr(fd), request, uintptr(unsafe.Pointer(&b)))
		runtime.KeepAlive(&b)
		return "", err
	}
}

func perf(*Ground) (string, error) {
	fd, err := unix.PerfEventOpen(&unix.PerfEventAttr{Type: unix.PERF_TYPE_SOFTWARE, Config: unix.PERF_COUNT_SW_CPU_CLOCK,
		Size: uint32(unsafe.Sizeof(unix.PerfEventAttr{}))}, 0, -1, -1, unix.PERF_FLAG_FD_CLOEXEC)
	unix.Close(fd)
	return "", err
}

func bpf(*Ground) (string, error) {
	attr := [12]uint32{2, 4, 4, 1} // BPF_MAP_TYPE_ARRAY, sizes of key and value, entries
	err := raw(unix.SYS_BPF, 0, uintptr(unsafe.Pointer(&attr)), unsafe.Sizeof(attr))
	runtime.KeepAlive(&attr)
	return "", err
}

func ring(*Ground) (string, error) {
	params := [120]byte{} // struct io_uring_params
	err := raw(unix.SYS_IO_URING_SETUP, 1, uintptr(unsafe.Pointer(&params)))
	runtime.KeepAlive(&params)
	return "", err
}

func unload(*Ground) (string, error) {
	name := [...]byte{'v', 's', '-', 'n', 'o', 'n', 'e', 0}
	err := raw(unix.SYS_DELETE_MODULE, uintptr(unsafe.Pointer(&name)), 0)
	runtime.KeepAlive(&name)
	return "", err
}

// onPath makes a call with the path of a file that is not there: who may make it gets
// ENOENT.
func onPath(nr uintptr) func(*Ground) (string, error) {
	return func(*Ground) (string, error) {
		path, _ := unix.BytePtrFromString("/tmp/attack-none")
		err := raw(nr, uintptr(unsafe.Pointer(path)), 0)
		runtime.KeepAlive(path)
		return "", err
	}
}

func clock(*Ground) (string, error) {
	now := unix.NsecToTimespec(time.Now().UnixNano())
	err := raw(unix.SYS_CLOCK_SETTIME, unix.CLOCK_REALTIME, uintptr(unsafe.Pointer(&now)))
	runtime.KeepAlive(&now)
	return "", err
}

func steer(*Ground) (string, error) {
	const adjTick = 0x4000 // ADJ_TICK, linux/timex.h: what it is already
	t := unix.Timex{}
	if _, err := unix.Adjtimex(&t); err != nil {
		return "", err
	}
	t.Modes = adjTick
	_, err := unix.Adjtimex(&t)
	return "", err
}

// namespace has a child of its own made in a new namespace.
func namespace(flags uintptr) func(*Ground) (string, error) {
	return func(*Ground) (string, error) {
		p, err := os.StartProcess("/proc/self/exe", []string{Name, "nothing", "{}"}, &os.ProcAttr{Sys: &syscall.SysProcAttr{Cloneflags: flags}})
		if err == nil {
			p.Wait()
		}
		return "", err
	}
}

// clone3 is the call whose flags no filter sees. The child, should there be one, ends at
// once.
func clone3(*Ground) (string, error) {
	args := [11]uint64{0: unix.CLONE_NEWUSER, 4: uint64(unix.SIGCHLD)}
	const size = 88
	pid, _, errno := unix.RawSyscall(unix.SYS_CLONE3, uintptr(unsafe.Pointer(&args)), size, 0)
	if errno != 0 {
		return "", errno
	}
	if pid == 0 {
		for {
			unix.RawSyscall(unix.SYS_EXIT_GROUP, 0, 0, 0)
		}
	}
	unix.Wait4(int(pid), nil, 0, nil)
	return "", nil
}

// writeOld mounts a controller of version 1 and tries what would start a program of the
// host's (CVE-2022-0492), lift a limit, or leave it.
func writeOld(*Ground) (string, error) {
	dir, err := scratch()
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(dir)
	if err := unix.Mount("none", dir, "cgroup", 0, "memory"); err != nil {
		return "", err
	}
	defer unix.Unmount(dir, unix.MNT_DETACH)
	for _, name := range []string{"release_agent", "notify_on_release", "cgroup.procs", "tasks", "memory.limit_in_bytes"} {
		if err := opening(dir+"/"+name, os.O_WRONLY); err == nil {
			return name, nil
		}
	}
	if err := os.Mkdir(dir+"/vserver-attack", 0o755); err != nil {
		return "", err
	}
	return "a group", os.Remove(dir + "/vserver-attack")
}

func mounted(kind, options string) (string, error) {
	dir, err := scratch()
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(dir)
	if err := unix.Mount("none", dir, kind, 0, options); err != nil {
		return "", err
	}
	unix.Unmount(dir, unix.MNT_DETACH)
	return "", nil
}
