package attack

import (
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strconv"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// pool is something that the kernel has one of for everybody. take gets one more of it,
// which stays taken until the process ends.
type pool struct {
	name string
	most int // above this no guest of the check may come
	take func() error
	// without says that there is no bound without a user namespace, and why.
	without string
	spare   bool   // not tried by hold: it would take too long
	inside  bool   // there is none outside of guests
	forget  func() // removes what outlives the process; nil for nothing
}

const byUser = "counted for root of the host, without a user namespace of the guest's own"

// everything gives the pools. The bounds are those of a guest that package isolation
// makes, with room.
func everything() []pool {
	watch, unwatch := watches()
	list := []pool{
		{"processes", 200, func() error { return process(0) }, "", true, false, nil},
		{"instances of inotify", 100, func() error { _, err := unix.InotifyInit1(unix.IN_CLOEXEC); return err }, byUser, false, false, nil},
		{"watches of inotify", 2000, watch, byUser, false, false, unwatch},
		{"groups of fanotify", 100, func() error {
			_, err := unix.FanotifyInit(unix.FAN_CLASS_NOTIF|unix.FAN_REPORT_FID|unix.FAN_CLOEXEC, 0)
			return err
		}, byUser, false, false, nil},
		{"terminals", 100, func() error {
			_, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
			return err
		}, "", false, false, nil},
		{"pid namespaces", 80, func() error { return process(unix.CLONE_NEWPID) }, byUser, false, false, nil},
		{"control groups", 100, groups(), "", false, true, forgetGroups},
		{"files of a process", 70000, func() error { _, err := unix.Eventfd(0, unix.EFD_CLOEXEC); return err }, "", true, false, nil},
		{"bytes of message queues", 300, messages(), byUser, false, false, nil},
		{"sockets", 5000, func() error { _, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0); return err },
			"", true, false, nil},
		{"locked memory", 300, locked, byUser, true, false, nil},
		{"signals that wait", 3000, signals, byUser, true, false, nil},
		{"timers of processes", 3000, timer, byUser, true, false, nil},
	}
	for _, n := range []struct {
		name, file string
		flag       int
	}{{"net", "net", unix.CLONE_NEWNET}, {"mount", "mnt", unix.CLONE_NEWNS}, {"uts", "uts", unix.CLONE_NEWUTS}, {"ipc", "ipc", unix.CLONE_NEWIPC},
		{"cgroup", "cgroup", unix.CLONE_NEWCGROUP}, {"time", "time_for_children", unix.CLONE_NEWTIME}} {
		list = append(list, pool{n.name + " namespaces", 100, func() error { return anotherNamespace(n.flag, n.file) }, byUser, false, false, nil})
	}
	return list
}

// pools are attacks that take all there is.
func pools() []Attack {
	var all []Attack
	for _, p := range everything() {
		all = append(all, Attack{"C", 37, "take all " + p.name, func(*Ground) (string, error) {
			defer leave([]pool{p})
			n, err := p.drain()
			return fmt.Sprint(n), err
		}, full(), func(g *Ground) string {
			if !g.Private {
				return p.without
			}
			return ""
		}})
	}
	return append(all, Attack{"C", 37, "take all asynchronous requests", requests, full(), nil})
}

// drain takes until it is refused, or has got more than there should be.
func (p *pool) drain() (n int, err error) {
	for n = range p.most {
		if err = p.take(); err != nil {
			return n, err
		}
	}
	return p.most, nil
}

// process makes one that stops before its program's first instruction.
func process(flags uintptr) error {
	_, err := os.StartProcess("/proc/self/exe", []string{Name, "nothing", "{}"}, &os.ProcAttr{Sys: &syscall.SysProcAttr{Ptrace: true, Cloneflags: flags}})
	return err
}

// endChildren waits for the processes that were made: they end with this one's threads.
func endChildren() {
	for {
		var st unix.WaitStatus
		pid, err := unix.Wait4(-1, &st, unix.WNOHANG|unix.WALL, nil)
		if err != nil || pid == 0 {
			return
		}
		unix.Kill(pid, unix.SIGKILL)
	}
}

// watches puts a watch on one new file each time, and removes them.
func watches() (take func() error, forget func()) {
	fd, n, dir := -1, 0, ""
	forget = func() {
		if dir != "" {
			os.RemoveAll(dir)
		}
	}
	return func() (err error) {
		if fd < 0 {
			if dir, err = scratch(); err != nil {
				return err
			}
			if fd, err = unix.InotifyInit1(unix.IN_CLOEXEC); err != nil {
				return err
			}
		}
		n++
		path := dir + "/" + strconv.Itoa(n)
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			return err
		}
		_, err = unix.InotifyAddWatch(fd, path, unix.IN_ATTRIB)
		return err
	}, forget
}

