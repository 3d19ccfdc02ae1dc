package attack

import (
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// priorities are attacks on the guest's place among others.
func priorities() []Attack {
	c := func(name string, do func(*Ground) (string, error)) Attack {
		return Attack{"C", 39, name, do, absent(), nil}
	}
	return []Attack{
		c("run before all others", func(*Ground) (string, error) {
			return "", unix.SchedSetAttr(0, &unix.SchedAttr{Size: 48, Policy: unix.SCHED_FIFO, Priority: 1}, 0)
		}),
		c("run by deadlines", func(*Ground) (string, error) {
			return "", unix.SchedSetAttr(0, &unix.SchedAttr{Size: 48, Policy: unix.SCHED_DEADLINE, Runtime: 1e6, Deadline: 1e7, Period: 1e7}, 0)
		}),
		c("be nicer than allowed", func(*Ground) (string, error) { return "", unix.Setpriority(unix.PRIO_PROCESS, 0, -20) }),
		c("read and write before all others", call(unix.SYS_IOPRIO_SET, 1, 0, 1<<13)),
		{"C", 39, "have a core to itself", call(unix.SYS_PRCTL, unix.PR_SCHED_CORE, unix.PR_SCHED_CORE_CREATE), denied(syscall.EINVAL), nil},
		c("be nicer as a session", func(*Ground) (string, error) { return "", put("/proc/self/autogroup", "-10") }),
		c("have memory before all others", call(unix.SYS_PRCTL, unix.PR_SET_IO_FLUSHER, 1)),
		c("have a pipe beyond the host's bound", func(*Ground) (string, error) {
			var p [2]int
			if err := unix.Pipe2(p[:], unix.O_CLOEXEC); err != nil {
				return "", err
			}
			_, err := unix.FcntlInt(uintptr(p[0]), unix.F_SETPIPE_SZ, 1<<26)
			return "", err
		}),
		c("have a buffer of a socket beyond the host's bound", func(*Ground) (string, error) {
			fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
			if err != nil {
				return "", err
			}
			return "", unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 1<<26)
		}),
		c("be spared when memory is short", func(*Ground) (string, error) { return "", put("/proc/self/oom_score_adj", "-1000") }),
		c("lift a limit of a process", func(*Ground) (string, error) {
			var now unix.Rlimit
			if err := unix.Getrlimit(unix.RLIMIT_NPROC, &now); err != nil {
				return "", err
			}
			if now.Max == unix.RLIM_INFINITY {
				return "", errNothing
			}
			return "", unix.Setrlimit(unix.RLIMIT_NPROC, &unix.Rlimit{Cur: now.Max + 1, Max: now.Max + 1})
		}),
	}
}

func put(path, text string) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = f.WriteString(text)
	return err
}

