package seccomp

import "golang.org/x/sys/unix"

// checks writes the parts of the program that look at arguments and gives a function
// that finds the place where a verdict is carried out.
//
// The kernel takes families, protocols, flags and requests of 32 bits and ignores
// the rest of the register; so do the checks.
func (c *code) checks(p Policy, more extra) func(verdict) label {
	yes := c.ret(permit)
	no := c.ret(errno(unix.EPERM))
	none := c.ret(errno(unix.ENOSYS))
	sockets := c.sockets(p, more, yes)
	pairs := c.loaded(low(0), c.jump(unix.BPF_JEQ, unix.AF_UNIX, yes, c.ret(errno(unix.EOPNOTSUPP))))
	clones := c.loaded(low(0), c.jump(unix.BPF_JSET, p.namespaces(), no, yes))
	unshares := clones
	if !p.Private || p.NoNew {
		// In clone(2) this bit belongs to the number of a signal.
		unshares = c.loaded(low(0), c.jump(unix.BPF_JSET, p.namespaces()|unix.CLONE_NEWTIME, no, yes))
	}
	personalities := c.personality(yes, no)
	cores := c.cores(yes)
	keys := c.loaded(high(2), c.jump(unix.BPF_JEQ, 0, yes, no))
	keys = c.loaded(low(2), c.jump(unix.BPF_JEQ, 0, keys, no))
	ioctls := c.ioctls(p, more, yes, no)
	return func(v verdict) label {
		switch v {
		case allow:
			return yes
		case absent:
			return none
		case socket:
			return sockets
		case socketpair:
			return pairs
		case clone:
			return clones
		case unshare:
			return unshares
		case personality:
			return personalities
		case prctl:
			return cores
		case requestKey:
			// Only a search of the keys that are there: callout information would have
			// the kernel start a program of the host's.
			return keys
		case ioctl:
			return ioctls
		}
		if l, ok := c.narrow(v, yes, no); ok {
			return l
		}
		return no
	}
}

// namespaces are the flags that clone and unshare refuse. Without a user namespace
// of its own the guest has no right to make the others, unless a capability was
// given that has a wider meaning on the host.
func (p Policy) namespaces() uint32 {
	if p.Private && !p.NoNew {
		return unix.CLONE_NEWUSER
	}
	return unix.CLONE_NEWUSER | unix.CLONE_NEWNS | unix.CLONE_NEWCGROUP | unix.CLONE_NEWUTS |
		unix.CLONE_NEWIPC | unix.CLONE_NEWPID | unix.CLONE_NEWNET
}

// sockets writes the check of socket(family, type, protocol).
//
// IP has the protocols that every server needs. A raw socket takes any number, but
// the kernel loads nothing for it and asks for a capability. SCTP, DCCP, L2TP and
// MPTCP would load modules and have ways of their own to bind. Netlink has what
// systemd, ip, ss and nft open; all but the reading of routes and
// sockets asks for a capability there. The generic one loads any module that has a
// name there for who asks for the name, so it is for root of a network. No audit: its users take EPROTONOSUPPORT for
// a kernel without it and are quiet.
func (c *code) sockets(p Policy, more extra, yes label) label {
	noProto := c.ret(errno(unix.EPROTONOSUPPORT))
	noType := c.ret(errno(unix.ESOCKTNOSUPPORT))
	noFamily := c.ret(errno(unix.EAFNOSUPPORT))

	protocols := append(more.netlink, unix.NETLINK_ROUTE, unix.NETLINK_KOBJECT_UEVENT,
		unix.NETLINK_INET_DIAG, unix.NETLINK_NETFILTER)
	if p.Links {
		protocols = append(protocols, unix.NETLINK_GENERIC)
	}
	netlink := c.oneOf(protocols, yes, noProto)
	netlink = c.loaded(low(2), netlink)

	make := yes
	if p.Notify {
		make = c.ret(unix.SECCOMP_RET_USER_NOTIF)
	}
	proto := c.loaded(low(2), c.oneOf([]uint32{unix.IPPROTO_IP, unix.IPPROTO_TCP, unix.IPPROTO_UDP,
		unix.IPPROTO_ICMP, unix.IPPROTO_ICMPV6}, make, noProto))
	inet := c.jump(unix.BPF_JEQ, unix.SOCK_RAW, yes,
		c.oneOf([]uint32{unix.SOCK_STREAM, unix.SOCK_DGRAM}, proto, noType))
	const typeMask = 0xf // SOCK_TYPE_MASK of linux/net.h: the rest is flags
	c.near(inet, 0)
	inet = c.emit(unix.BPF_ALU|unix.BPF_AND|unix.BPF_K, typeMask, 0, 0)
	inet = c.loaded(low(1), inet)
	if len(more.ip) > 0 {
		inet = c.loaded(low(2), c.oneOf(more.ip, yes, inet))
	}

	families := more.families
	if p.Nesting {
		families = append(families, unix.AF_PACKET)
	}
	f := c.oneOf(families, yes, noFamily)
	f = c.jump(unix.BPF_JEQ, unix.AF_NETLINK, netlink, f)
	f = c.oneOf([]uint32{unix.AF_INET, unix.AF_INET6}, inet, f)
	f = c.jump(unix.BPF_JEQ, unix.AF_UNIX, yes, f)
	return c.loaded(low(0), f)
}