func groups() func() error {
	n := 0
	return func() error {
		n++
		err := os.Mkdir("/sys/fs/cgroup/attack-"+strconv.Itoa(n), 0o755)
		if errors.Is(err, os.ErrExist) {
			return nil
		}
		return err
	}
}

// forgetGroups takes away what groups made.
func forgetGroups() {
	for n := 1; os.Remove("/sys/fs/cgroup/attack-"+strconv.Itoa(n)) == nil; n++ {
	}
}

// messages makes queues of a kilobyte.
func messages() func() error {
	n := 0
	return func() error {
		n++
		name, _ := unix.BytePtrFromString("attack-" + strconv.Itoa(os.Getpid()) + "-" + strconv.Itoa(n))
		attr := [8]int{1: 8, 2: 128}
		_, _, errno := unix.Syscall6(unix.SYS_MQ_OPEN, uintptr(unsafe.Pointer(name)), unix.O_CREAT|unix.O_RDWR|unix.O_CLOEXEC, 0o600, uintptr(unsafe.Pointer(&attr)), 0, 0)
		runtime.KeepAlive(name)
		runtime.KeepAlive(&attr)
		if errno != 0 {
			return errno
		}
		unix.Syscall(unix.SYS_MQ_UNLINK, uintptr(unsafe.Pointer(name)), 0, 0)
		return nil
	}
}

// locked locks a megabyte more.
func locked() error {
	b, err := unix.Mmap(-1, 0, 1<<20, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		return err
	}
	return unix.Mlock(b)
}

// signals queues one that is blocked.
func signals() error {
	const sigRtMin = 34
	set := uint64(1) << (sigRtMin - 1)
	raw(unix.SYS_RT_SIGPROCMASK, unix.SIG_BLOCK, uintptr(unsafe.Pointer(&set)), 0, 8)
	info := [32]int32{0: sigRtMin, 2: -1} // SI_QUEUE
	err := raw(unix.SYS_RT_TGSIGQUEUEINFO, uintptr(os.Getpid()), uintptr(unix.Gettid()), sigRtMin, uintptr(unsafe.Pointer(&info)))
	runtime.KeepAlive(&set)
	runtime.KeepAlive(&info)
	return err
}

// timer makes one that sends a signal, for which there is room from then on.
func timer() error {
	var id int32
	return raw(unix.SYS_TIMER_CREATE, unix.CLOCK_MONOTONIC, 0, uintptr(unsafe.Pointer(&id)))
}

// anotherNamespace leaves a namespace, and keeps the new one by a file.
func anotherNamespace(flag int, file string) error {
	if err := unix.Unshare(flag); err != nil {
		return err
	}
	_, err := unix.Open("/proc/thread-self/ns/"+file, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if errors.Is(err, unix.ENOENT) {
		return nil // a namespace for children that has none yet; the next one replaces it
	}
	return err
}

// requests takes contexts of io_setup(2), which all have 65536 requests of by default
// (fs.aio-max-nr), where rights.syscalls lets it.
func requests(*Ground) (string, error) {
	const each, most = 8192, 1 << 20
	for n := 0; n < most; n += each {
		var context uintptr
		err := raw(unix.SYS_IO_SETUP, each, uintptr(unsafe.Pointer(&context)))
		if err != nil {
			// Whose bound was it? Memory of the guest's own ends with ENOMEM.
			text, _ := read("/proc/sys/fs/aio-nr")
			if err == unix.EAGAIN {
				return "all " + firstLine(text) + " of the host's are taken; `vserver check --fix` makes memory the bound", nil
			}
			return "", err
		}
	}
	return "", errNothing
}

// hold takes what it can get of all pools, says so, and keeps it until its input ends.
func hold(in io.Reader, out io.Writer) int {
	runtime.LockOSThread()
	list := everything()
	defer leave(list)
	for _, p := range list {
		if p.spare {
			continue
		}
		n, err := p.drain()
		fmt.Fprintln(out, p.name, n, err)
	}
	fmt.Fprintln(out, "held")
	io.Copy(io.Discard, in)
	return 0
}

// few is how many a neighbour must get of each pool while another guest holds all it
// could get.
const few = 4

// take takes a few of each pool, and says what it did not get. On the host it makes no
// control groups.
func take(g *Ground, out io.Writer) int {
	runtime.LockOSThread()
	code, list := 0, everything()
	defer leave(list)
	for _, p := range list {
		for range few {
			if p.spare || p.inside && g.Private {
				break
			}
			if err := p.take(); err != nil {
				fmt.Fprintln(out, p.name+":", err)
				code = 1
				break
			}
		}
	}
	return code
}

// leave gives back what outlives this process.
func leave(list []pool) {
	endChildren()
	for _, p := range list {
		if p.forget != nil {
			p.forget()
		}
	}
}
