package need

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Root asks for uid 0 in the initial user namespace.
func Root(t testing.TB) {
	t.Helper()
	ask(t, "root", func() string {
		if os.Geteuid() != 0 {
			return fmt.Sprintf("uid is %d", os.Geteuid())
		}
		b, err := os.ReadFile("/proc/self/uid_map")
		if err == nil && strings.Join(strings.Fields(string(b)), " ") != "0 0 4294967295" {
			return "in a user namespace"
		}
		return ""
	}())
}

// Unprivileged asks for a uid other than 0, for tests of what root may and others
// may not.
func Unprivileged(t testing.TB) {
	t.Helper()
	missing := ""
	if os.Geteuid() == 0 {
		missing = "uid is 0"
	}
	ask(t, "unprivileged", missing)
}

// VMWord is on the kernel's command line of the throw-away machines that vmexec
// boots, and on no other's.
const VMWord = "vserver.throwaway"

// VM asks for a throw-away machine: for tests that would hurt a host that somebody
// uses (reboot, out of memory, loading modules, global sysctls).
func VM(t testing.TB) {
	t.Helper()
	missing := ""
	if !InVM() {
		missing = "not a machine to throw away"
	}
	ask(t, "vm", missing)
}

// InVM tells whether this is a throw-away machine.
func InVM() bool {
	b, err := os.ReadFile("/proc/cmdline")
	return err == nil && slices.Contains(strings.Fields(string(b)), VMWord)
}

// Distribution asks for a host with a distribution on it, of which guests can be made:
// one that knows its packages.
func Distribution(t testing.TB) {
	t.Helper()
	missing := "no database of packages that we know"
	for _, path := range []string{"/var/lib/dpkg/status", "/var/lib/rpm", "/usr/lib/sysimage/rpm", "/lib/apk/db", "/var/lib/pacman/local"} {
		if _, err := os.Stat(path); err == nil {
			missing = ""
		}
	}
	ask(t, "distribution", missing)
}

// Controllers asks for these controllers of cgroup v2, such as memory, cpu, pids, io.
func Controllers(t testing.TB, names ...string) {
	t.Helper()
	mount := cgroupMounts()["cgroup2"]
	have, err := os.ReadFile(filepath.Join(mount, "cgroup.controllers"))
	for _, name := range names {
		missing := ""
		switch {
		case mount == "" || err != nil:
			missing = "no cgroup v2 mount"
		case !slices.Contains(strings.Fields(string(have)), name):
			missing = "not on cgroup v2 here"
		}
		ask(t, "controllers:"+name, missing)
	}
}

// ControllersV1 asks for these controllers of cgroup v1, as a hybrid host has them.
func ControllersV1(t testing.TB, names ...string) {
	t.Helper()
	mounts := cgroupMounts()
	for _, name := range names {
		missing := ""
		if mounts[name] == "" {
			missing = "not mounted as cgroup v1"
		}
		ask(t, "v1:"+name, missing)
	}
}

// cgroupMounts gives where cgroup v2 ("cgroup2") and the v1 controllers (by name)
// are mounted.
func cgroupMounts() map[string]string {
	out := map[string]string{}
	for _, m := range mounts() {
		switch m.kind {
		case "cgroup2":
			out["cgroup2"] = m.point
		case "cgroup":
			for o := range strings.SplitSeq(m.options, ",") {
				out[o] = m.point
			}
		}
	}
	return out
}

// Cgroup2 asks for a cgroup v2 mount, with or without controllers, and returns its
// directory.
func Cgroup2(t testing.TB) string {
	t.Helper()
	mount, missing := cgroupMounts()["cgroup2"], ""
	if mount == "" {
		missing = "not mounted"
	}
	ask(t, "cgroup2", missing)
	return mount
}

// Overlay asks for root and an overlay file system.
func Overlay(t testing.TB) {
	t.Helper()
	Root(t)
	ask(t, "overlay", noFilesystem("overlay"))
}

// Filesystem asks for root and a file system type, loading its module if there is
// one: "erofs", "ext4", "fuse".
func Filesystem(t testing.TB, kind string) {
	t.Helper()
	Root(t)
	ask(t, "filesystem:"+kind, noFilesystem(kind))
}

