package attack

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// tools are attacks on what the host's tools leave in the guest or touch there.
func tools() []Attack {
	return []Attack{
		{"A", 7, "files of the host's left open", func(*Ground) (string, error) { return opened("self") }, nil, nil},
		{"A", 7, "files of the host's left open in the init", func(*Ground) (string, error) { return opened("1") }, denied(), nil},
		{"A", 7, "working directory outside", outside, denied(), nil},
		{"A", 5, "capabilities that a program inherits", inherited, nil, nil},
		{"A", 2, "overwrite the init's program", func(*Ground) (string, error) {
			fd, err := unix.Open("/proc/1/exe", unix.O_WRONLY|unix.O_CLOEXEC, 0)
			unix.Close(fd)
			return "", err
		}, absent2(syscall.ETXTBSY), nil},
		{"A", 6, "make a control group above the guest's", func(*Ground) (string, error) {
			const dir = "/sys/fs/cgroup/../vserver-attack"
			defer os.Remove(dir)
			return "", os.Mkdir(dir, 0o755)
		}, absent(), nil},
		{"A", 6, "lift a limit of the guest's own control group", liftLimit, absent(), nil},
		{"A", 6, "see the control groups above by a new mount", aboveCgroups, absent2(syscall.EBUSY), nil},
		{"A", 8, "device nodes that are others", nodes, nil, nil},
	}
}

// absent2 is absent with further answers.
func absent2(more ...syscall.Errno) []syscall.Errno { return append(absent(), more...) }

// opened looks for files that a process was left with: none beyond the first three, but
// what a runtime makes for itself.
func opened(pid string) (string, error) {
	dir := "/proc/" + pid + "/fd/"
	list, err := os.ReadDir(dir)
	if err != nil {
		return "", err
	}
	for _, e := range list {
		to, err := os.Readlink(dir + e.Name())
		if err != nil || slices.Contains([]string{"0", "1", "2"}, e.Name()) || strings.HasPrefix(to, "anon_inode:") ||
			strings.HasPrefix(to, "/proc/") || strings.HasPrefix(to, "/sys/fs/cgroup/") && filepath.Base(to) == "cpu.max" { // Go's, of its own group
			continue
		}
		return e.Name() + " is " + to, nil
	}
	return "", errNothing
}

func outside(*Ground) (string, error) {
	for _, link := range []string{"/proc/self/cwd", "/proc/self/root", "/proc/1/cwd", "/proc/1/root"} {
		to, err := os.Readlink(link)
		if err != nil {
			return "", err
		}
		if to != "/" {
			return link + " is " + to, nil
		}
	}
	return "", errNothing
}

func inherited(*Ground) (string, error) {
	for _, pid := range []string{"self", "1"} {
		text, err := read("/proc/" + pid + "/status")
		if err != nil {
			return "", err
		}
		for line := range strings.Lines(text) {
			name, value, _ := strings.Cut(strings.TrimSpace(line), ":")
			if (name == "CapInh" || name == "CapAmb") && strings.Trim(value, "\t0") != "" {
				return pid + " has " + line, nil
			}
		}
	}
	return "", errNothing
}

// groupLimits are files that hold limits of a group.
var groupLimits = []string{"cpu.max", "cpu.max.burst", "cpu.weight", "cpu.weight.nice", "cpu.idle", "cpuset.cpus", "cpuset.mems",
	"memory.max", "memory.high", "memory.low", "memory.min", "memory.swap.max", "memory.zswap.max", "pids.max",
	"io.max", "io.weight", "io.bfq.weight", "io.latency", "hugetlb.2MB.max", "cgroup.max.descendants", "cgroup.max.depth"}

func liftLimit(*Ground) (string, error) { return liftIn("/sys/fs/cgroup") }

// liftIn writes to the limits of the group at dir what stands in them.
func liftIn(dir string) (string, error) {
	last := errNothing
	for _, name := range groupLimits {
		switch err := rewrite(dir + "/" + name); {
		case err == nil:
			return name, nil
		case !errors.Is(err, fs.ErrNotExist):
			last = err
		}
	}
	return "", last
}

// aboveCgroups mounts the tree anew. A group that is not the root of the tree has a
// cgroup.events.
func aboveCgroups(*Ground) (string, error) {
	dir, err := scratch()
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(dir)
	if err := unix.Mount("none", dir, "cgroup2", 0, ""); err != nil {
		return "", err
	}
	defer unix.Unmount(dir, unix.MNT_DETACH)
	if _, err := os.Stat(dir + "/cgroup.events"); err != nil {
		return "the root of the tree is mounted", nil
	}
	return "", errNothing
}

// scratch gives a directory to mount on.
func scratch() (string, error) { return os.MkdirTemp("/tmp", "attack") }

// nodes looks at /dev: the known nodes are what they are called, and there are no others.
func nodes(*Ground) (string, error) {
	known := map[string]uint64{"null": unix.Mkdev(1, 3), "zero": unix.Mkdev(1, 5), "full": unix.Mkdev(1, 7),
		"random": unix.Mkdev(1, 8), "urandom": unix.Mkdev(1, 9), "tty": unix.Mkdev(5, 0)}
	list, err := os.ReadDir("/dev")
	if err != nil {
		return "", err
	}
	for _, e := range list {
		var st unix.Stat_t
		if unix.Lstat("/dev/"+e.Name(), &st) != nil || st.Mode&unix.S_IFMT != unix.S_IFCHR && st.Mode&unix.S_IFMT != unix.S_IFBLK {
			continue
		}
		if want, ok := known[e.Name()]; !ok || st.Mode&unix.S_IFMT != unix.S_IFCHR || st.Rdev != want {
			return fmt.Sprintf("/dev/%s is %d:%d", e.Name(), unix.Major(st.Rdev), unix.Minor(st.Rdev)), nil
		}
	}
	return "", errNothing
}
