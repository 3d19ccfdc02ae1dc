package seccomp

import (
	"testing"

	"golang.org/x/sys/unix"
)

// TestNarrow holds each narrow right against the calls that it is about, with it and
// without.
func TestNarrow(t *testing.T) {
	minus := func(n int32) uint64 { return uint64(uint32(n)) }
	at := unix.AT_FDCWD
	cwd := uint64(at)
	done := uint32(unix.SECCOMP_RET_ERRNO)
	eperm, enosys := done|uint32(unix.EPERM), done|uint32(unix.ENOSYS)
	const ask = unix.SECCOMP_RET_USER_NOTIF
	node := Narrow{AskedNodes: true}
	for _, c := range []struct {
		with Narrow
		nr   uint32
		args []uint64
		want uint32
	}{
		{Narrow{Without: []string{"sethostname"}}, unix.SYS_SETHOSTNAME, nil, eperm},
		{Narrow{Without: []string{"sethostname"}}, unix.SYS_SETDOMAINNAME, nil, permit},
		{Narrow{Without: []string{"kexec_load"}}, unix.SYS_KEXEC_LOAD, nil, eperm},
		{Narrow{NoNew: true}, unix.SYS_UNSHARE, []uint64{unix.CLONE_NEWNS}, eperm},
		{Narrow{NoNew: true}, unix.SYS_UNSHARE, []uint64{unix.CLONE_NEWTIME}, eperm},
		{Narrow{NoNew: true}, unix.SYS_UNSHARE, []uint64{unix.CLONE_FS}, permit},
		{Narrow{NoNew: true}, unix.SYS_CLONE, []uint64{unix.CLONE_NEWPID}, eperm},
		{Narrow{NoNew: true}, unix.SYS_CLONE, []uint64{uint64(unix.SIGCHLD)}, permit},
		{Narrow{NoNew: true}, unix.SYS_CLONE3, nil, enosys},
		{Narrow{NoRemount: true}, unix.SYS_MOUNT, []uint64{0, 0, 0, unix.MS_REMOUNT | unix.MS_BIND}, eperm},
		{Narrow{NoRemount: true}, unix.SYS_MOUNT, []uint64{0, 0, 0, unix.MS_BIND}, permit},
		{Narrow{TypeAhead: true}, unix.SYS_IOCTL, []uint64{0, unix.TIOCSTI}, permit},
		{Narrow{TypeAhead: true}, unix.SYS_IOCTL, []uint64{0, unix.TIOCSETD}, eperm},
		{Narrow{}, unix.SYS_IOCTL, []uint64{3, unix.SIOCGIFBR}, eperm},
		{Narrow{}, unix.SYS_IOCTL, []uint64{3, 0x8982}, eperm}, // SIOCGIFVLAN
		{Narrow{}, unix.SYS_SOCKET, []uint64{unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_GENERIC}, done | uint32(unix.EPROTONOSUPPORT)},
		{Narrow{Links: true}, unix.SYS_IOCTL, []uint64{3, unix.SIOCBRADDBR}, permit},
		{Narrow{Links: true}, unix.SYS_SOCKET, []uint64{unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_GENERIC}, permit},
		{Narrow{FixNice: true}, unix.SYS_SETPRIORITY, []uint64{0, 0, minus(-5)}, done},
		{Narrow{FixNice: true}, unix.SYS_SETPRIORITY, []uint64{0, 0, 5}, permit},
		{Narrow{FixIONice: true}, unix.SYS_IOPRIO_SET, []uint64{1, 0, 1<<13 | 4}, done},
		{Narrow{FixIONice: true}, unix.SYS_IOPRIO_SET, []uint64{1, 0, 2<<13 | 3}, done},
		{Narrow{FixIONice: true}, unix.SYS_IOPRIO_SET, []uint64{1, 0, 2<<13 | 4}, permit},
		{Narrow{FixIONice: true}, unix.SYS_IOPRIO_SET, []uint64{1, 0, 3 << 13}, permit},
		{Narrow{FixIONice: true}, unix.SYS_IOPRIO_SET, []uint64{1, 0, 0}, permit},
		{node, unix.SYS_MKNODAT, []uint64{cwd, 0, unix.S_IFCHR | 0o666, 0x103}, ask},
		{node, unix.SYS_MKNODAT, []uint64{cwd, 0, unix.S_IFBLK | 0o666, 0x800}, ask},
		{node, unix.SYS_MKNODAT, []uint64{cwd, 0, unix.S_IFBLK, 0}, ask},
		{node, unix.SYS_MKNODAT, []uint64{cwd, 0, unix.S_IFCHR, 0}, permit},
		{node, unix.SYS_MKNODAT, []uint64{cwd, 0, unix.S_IFIFO | 0o644, 0x103}, permit},
		{node, unix.SYS_MKNODAT, []uint64{cwd, 0, unix.S_IFSOCK, 0x103}, permit},
		{Narrow{}, unix.SYS_MKNODAT, []uint64{cwd, 0, unix.S_IFBLK, 0x800}, permit}, // the kernel refuses it
	} {
		for _, p := range []Policy{{Private: true, Capped: true}, {Private: true, Nesting: true}} {
			p.Narrow = c.with
			prog, err := Compile(p)
			if err != nil {
				t.Fatal(err)
			}
			d := data{nr: c.nr, arch: native().arch}
			for i, a := range c.args {
				d.args[i] = a | 0xdead<<32
			}
			if got, _ := run(t, prog, d); got != c.want {
				t.Errorf("%+v %d%v: %#x, want %#x", p, c.nr, c.args, got, c.want)
			}
		}
	}
}

