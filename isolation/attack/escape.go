package attack

import (
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// escapes are the classic ways out of a root directory, and sideways.
func escapes() []Attack {
	return []Attack{
		{"B", 33, "chroot with a directory kept open", keptOpen, denied(), nil},
		{"B", 33, "chroot twice", twice, denied(), nil},
		{"B", 33, "up from the root", func(*Ground) (string, error) { return above("/") }, denied(), nil},
		{"B", 33, "take the root away", noRoot, denied(syscall.EINVAL, syscall.EBUSY), nil},
		{"B", 33, "the root of the init", func(*Ground) (string, error) { return above("/proc/1/root/") }, denied(), nil},
		{"B", 33, "join the namespaces of the init of the machine", joinFirst, denied(syscall.ESRCH, syscall.ENOENT), nil},
		{"B", 23, "register a program for foreign binaries", binfmt, absent2(syscall.EBUSY), func(g *Ground) string {
			if g.Private && g.since(6, 7) {
				return "the list is the guest's own since Linux 6.7"
			}
			return ""
		}},
		{"A", 9, "a program that takes the owner's rights", func(*Ground) (string, error) {
			// What it is worth is looked at on the host: see package isolation.
			if err := os.WriteFile("/attack-suid", nil, 0o755); err != nil {
				return "", err
			}
			return "", os.Chmod("/attack-suid", 0o755|os.ModeSetuid)
		}, denied(), always("its owner is looked at on the host")},
	}
}

type place struct{ dev, ino uint64 }

func at(path string) (place, error) {
	var st unix.Stat_t
	err := unix.Stat(path, &st)
	return place{uint64(st.Dev), st.Ino}, err
}

// above climbs from a directory and tells when it comes to another root than "/".
func above(dir string) (string, error) {
	home, err := at("/")
	if err != nil {
		return "", err
	}
	top := strings.TrimRight(dir, "/") + strings.Repeat("/..", 64)
	return reached(home, top)
}

func reached(home place, top string) (string, error) {
	there, err := at(top)
	if err != nil {
		return "", err
	}
	if there != home {
		return "another root", nil
	}
	return "", errNothing
}

func keptOpen(*Ground) (string, error) {
	home, err := at("/")
	if err != nil {
		return "", err
	}
	dir, err := scratch()
	if err != nil {
		return "", err
	}
	fd, err := unix.Open("/", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return "", err
	}
	if err := unix.Chroot(dir); err != nil {
		return "", err
	}
	if err := unix.Fchdir(fd); err != nil {
		return "", err
	}
	return reached(home, "."+strings.Repeat("/..", 64))
}

func twice(*Ground) (string, error) {
	home, err := at("/")
	if err != nil {
		return "", err
	}
	for range 2 {
		dir, err := scratch()
		if err != nil {
			return "", err
		}
		defer os.RemoveAll(dir)
		if err := unix.Chroot(dir); err != nil {
			return "", err
		}
		if err := os.Mkdir("/tmp", 0o755); err != nil {
			return "", err
		}
	}
	return reached(home, "."+strings.Repeat("/..", 64))
}

// noRoot unmounts the root in mounts of its own.
func noRoot(*Ground) (string, error) {
	if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
		return "", err
	}
	home, err := at("/")
	if err != nil {
		return "", err
	}
	if err := unix.Unmount("/", unix.MNT_DETACH); err != nil {
		return "", err
	}
	return reached(home, "/..")
}

// joinFirst looks for a process that is not of the guest's namespaces, and joins them.
func joinFirst(*Ground) (string, error) {
	own, err := os.Readlink("/proc/self/ns/pid")
	if err != nil {
		return "", err
	}
	list, err := os.ReadDir("/proc")
	if err != nil {
		return "", err
	}
	for _, e := range list {
		ns := "/proc/" + e.Name() + "/ns/pid"
		if to, err := os.Readlink(ns); err == nil && to != own {
			return ns + " is " + to, nil
		}
	}
	return "", errNothing
}

func binfmt(*Ground) (string, error) {
	return fresh("binfmt_misc", func(dir string) (string, error) {
		f, err := os.OpenFile(dir+"/register", os.O_WRONLY, 0)
		if err != nil {
			return "", err
		}
		defer f.Close()
		_, err = f.WriteString(":vserver-attack:M::#VSATTACK::/bin/false:")
		return "", err
	})
}