// leaks look for what tells of others.
func leaks() []Attack {
	var all []Attack
	for _, path := range []string{"/proc/self/mountinfo", "/proc/1/mountinfo", "/proc/self/mountstats", "/proc/self/cgroup", "/proc/1/environ",
		"/proc/cmdline", "/proc/keys", "/proc/locks", "/proc/swaps", "/proc/net/unix", "/proc/sys/kernel/hostname", "/proc/1/status",
		"/proc/1/sched", "/proc/fs/nfsfs/volumes", "/proc/mdstat", "/proc/self/net/dev"} {
		all = append(all, Attack{"C", 40, "names of others in " + path, func(g *Ground) (string, error) { return words(g, path) }, absent(), tables(path)})
	}
	for _, path := range []string{"/proc/interrupts", "/proc/cmdline", "/proc/keys", "/proc/acpi", "/sys/firmware"} {
		all = append(all, Attack{"C", 40, "see " + path, func(*Ground) (string, error) { return shown(path) }, absent(), nil},
			Attack{"C", 40, "take the mask from " + path, func(*Ground) (string, error) { return "", unix.Unmount(path, unix.MNT_DETACH) },
				absent2(syscall.EINVAL), machine()})
	}
	return append(all,
		Attack{"C", 39, "lift a limit of its control group by a mount of its own", ownGroup, absent2(syscall.EBUSY, syscall.EINVAL), nil},
		Attack{"C", 40, "the host's boot_id", func(g *Ground) (string, error) { return bootID(g, "/proc") }, absent(), nil},
		Attack{"C", 40, "processes of others", processes, denied(), nil},
		Attack{"C", 40, "control groups of others", func(*Ground) (string, error) {
			text, err := read("/proc/self/cgroup")
			for line := range strings.Lines(text) {
				if i := strings.LastIndexByte(line, ':'); strings.Contains(line, "/..") || strings.HasPrefix(line, "0::") && len(strings.Split(line[i:], "/")) > 3 {
					return firstLine(line), nil
				}
			}
			if err == nil {
				err = errNothing
			}
			return "", err
		}, absent(), nil},
		Attack{"C", 40, "names of others in control groups of version 1", oldGroups, absent2(syscall.EBUSY, syscall.EINVAL),
			func(g *Ground) string {
				if g.Private {
					return ""
				}
				return "root of the host looks into all groups of version 1"
			}},
		Attack{"C", 40, "locks of others in /proc/locks", locks, absent(), nil},
		Attack{"C", 32, "which pages of a file others have read", func(*Ground) (string, error) {
			const cachestat = 451
			var rng [2]uint64
			var st [5]uint64
			f, err := os.Open("/proc/self/exe")
			if err != nil {
				return "", err
			}
			defer f.Close()
			err = raw(cachestat, f.Fd(), uintptr(unsafe.Pointer(&rng)), uintptr(unsafe.Pointer(&st)), 0)
			runtime.KeepAlive(&rng)
			runtime.KeepAlive(&st)
			return "", err
		}, denied(), nil},
	)
}

// machine allows what masks hide.
func machine() func(*Ground) string {
	return whenPrivate("root of a user namespace may take a mask away; what is under it tells of the machine, of no guest")
}

// tables allows the tables of the host's network to guests that are in it.
func tables(path string) func(*Ground) string {
	return func(g *Ground) string {
		if g.OwnNet || !strings.Contains(path, "/net/") {
			return ""
		}
		return "the guest is in the host's network; mode private and the flag hide_netif show nothing of it"
	}
}

// words greps a file.
func words(g *Ground, path string) (string, error) {
	text, err := read(path)
	if err != nil {
		return "", err
	}
	for _, w := range g.Words {
		if i := strings.Index(text, w); i >= 0 {
			return firstLine(text[max(0, i-20):]), nil
		}
	}
	return "", errNothing
}

// ownGroup writes to the limits of the guest's own group what stands in them.
func ownGroup(*Ground) (string, error) {
	return fresh("cgroup2", liftIn)
}

// oldGroups looks for names in the hierarchies of version 1, as far as they can be mounted.
func oldGroups(g *Ground) (string, error) {
	answer := errNothing
	for _, controller := range []string{"cpu", "cpuset", "memory", "pids", "blkio", "freezer", "devices", "name=systemd"} {
		dir, err := scratch()
		if err != nil {
			return "", err
		}
		if err := unix.Mount("none", dir, "cgroup", 0, controller); err != nil {
			answer = err
			continue
		}
		found := ""
		filepath.WalkDir(dir, func(path string, _ fs.DirEntry, _ error) error {
			for _, w := range g.Words {
				if strings.Contains(strings.TrimPrefix(path, dir), w) {
					found = strings.TrimPrefix(path, dir)
				}
			}
			return nil
		})
		unix.Unmount(dir, unix.MNT_DETACH)
		os.Remove(dir)
		if found != "" {
			return controller + found, nil
		}
	}
	return "", answer
}

// locks looks for some: those of open files are told to every pid namespace, and this one
// holds such a lock, as others may.
func locks(*Ground) (string, error) {
	f, err := os.CreateTemp("/tmp", "attack")
	if err != nil {
		return "", err
	}
	defer os.Remove(f.Name())
	defer f.Close()
	if err := unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLK, &unix.Flock_t{Type: unix.F_WRLCK}); err != nil {
		return "", err
	}
	return something("/proc/locks")
}

