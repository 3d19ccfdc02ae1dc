package seccomp

import (
	"testing"

	"golang.org/x/sys/unix"
)

// TestArguments holds the checks of arguments against a table of cases, each also
// with rubbish in the half of the register that the kernel does not look at.
func TestArguments(t *testing.T) {
	own, bare, nest := Policy{Private: true}, Policy{}, Policy{Private: true, Nesting: true}
	told := Policy{Private: true, Notify: true}
	const flags = unix.SOCK_CLOEXEC | unix.SOCK_NONBLOCK
	for _, c := range []struct {
		p    Policy
		nr   uint32
		args []uint64
		want string
	}{
		{own, unix.SYS_SOCKET, []uint64{unix.AF_UNIX, unix.SOCK_SEQPACKET, 0}, "allow"},
		{own, unix.SYS_SOCKET, []uint64{unix.AF_INET, unix.SOCK_STREAM | flags, 0}, "allow"},
		{own, unix.SYS_SOCKET, []uint64{unix.AF_INET, unix.SOCK_STREAM, unix.IPPROTO_TCP}, "allow"},
		{own, unix.SYS_SOCKET, []uint64{unix.AF_INET6, unix.SOCK_DGRAM | flags, unix.IPPROTO_UDP}, "allow"},
		{own, unix.SYS_SOCKET, []uint64{unix.AF_INET, unix.SOCK_DGRAM, unix.IPPROTO_ICMP}, "allow"},
		{own, unix.SYS_SOCKET, []uint64{unix.AF_INET6, unix.SOCK_DGRAM, unix.IPPROTO_ICMPV6}, "allow"},
		{own, unix.SYS_SOCKET, []uint64{unix.AF_INET, unix.SOCK_RAW | flags, unix.IPPROTO_RAW}, "allow"},
		{own, unix.SYS_SOCKET, []uint64{unix.AF_INET, unix.SOCK_DGRAM, unix.IPPROTO_UDPLITE}, "EPROTONOSUPPORT"},
		{own, unix.SYS_SOCKET, []uint64{unix.AF_INET, unix.SOCK_STREAM, unix.IPPROTO_MPTCP}, "EPROTONOSUPPORT"},
		{own, unix.SYS_SOCKET, []uint64{unix.AF_INET6, unix.SOCK_STREAM, unix.IPPROTO_SCTP}, "EPROTONOSUPPORT"},
		{own, unix.SYS_SOCKET, []uint64{unix.AF_INET, unix.SOCK_SEQPACKET, unix.IPPROTO_SCTP}, "ESOCKTNOSUPPORT"},
		{own, unix.SYS_SOCKET, []uint64{unix.AF_INET, unix.SOCK_DCCP, 0}, "ESOCKTNOSUPPORT"},
		{own, unix.SYS_SOCKET, []uint64{unix.AF_INET, 10 | flags, 0}, "ESOCKTNOSUPPORT"},
		{own, unix.SYS_SOCKET, []uint64{unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_ROUTE}, "allow"},
		{own, unix.SYS_SOCKET, []uint64{unix.AF_NETLINK, unix.SOCK_DGRAM, unix.NETLINK_KOBJECT_UEVENT}, "allow"},
		{own, unix.SYS_SOCKET, []uint64{unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_AUDIT}, "EPROTONOSUPPORT"},
		{own, unix.SYS_SOCKET, []uint64{unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_XFRM}, "EPROTONOSUPPORT"},
		{own, unix.SYS_SOCKET, []uint64{unix.AF_VSOCK, unix.SOCK_STREAM, 0}, "EAFNOSUPPORT"},
		{own, unix.SYS_SOCKET, []uint64{unix.AF_ALG, unix.SOCK_SEQPACKET, 0}, "EAFNOSUPPORT"},
		{own, unix.SYS_SOCKET, []uint64{unix.AF_KEY, unix.SOCK_RAW, 2}, "EAFNOSUPPORT"},
		{own, unix.SYS_SOCKET, []uint64{unix.AF_PACKET, unix.SOCK_RAW, 3}, "EAFNOSUPPORT"},
		{own, unix.SYS_SOCKET, []uint64{200, unix.SOCK_RAW, 3}, "EAFNOSUPPORT"},
		{nest, unix.SYS_SOCKET, []uint64{unix.AF_PACKET, unix.SOCK_RAW, 3}, "allow"},
		{nest, unix.SYS_SOCKET, []uint64{unix.AF_VSOCK, unix.SOCK_STREAM, 0}, "EAFNOSUPPORT"},
		{told, unix.SYS_SOCKET, []uint64{unix.AF_INET, unix.SOCK_STREAM | flags, 0}, "notify"},
		{told, unix.SYS_SOCKET, []uint64{unix.AF_INET6, unix.SOCK_DGRAM, unix.IPPROTO_ICMPV6}, "notify"},
		{told, unix.SYS_SOCKET, []uint64{unix.AF_INET, unix.SOCK_STREAM, unix.IPPROTO_MPTCP}, "EPROTONOSUPPORT"},
		{told, unix.SYS_SOCKET, []uint64{unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_RAW}, "allow"}, // of its own network
		{told, unix.SYS_SOCKET, []uint64{unix.AF_UNIX, unix.SOCK_STREAM, 0}, "allow"},
		{told, unix.SYS_SOCKET, []uint64{unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_ROUTE}, "allow"},
		{told, unix.SYS_SOCKET, []uint64{unix.AF_VSOCK, unix.SOCK_STREAM, 0}, "EAFNOSUPPORT"},
		{told, unix.SYS_SOCKETPAIR, []uint64{unix.AF_UNIX, unix.SOCK_STREAM, 0}, "allow"},
		{told, unix.SYS_IOCTL, []uint64{3, unix.SIOCGIFCONF}, "notify"},
		{told, unix.SYS_IOCTL, []uint64{3, unix.SIOCGIFNAME}, "notify"},
		{told, unix.SYS_IOCTL, []uint64{3, unix.SIOCSIFADDR}, "EPERM"},
		{told, unix.SYS_IOCTL, []uint64{3, unix.SIOCETHTOOL}, "EPERM"},
		{told, unix.SYS_IOCTL, []uint64{3, 0x894b}, "allow"}, // SIOCOUTQNSD
		{told, unix.SYS_IOCTL, []uint64{3, 0x894c}, "EPERM"}, // SIOCGSKNS
		{told, unix.SYS_IOCTL, []uint64{3, 0x8b01}, "EPERM"}, // SIOCGIWNAME
		{told, unix.SYS_IOCTL, []uint64{3, unix.SIOCOUTQ}, "allow"},
		{told, unix.SYS_IOCTL, []uint64{3, unix.TUNSETIFF}, "allow"},
		{told, unix.SYS_IOCTL, []uint64{3, unix.TIOCSTI}, "EPERM"},
		{own, unix.SYS_IOCTL, []uint64{3, unix.SIOCETHTOOL}, "allow"},
		{own, unix.SYS_SOCKETPAIR, []uint64{unix.AF_UNIX, unix.SOCK_STREAM, 0}, "allow"},
		{own, unix.SYS_SOCKETPAIR, []uint64{unix.AF_TIPC, unix.SOCK_STREAM, 0}, "ENOTSUP"},

		{own, unix.SYS_CLONE, []uint64{uint64(unix.SIGCHLD)}, "allow"},
		{own, unix.SYS_CLONE, []uint64{unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWNET}, "allow"},
		{own, unix.SYS_CLONE, []uint64{unix.CLONE_NEWNS | unix.CLONE_NEWUSER}, "EPERM"},
		{own, unix.SYS_UNSHARE, []uint64{unix.CLONE_NEWNS | unix.CLONE_NEWTIME}, "allow"},
		{own, unix.SYS_UNSHARE, []uint64{unix.CLONE_NEWUSER}, "EPERM"},
		{nest, unix.SYS_UNSHARE, []uint64{unix.CLONE_NEWUSER}, "allow"},
		{nest, unix.SYS_CLONE, []uint64{unix.CLONE_NEWUSER}, "allow"},
		{bare, unix.SYS_CLONE, []uint64{unix.CLONE_THREAD | unix.CLONE_VM | unix.CLONE_FS | unix.CLONE_SETTLS}, "allow"},
		{bare, unix.SYS_CLONE, []uint64{unix.CLONE_VFORK | 0x80 | uint64(unix.SIGCHLD)}, "allow"},
		{bare, unix.SYS_CLONE, []uint64{unix.CLONE_NEWNET}, "EPERM"},
		{bare, unix.SYS_CLONE, []uint64{unix.CLONE_NEWCGROUP}, "EPERM"},
		{bare, unix.SYS_UNSHARE, []uint64{unix.CLONE_FILES | unix.CLONE_FS | unix.CLONE_SYSVSEM}, "allow"},
		{bare, unix.SYS_UNSHARE, []uint64{unix.CLONE_NEWTIME}, "EPERM"},
		{bare, unix.SYS_UNSHARE, []uint64{unix.CLONE_NEWIPC}, "EPERM"},

		{own, unix.SYS_IOCTL, []uint64{0, unix.TCGETS}, "allow"},
		{own, unix.SYS_IOCTL, []uint64{0, unix.TIOCSTI}, "EPERM"},
		{own, unix.SYS_IOCTL, []uint64{0, 0x541c}, "EPERM"},
		{own, unix.SYS_IOCTL, []uint64{0, unix.TIOCSETD}, "EPERM"},
		{own, unix.SYS_PERSONALITY, []uint64{0xffffffff}, "allow"},
		{own, unix.SYS_PERSONALITY, []uint64{0x8 | 0x20000 | 0x40000}, "allow"},
		{own, unix.SYS_PERSONALITY, []uint64{0x400000}, "EPERM"},
		{own, unix.SYS_PERSONALITY, []uint64{0x100000}, "EPERM"},
		{own, unix.SYS_PERSONALITY, []uint64{0x4000001}, "EPERM"},
		{own, unix.SYS_REQUEST_KEY, []uint64{1, 1, 0, 0}, "allow"},
		{own, unix.SYS_REQUEST_KEY, []uint64{1, 1, 1, 0}, "EPERM"},
		{own, unix.SYS_REQUEST_KEY, []uint64{1, 1, 1 << 32, 0}, "EPERM"},
		{bare, unix.SYS_REQUEST_KEY, []uint64{1, 1, 0, 0}, "EPERM"},
	} {
		prog := compile(t, c.p)
		for _, high := range []uint64{0, 0xdeadbeef << 32} {
			d := data{nr: c.nr, arch: native().arch}
			for i, a := range c.args {
				d.args[i] = a | high
			}
			if c.nr == unix.SYS_REQUEST_KEY {
				d.args[2] = c.args[2] // a pointer: all of it counts
			}
			if got, _ := run(t, prog, d); said(got) != c.want {
				t.Errorf("%+v: call %d %#x: %s, want %s", c.p, c.nr, d.args[:len(c.args)], said(got), c.want)
			}
		}
	}
}