// sockets are attacks by the network that hold in every mode.
func sockets() []Attack {
	all := []Attack{
		{"B", 27, "reach a server of the host's on 127.0.0.1", func(g *Ground) (string, error) { return dial("tcp", fmt.Sprintf("127.0.0.1:%d", g.Port)) },
			denied(syscall.ECONNREFUSED, syscall.ENETUNREACH, syscall.EADDRNOTAVAIL), nil},
		{"B", 19, "reach an abstract socket of the host's", func(g *Ground) (string, error) { return dial("unix", "@"+g.Socket) },
			denied(syscall.ECONNREFUSED), func(g *Ground) string {
				if g.Shared && !g.OwnNet && !g.since(6, 7) {
					return "mode shared has no bound for them before Linux 6.7; use private, or the flag hide_netif"
				}
				return ""
			}},
		{"B", 21, "make an interface in the host's network", link, denied(syscall.EOPNOTSUPP), func(g *Ground) string {
			if g.OwnNet {
				return "the network is the guest's own"
			}
			return ""
		}},
		{"C", 31, "flow labels of all", flowLabel, denied(syscall.ENOPROTOOPT, syscall.EAFNOSUPPORT), func(g *Ground) string {
			if g.OwnNet {
				return "in a network of its own; the kernel keeps a quarter of its 4096 for the host, and who asks for none misses none"
			}
			return ""
		}},
	}
	for _, f := range []struct {
		name   string
		family int
		row    int
	}{{"AF_VSOCK", unix.AF_VSOCK, 17}, {"AF_ALG", unix.AF_ALG, 18}, {"AF_PACKET", unix.AF_PACKET, 16}, {"AF_KEY", unix.AF_KEY, 18},
		{"AF_XDP", unix.AF_XDP, 16}, {"AF_TIPC", unix.AF_TIPC, 15}, {"AF_RDS", unix.AF_RDS, 15}, {"AF_CAN", unix.AF_CAN, 18},
		{"AF_BLUETOOTH", unix.AF_BLUETOOTH, 18}, {"AF_RXRPC", unix.AF_RXRPC, 15}, {"AF_KCM", unix.AF_KCM, 15}, {"AF_SMC", unix.AF_SMC, 15}} {
		all = append(all, Attack{"B", f.row, "socket of " + f.name, func(*Ground) (string, error) {
			fd, err := unix.Socket(f.family, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
			if err == unix.ESOCKTNOSUPPORT || err == unix.EPROTONOSUPPORT {
				fd, err = unix.Socket(f.family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
			}
			unix.Close(fd)
			return "", err
		}, denied(syscall.EAFNOSUPPORT, syscall.ESOCKTNOSUPPORT, syscall.EPROTONOSUPPORT), nil})
	}
	return all
}

func dial(network, address string) (string, error) {
	c, err := net.DialTimeout(network, address, 5*time.Second)
	if err == nil {
		c.Close()
	}
	if e, ok := err.(net.Error); ok && e.Timeout() {
		err = errNothing
	}
	return "", err
}

// link asks for a bridge by the oldest of the ways.
func link(*Ground) (string, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return "", err
	}
	defer unix.Close(fd)
	name := append([]byte("attack0"), make([]byte, 9)...)
	if err := withBytes(unix.SYS_IOCTL, name, uintptr(fd), unix.SIOCBRADDBR); err != nil {
		return "", err
	}
	withBytes(unix.SYS_IOCTL, name, uintptr(fd), unix.SIOCBRDELBR)
	return "", nil
}

// flowLabel takes a label for itself alone: there are 4096 for everybody.
func flowLabel(*Ground) (string, error) {
	fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return "", err
	}
	defer unix.Close(fd)
	const flowLabelMgr, get, create, exclusive = 32, 0, 1, 1 // IPV6_FLOWLABEL_MGR, IPV6_FL_A_GET, IPV6_FL_F_CREATE, IPV6_FL_S_EXCL
	req := make([]byte, 32)                                  // struct in6_flowlabel_req
	req[15], req[20], req[21], req[22] = 1, get, exclusive, create
	return "", unix.SetsockoptString(fd, unix.IPPROTO_IPV6, flowLabelMgr, string(req))
}

// hide goes into a control group of the name that the tool has for processes which serve the
// guest, until its input ends: those are not counted as the guest's.
func hide(in io.Reader, out io.Writer) int {
	const dir = "/sys/fs/cgroup/vserver.server"
	err := os.Mkdir(dir, 0o755)
	if err == nil {
		defer os.Remove(dir)
		err = put(dir+"/cgroup.procs", "0")
	}
	if err != nil {
		fmt.Fprintln(out, err)
	} else {
		fmt.Fprintln(out, "hidden")
	}
	io.Copy(io.Discard, in)
	put("/sys/fs/cgroup/cgroup.procs", "0")
	return 0
}
