package attack

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// unmasked are attacks on what the masks of the guest's /proc lie over, by a second one that
// its root mounts, as container runtimes inside do.
func unmasked() []Attack {
	b := func(row int, verb, name string, do func(path string) (string, error), allowed func(*Ground) string) Attack {
		return Attack{"B", row, verb + " /proc/" + name + " by a proc of its own", func(*Ground) (string, error) {
			return fresh("proc", func(dir string) (string, error) { return do(dir + "/" + name) })
		}, absent2(syscall.EBUSY, syscall.EAGAIN), allowed}
	}
	all := []Attack{
		b(24, "open", "sysrq-trigger", func(path string) (string, error) { return "", opening(path, os.O_WRONLY) }, nil),
		b(24, "addresses in", "kallsyms", addresses, nil),
		b(24, "addresses in", "iomem", addresses, nil),
	}
	for _, name := range []string{"kcore", "kmsg", "kpagecount", "kpageflags", "vmallocinfo", "slabinfo", "timer_list", "pagetypeinfo"} {
		all = append(all, b(24, "read", name, something, nil))
	}
	for _, name := range []string{"1/mountinfo", "1/environ", "keys", "locks", "swaps"} {
		all = append(all, Attack{"C", 40, "names of others in /proc/" + name + " by a proc of its own", func(g *Ground) (string, error) {
			return fresh("proc", func(dir string) (string, error) { return words(g, dir+"/"+name) })
		}, absent2(syscall.EBUSY), nil})
	}
	for _, name := range []string{"interrupts", "cmdline", "acpi"} {
		a := b(40, "see", name, shown, machine())
		a.Class = "C"
		all = append(all, a)
	}
	return append(all, Attack{"C", 40, "the host's boot_id by a proc of its own", func(g *Ground) (string, error) {
		return fresh("proc", func(dir string) (string, error) { return bootID(g, dir) })
	}, absent2(syscall.EBUSY), machine()})
}

// bootID looks for the host's.
func bootID(g *Ground, proc string) (string, error) {
	text, err := read(proc + "/sys/kernel/random/boot_id")
	if err == nil && strings.TrimSpace(text) != g.BootID {
		err = errNothing
	}
	return "", err
}

// beyond are ways from a namespace of the guest's to one that is not, and from its files to
// those that its limit of disk does not count.
func beyond() []Attack {
	b := func(row int, name string, do func(*Ground) (string, error), by []syscall.Errno, allowed func(*Ground) string) Attack {
		return Attack{"B", row, name, do, by, allowed}
	}
	all := []Attack{
		b(33, "the user namespace around the guest's", space("user", unix.NS_GET_PARENT), denied(), nil),
		b(33, "the pid namespace around the guest's", space("pid", unix.NS_GET_PARENT), denied(), nil),
		b(33, "the mounts made next after the guest's", space("mnt", mountsNext), denied(syscall.ENOTTY, syscall.ENOENT), nil),
		b(33, "the mounts made last before the guest's", space("mnt", mountsBefore), denied(syscall.ENOTTY, syscall.ENOENT), nil),
		b(36, "the network of a socket", networkOf, denied(), func(g *Ground) string {
			if g.OwnNet {
				return "the network is the guest's own"
			}
			return ""
		}),
	}
	evades := func(g *Ground) string {
		if g.Private {
			return ""
		}
		return "a guest without a user namespace can evade its limit of disk: doc/limits.md"
	}
	c := func(by string, do func(*Ground) (string, error)) Attack {
		return Attack{"C", 38, "take a file out of the limit of disk by " + by, do, denied(syscall.EOPNOTSUPP, syscall.ENOTTY), evades}
	}
	return append(all, c("its flags", attributes(unix.FS_IOC_SETFLAGS)), c("its attributes", attributes(setAttributes)), c("file_setattr", fileAttributes))
}

// What x/sys/unix does not have yet.
const (
	mountsNext     = 0x8010b70b // NS_MNT_GET_NEXT, Linux 6.12
	mountsBefore   = 0x8010b70c // NS_MNT_GET_PREV
	netOfSocket    = 0x894c     // SIOCGSKNS
	setAttributes  = 0x401c5820 // FS_IOC_FSSETXATTR
	sysFileSetattr = 469        // Linux 6.17
)

// space asks one of the guest's namespaces for another.
func space(kind string, request uint) func(*Ground) (string, error) {
	return func(*Ground) (string, error) {
		own, err := os.Open("/proc/self/ns/" + kind)
		if err != nil {
			return "", err
		}
		defer own.Close()
		info := make([]byte, 16) // struct mnt_ns_info
		fd, _, errno := unix.Syscall(unix.SYS_IOCTL, own.Fd(), uintptr(request), uintptr(unsafe.Pointer(&info[0])))
		if errno != 0 {
			return "", errno
		}
		defer unix.Close(int(fd))
		return "another " + kind + " namespace", nil
	}
}

func networkOf(*Ground) (string, error) {
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return "", err
	}
	defer unix.Close(s)
	fd, err := unix.IoctlRetInt(s, netOfSocket)
	if err == nil {
		unix.Close(fd)
	}
	return "", err
}

// attributes says none of a file's, by which an overlay copies it as its own.
func attributes(request uintptr) func(*Ground) (string, error) {
	return func(*Ground) (string, error) {
		f, err := os.CreateTemp("/", "attack-attributes")
		if err != nil {
			return "", err
		}
		defer os.Remove(f.Name())
		defer f.Close()
		return "", withBytes(unix.SYS_IOCTL, make([]byte, 28), f.Fd(), request) // struct fsxattr is the longest
	}
}

func fileAttributes(*Ground) (string, error) {
	name, err := unix.BytePtrFromString("/")
	if err != nil {
		return "", err
	}
	attr := make([]byte, 24) // struct file_attr
	at := unix.AT_FDCWD
	err = raw(sysFileSetattr, uintptr(at), uintptr(unsafe.Pointer(name)), uintptr(unsafe.Pointer(&attr[0])), uintptr(len(attr)), 0)
	if errors.Is(err, syscall.EINVAL) {
		err = nil // it came as far as the file system
	}
	return "", err
}

// handed tries what a pidfd is good for that a process of a neighbour's handed over, and that
// is the standard input. It says what came off.
func handed(out io.Writer) (code int) {
	for _, a := range []struct {
		name string
		nr   uintptr
		args []uintptr
	}{
		{"took its file", unix.SYS_PIDFD_GETFD, []uintptr{0, 0, 0}},
		{"may send it signals", unix.SYS_PIDFD_SEND_SIGNAL, []uintptr{0, 0, 0, 0}},
		{"joined its mounts", unix.SYS_SETNS, []uintptr{0, unix.CLONE_NEWNS}},
		{"joined its network", unix.SYS_SETNS, []uintptr{0, unix.CLONE_NEWNET}},
		{"joined its user namespace", unix.SYS_SETNS, []uintptr{0, unix.CLONE_NEWUSER}},
		{"changed its memory", unix.SYS_PROCESS_MADVISE, []uintptr{0, 0, 0, unix.MADV_COLD, 0}},
	} {
		err := raw(a.nr, a.args...)
		if err == nil {
			fmt.Fprintln(out, a.name)
			code = 1
		}
	}
	return code
}