// shown tells whether there is anything in a file or directory.
func shown(path string) (string, error) {
	if list, err := os.ReadDir(path); err == nil {
		if len(list) == 0 {
			return "", errNothing
		}
		return list[0].Name(), nil
	}
	return something(path)
}

// processes looks for some that are not below the init of the guest.
func processes(*Ground) (string, error) {
	list, err := os.ReadDir("/proc")
	if err != nil {
		return "", err
	}
	for _, e := range list {
		if _, err := strconv.Atoi(e.Name()); err != nil {
			continue
		}
		name, err := read("/proc/" + e.Name() + "/comm")
		if err == nil && strings.TrimSpace(name) != "exe" && !strings.HasPrefix(Name, strings.TrimSpace(name)) && !strings.HasPrefix(strings.TrimSpace(name), "vserver-") {
			return e.Name() + " is " + name, nil
		}
	}
	return "", errNothing
}

// Again is a script whose interpreter is whatever program executes it: who comes into the
// guest with it could be made to be the host's program there (CVE-2019-5736).
const Again = "/attack-again"

// catch lies in wait for such programs: of none that it gets hold of may it write the file
// when that is not being executed any more. It writes nothing.
func catch(in io.Reader, out io.Writer) int {
	end := make(chan struct{})
	go func() { io.Copy(io.Discard, in); close(end) }()
	// The argument ends a test's program at once.
	if err := os.WriteFile(Again, []byte("#!/proc/self/exe -test.list=^$\n"), 0o755); err != nil {
		fmt.Fprintln(out, err)
		return 1
	}
	fmt.Fprintln(out, "ready")
	mine, err := os.Readlink("/proc/self/exe")
	for err == nil {
		select {
		case <-end:
			return 0
		default:
		}
		list, _ := os.ReadDir("/proc")
		for _, e := range list {
			exe := "/proc/" + e.Name() + "/exe"
			if to, err := os.Readlink(exe); err != nil || to == mine || strings.HasPrefix(to, "/memfd:") {
				continue
			}
			fd, err := unix.Open(exe, unix.O_PATH|unix.O_CLOEXEC, 0)
			if err != nil {
				continue
			}
			held := "/proc/self/fd/" + strconv.Itoa(fd)
			to, _ := os.Readlink(held)
			if err := unix.Faccessat(unix.AT_FDCWD, held, unix.W_OK, unix.AT_EACCESS); err == nil && to != mine && !strings.HasPrefix(to, "/memfd:") {
				fmt.Fprintln(out, "found", to)
			}
			unix.Close(fd)
		}
	}
	fmt.Fprintln(out, err)
	return 1
}

// watch lies in wait for programs that enter the guest: until one executes what it came
// for, nobody may look into its files or trace it.
func watch(in io.Reader, out io.Writer) int {
	end := make(chan struct{})
	go func() { io.Copy(io.Discard, in); close(end) }()
	fmt.Fprintln(out, "ready")
	mine, err := os.Readlink("/proc/self/exe")
	if err != nil {
		fmt.Fprintln(out, err)
		return 1
	}
	seen, code := 0, 0
	for {
		select {
		case <-end:
			fmt.Fprintln(out, "looked", seen)
			return code
		default:
		}
		list, _ := os.ReadDir("/proc")
		for _, e := range list {
			pid, err := strconv.Atoi(e.Name())
			if err != nil || pid == 1 || pid == os.Getpid() {
				continue
			}
			seen++
			// A program that has come to its own is anybody's who is root here.
			exe, err := os.Readlink("/proc/" + e.Name() + "/exe")
			// So has the small one that stands between without a user namespace: sealed memory,
			// which has no more rights than what it executes.
			if err == nil && exe != mine && exe != "" && !strings.HasPrefix(exe, "/memfd:vserver-init") {
				fmt.Fprintln(out, "found", exe)
				code = 1
			}
		}
	}
}