func noFilesystem(kind string) string {
	fd, err := unix.Fsopen(kind, unix.FSOPEN_CLOEXEC)
	if err != nil {
		return fmt.Sprintf("fsopen: %v", err)
	}
	unix.Close(fd)
	return ""
}

// Loop asks for root and loop devices.
func Loop(t testing.TB) {
	t.Helper()
	Root(t)
	f, err := os.Open("/dev/loop-control")
	ask(t, "loop", text(err))
	f.Close()
}

// Resources asks for CAP_SYS_RESOURCE, which root may lack in a container.
func Resources(t testing.TB) {
	t.Helper()
	const bit = 1 << unix.CAP_SYS_RESOURCE
	status, err := os.ReadFile("/proc/self/status")
	_, caps, _ := strings.Cut(string(status), "CapEff:\t")
	line, _, _ := strings.Cut(caps, "\n")
	held, perr := strconv.ParseUint(line, 16, 64)
	missing := text(errors.Join(err, perr))
	if missing == "" && held&bit == 0 {
		missing = "no CAP_SYS_RESOURCE"
	}
	ask(t, "resources", missing)
}

// Namespaces asks for the right to make namespaces of all these kinds at once, given
// as flags of clone(2): syscall.CLONE_NEWUSER|syscall.CLONE_NEWNET.
func Namespaces(t testing.TB, flags uintptr) {
	t.Helper()
	path, err := exec.LookPath("true")
	if err == nil {
		c := exec.Command(path)
		c.SysProcAttr = &syscall.SysProcAttr{Cloneflags: flags}
		err = c.Run()
	}
	ask(t, "namespaces", text(err))
}

// Kernel asks for a Linux of at least this version.
func Kernel(t testing.TB, major, minor int) {
	t.Helper()
	var u unix.Utsname
	err := unix.Uname(&u)
	release := unix.ByteSliceToString(u.Release[:])
	var have, sub int
	if err == nil {
		_, err = fmt.Sscanf(release, "%d.%d", &have, &sub)
	}
	missing := text(err)
	if err == nil && (have < major || have == major && sub < minor) {
		missing = "this is " + release
	}
	ask(t, fmt.Sprintf("kernel:%d.%d", major, minor), missing)
}

// Command asks for a program in PATH and returns its path.
func Command(t testing.TB, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if errors.Is(err, exec.ErrNotFound) {
		err = errors.New("not installed")
	}
	ask(t, "command:"+name, text(err))
	return path
}

// Tun asks for a kernel that makes links of programs.
func Tun(t testing.TB) {
	t.Helper()
	f, err := os.OpenFile("/dev/net/tun", os.O_RDWR, 0)
	if err == nil {
		f.Close()
	}
	ask(t, "tun", text(err))
}

// Mirror asks for a way to Debian's archive.
func Mirror(t testing.TB) {
	t.Helper()
	c, err := net.DialTimeout("tcp", "deb.debian.org:80", 10*time.Second)
	ask(t, "mirror", text(err))
	c.Close()
}

// Go asks for the Go toolchain with the modules and the cache that it builds from,
// which the user nobody does not have.
func Go(t testing.TB) {
	t.Helper()
	ask(t, "go", noGo())
}

// HasGo tells whether [Go] would let a test go on, for one that only does more then.
func HasGo() bool { return noGo() == "" }

func noGo() string {
	out, err := exec.Command("go", "env", "GOCACHE", "GOMODCACHE").Output()
	if err != nil {
		return err.Error()
	}
	for dir := range strings.Lines(string(out)) {
		dir = strings.TrimSpace(dir)
		if unix.Access(dir, unix.R_OK|unix.X_OK) != nil {
			return "no access to " + dir
		}
	}
	return ""
}

// Long asks for time: the test takes more than a few seconds and is left out of
// `go test -short`.
func Long(t testing.TB) {
	t.Helper()
	missing := ""
	if testing.Short() {
		missing = "-short is set"
	}
	ask(t, "time", missing)
}

// Swift asks for processors that are not emulated: for tests with many rounds whose subject
// is the same on every kernel that a throw-away machine has. They would take minutes there.
func Swift(t testing.TB) {
	t.Helper()
	missing := ""
	if InVM() {
		missing = "emulated processors"
	}
	ask(t, "swift", missing)
}

// text is the error's text, "" for none.
func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