// TestAttributes holds that attributes of files are set only where that is let through.
func TestAttributes(t *testing.T) {
	own, chattr := Policy{Private: true}, Policy{Private: true, Extra: []string{FileFlags}}
	for _, c := range []struct {
		p    Policy
		nr   uint32
		args []uint64
		want string
	}{
		{own, unix.SYS_IOCTL, []uint64{3, unix.FS_IOC_GETFLAGS}, "allow"},
		{own, unix.SYS_IOCTL, []uint64{3, unix.FS_IOC_SETFLAGS}, "ENOTSUP"},
		{own, unix.SYS_IOCTL, []uint64{3, 0x40046602}, "ENOTSUP"}, // FS_IOC32_SETFLAGS
		{own, unix.SYS_IOCTL, []uint64{3, 0x401c5820}, "ENOTSUP"}, // FS_IOC_FSSETXATTR
		{own, 469, []uint64{3}, "ENOSYS"},                         // file_setattr
		{chattr, unix.SYS_IOCTL, []uint64{3, unix.FS_IOC_SETFLAGS}, "allow"},
		{chattr, 469, []uint64{3}, "allow"},
	} {
		d := data{nr: c.nr, arch: native().arch}
		copy(d.args[:], c.args)
		if got, _ := run(t, compile(t, c.p), d); said(got) != c.want {
			t.Errorf("call %d %#x: %s, want %s", c.nr, c.args, said(got), c.want)
		}
	}
}

// TestCores holds that nobody has a core to himself, and what else prctl(2) does is let through.
func TestCores(t *testing.T) {
	for _, p := range []Policy{{Private: true}, {}, {Private: true, Nesting: true}} {
		prog := compile(t, p)
		for option, want := range map[uint64]string{unix.PR_SET_NAME: "allow", unix.PR_SCHED_CORE: "EINVAL", 1<<32 | unix.PR_SCHED_CORE: "EINVAL"} {
			d := data{nr: unix.SYS_PRCTL, arch: native().arch}
			d.args[0], d.args[1] = option, unix.PR_SCHED_CORE_CREATE
			if got, _ := run(t, prog, d); said(got) != want {
				t.Errorf("%+v: prctl %#x: %s, want %s", p, option, said(got), want)
			}
		}
	}
}