// TestNarrowCosts wants a filter without narrow rights to be what it was.
func TestNarrowCosts(t *testing.T) {
	plain, _ := Compile(Policy{Private: true, Capped: true})
	all, err := Compile(Policy{Private: true, Capped: true, Narrow: Narrow{Without: []string{"sethostname"}, NoNew: true,
		NoRemount: true, TypeAhead: true, FixNice: true, FixIONice: true, AskedNodes: true}})
	if err != nil || len(all) <= len(plain) || len(all) > 2*len(plain) {
		t.Errorf("%d instructions, %d with all, %v", len(plain), len(all), err)
	}
	if got := (Policy{Narrow: Narrow{AskedNodes: true}}).Listened(); !got {
		t.Error("nodes need a listener")
	}
}

// TestAsked wants calls with narrow rights of a supervisor's left to it, wherever the
// memory is that they name, and questions not.
func TestAsked(t *testing.T) {
	const ask = unix.SECCOMP_RET_USER_NOTIF
	refused := unix.SECCOMP_RET_ERRNO | uint32(unix.EPERM)
	limit, quotas := Narrow{AskedLimit: true}, Narrow{AskedQuota: true}
	for _, c := range []struct {
		with Narrow
		nr   uint32
		args [6]uint64
		want uint32
	}{
		{limit, unix.SYS_SETRLIMIT, [6]uint64{7, 0x7fff00001000}, ask},
		{limit, unix.SYS_PRLIMIT64, [6]uint64{0, 7, 0x7fff00001000}, ask},
		{limit, unix.SYS_PRLIMIT64, [6]uint64{0, 7, 1 << 32}, ask},
		{limit, unix.SYS_PRLIMIT64, [6]uint64{0, 7, 1}, ask},
		{limit, unix.SYS_PRLIMIT64, [6]uint64{0, 7, 0, 0x7fff00001000}, permit},
		{limit, unix.SYS_GETRLIMIT, [6]uint64{7}, permit},
		{limit, unix.SYS_QUOTACTL, [6]uint64{}, refused},
		{quotas, unix.SYS_QUOTACTL, [6]uint64{}, ask},
		{quotas, unix.SYS_QUOTACTL_FD, [6]uint64{}, ask},
		{quotas, unix.SYS_PRLIMIT64, [6]uint64{0, 7, 1}, permit},
		{quotas, unix.SYS_SWAPON, [6]uint64{}, refused},
	} {
		p := Policy{Private: true, Capped: true, Narrow: c.with}
		if !p.Listened() {
			t.Errorf("%+v needs no listener", c.with)
		}
		prog, err := Compile(p)
		if err != nil {
			t.Fatal(err)
		}
		if got, _ := run(t, prog, data{nr: c.nr, arch: native().arch, args: c.args}); got != c.want {
			t.Errorf("%+v %d%v: %#x, want %#x", c.with, c.nr, c.args, got, c.want)
		}
	}
}