// cores writes the check of prctl(2): PR_SCHED_CORE is not there. What has a core to itself
// leaves the other threads of that idle, which no limit of processor time counts.
func (c *code) cores(yes label) label {
	return c.loaded(low(0), c.jump(unix.BPF_JEQ, unix.PR_SCHED_CORE, c.ret(errno(unix.EINVAL)), yes))
}

// personality writes the check of personality(2): 0, an old kernel's version, 32-bit
// machine names, a fixed address space (debuggers), and the question. Not the flags
// that make memory executable or page 0 mapped.
func (c *code) personality(yes, no label) label {
	const (
		linux32  = 0x0000008 // PER_LINUX32; these are of linux/personality.h
		uname26  = 0x0020000
		noRandom = 0x0040000 // ADDR_NO_RANDOMIZE
		limit3GB = 0x8000000 // ADDR_LIMIT_3GB
		query    = 0xffffffff
	)
	others := c.jump(unix.BPF_JSET, query&^(linux32|uname26|noRandom|limit3GB), no, yes)
	return c.loaded(low(0), c.jump(unix.BPF_JEQ, query, yes, others))
}

// ioctls writes the check of ioctl(2).
func (c *code) ioctls(p Policy, more extra, yes, no label) label {
	l := c.oneOf(p.requests(), no, yes)
	if !p.Links {
		l = c.jump(unix.BPF_JGE, unix.SIOCGIFBR, c.oneOf(loading(), no, yes), l)
	}
	if p.Notify {
		l = c.interfaces(l, no)
	}
	if !more.flags {
		// Those above are older than the parts of a request's number: all are small.
		const written = 1 << 30 // _IOC_WRITE
		l = c.jump(unix.BPF_JGE, written, c.oneOf(attributes(), c.ret(errno(unix.EOPNOTSUPP)), yes), l)
	}
	return c.loaded(low(1), l)
}

// siocoutqnsd is SIOCOUTQNSD of linux/sockios.h.
const siocoutqnsd = 0x894b

// Asked are the ioctls that a socket answers of the interfaces of its network: those of
// netdevice(7) that take a struct ifreq by value, and SIOCGIFCONF.
func Asked() []uint32 {
	return []uint32{unix.SIOCGIFNAME, unix.SIOCGIFCONF, unix.SIOCGIFFLAGS, unix.SIOCGIFADDR,
		unix.SIOCGIFDSTADDR, unix.SIOCGIFBRDADDR, unix.SIOCGIFNETMASK, unix.SIOCGIFMETRIC,
		unix.SIOCGIFMTU, unix.SIOCGIFHWADDR, unix.SIOCGIFINDEX, unix.SIOCGIFPFLAGS,
		unix.SIOCGIFTXQLEN, unix.SIOCGIFMAP}
}

// interfaces writes the check of an ioctl that may be of the kind SOCK_IOC_TYPE, and
// goes on at rest for others. From SIOCGIFNAME, where those of interfaces begin, to the
// wireless ones, what is not Asked is refused: settings, which a socket that was handed
// in refuses by itself, and what tells of devices or namespaces (SIOCGSKNS) in other
// ways. SIOCOUTQNSD is in the middle, and of a connection.
func (c *code) interfaces(rest, no label) label {
	const first, end = unix.SIOCGIFNAME, 0x8c00
	own := c.jump(unix.BPF_JEQ, siocoutqnsd, rest, no)
	own = c.oneOf(Asked(), c.ret(unix.SECCOMP_RET_USER_NOTIF), own)
	own = c.jump(unix.BPF_JGE, end, rest, own)
	return c.jump(unix.BPF_JGE, first, own, rest)
}

// requests are the ioctls that are refused: typing into a terminal (TIOCSTI,
// TIOCLINUX), taking the console's output, and changing a terminal's line
// discipline, which loads kernel modules by number.
func (p Policy) requests() []uint32 {
	list := []uint32{unix.TIOCSTI, unix.TIOCLINUX, unix.TIOCCONS, unix.TIOCSETD}
	if p.TypeAhead {
		return list[1:]
	}
	return list
}

// loading are the ioctls of a socket, from SIOCGIFBR on, for bridges and VLANs: the kernel loads its module for them
// before it asks who it is that wants one.
func loading() []uint32 {
	const setBridge, getVLAN, setVLAN = 0x8941, 0x8982, 0x8983 // linux/sockios.h
	return []uint32{unix.SIOCGIFBR, setBridge, getVLAN, setVLAN,
		unix.SIOCBRADDBR, unix.SIOCBRDELBR, unix.SIOCBRADDIF, unix.SIOCBRDELIF}
}

// attributes are the ioctls that set flags and other attributes of a file (chattr(1)),
// which answer as on a file system without any. An overlay asks whether they may be set
// of the file that the guest sees, copies that up, and sets them by the rights of who
// mounted it: what is said again as it was below takes the copy out of the guest's
// project, and so out of its limits of disk (kernel/quota has a test of that). The flags
// that would matter to a server, immutable and append-only, are the host's alone anyway.
func attributes() []uint32 {
	const (
		setFlags32 = 0x40046602 // FS_IOC32_SETFLAGS, linux/fs.h
		setXattr   = 0x401c5820 // FS_IOC_FSSETXATTR
	)
	return []uint32{unix.FS_IOC_SETFLAGS, setFlags32, setXattr}
}
