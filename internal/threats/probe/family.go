package probe

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// familyRows make sockets of every kind there is: rows 13 to 18 and 33 of the list.
func (p *prober) familyRows() {
	const families = 50 // more than linux/socket.h has
	for family := range families {
		switch family {
		case unix.AF_UNIX, unix.AF_INET, unix.AF_INET6, unix.AF_NETLINK:
			continue
		}
		p.try(fmt.Sprint("family ", family), func() (string, error) {
			var err error
			for _, kind := range []int{unix.SOCK_STREAM, unix.SOCK_DGRAM, unix.SOCK_RAW, unix.SOCK_SEQPACKET} {
				if _, err = p.socket(family, kind, 0); err == nil {
					return fmt.Sprint("type ", kind), nil
				}
			}
			return "", err
		})
	}
	for _, f := range []int{unix.AF_INET, unix.AF_INET6} {
		for _, c := range []struct {
			what           string
			kind, protocol int
		}{
			{"udplite", unix.SOCK_DGRAM, unix.IPPROTO_UDPLITE}, {"mptcp", unix.SOCK_STREAM, unix.IPPROTO_MPTCP},
			{"sctp", unix.SOCK_STREAM, unix.IPPROTO_SCTP}, {"sctp many", unix.SOCK_SEQPACKET, unix.IPPROTO_SCTP},
			{"dccp", 6, unix.IPPROTO_DCCP}, {"l2tp", unix.SOCK_DGRAM, unix.IPPROTO_L2TP},
			{"raw", unix.SOCK_RAW, unix.IPPROTO_RAW}, {"raw icmp", unix.SOCK_RAW, unix.IPPROTO_ICMP},
			{"raw icmp6", unix.SOCK_RAW, unix.IPPROTO_ICMPV6}, {"raw tcp", unix.SOCK_RAW, unix.IPPROTO_TCP},
			{"raw high", unix.SOCK_RAW, 1 << 8}, {"packet", 10, 0}, {"rdm", unix.SOCK_RDM, 0}, {"smc", unix.SOCK_STREAM, 256},
		} {
			p.try("socket"+version(f)+" "+c.what, func() (string, error) {
				_, err := p.socket(f, c.kind, c.protocol)
				return "", err
			})
		}
	}
	p.foreignWays()
}

// foreignWays make a socket by other calls than socket(2).
func (p *prober) foreignWays() {
	p.try("io_uring", func() (string, error) {
		fd, err := raw(unix.SYS_IO_URING_SETUP, 0, 0)
		return digits(fd), err
	})
	p.try("socketpair inet", func() (string, error) {
		_, err := unix.Socketpair(unix.AF_INET, unix.SOCK_STREAM, 0)
		return "", err
	})
	p.try("bpf", func() (string, error) {
		fd, err := raw(unix.SYS_BPF, 0, 0, 0)
		return digits(fd), err
	})
	for _, protocol := range []int{unix.NETLINK_ROUTE, unix.NETLINK_INET_DIAG, unix.NETLINK_KOBJECT_UEVENT} {
		for _, to := range []unix.SockaddrNetlink{{Pid: 1}, {Groups: 1}} {
			p.try("netlink send "+digits(protocol)+" to "+digits(int(to.Groups)), func() (string, error) {
				fd, err := p.socket(unix.AF_NETLINK, unix.SOCK_RAW, protocol)
				if err == nil {
					err = unix.Sendto(fd, make([]byte, unix.NLMSG_HDRLEN), 0, &to)
				}
				return "", err
			})
		}
	}
	for _, protocol := range []int{unix.NETLINK_GENERIC, unix.NETLINK_XFRM, unix.NETLINK_AUDIT, unix.NETLINK_CONNECTOR, unix.NETLINK_CRYPTO, unix.NETLINK_RDMA, unix.NETLINK_USERSOCK} {
		p.try("netlink "+digits(protocol), func() (string, error) {
			_, err := p.socket(unix.AF_NETLINK, unix.SOCK_RAW, protocol)
			return "", err
		})
	}
}

// unixRows are sockets of the host's that have a name in no file system: row 19 of the
// list.
func (p *prober) unixRows() {
	name := &unix.SockaddrUnix{Name: "@" + p.Socket}
	for _, kind := range kinds() {
		said := &unix.SockaddrUnix{Name: name.Name + transport(kind)}
		p.try("abstract connect "+transport(kind), func() (string, error) {
			fd, err := p.socket(unix.AF_UNIX, kind, 0)
			if err == nil {
				err = unix.Connect(fd, said)
			}
			return "", err
		})
		p.try("abstract bind "+transport(kind), func() (string, error) {
			fd, err := p.socket(unix.AF_UNIX, kind, 0)
			if err == nil {
				err = unix.Bind(fd, said)
			}
			return "", err
		})
	}
	p.try("abstract sendto", func() (string, error) {
		fd, err := p.socket(unix.AF_UNIX, unix.SOCK_DGRAM, 0)
		if err == nil {
			err = unix.Sendto(fd, []byte("from the guest"), 0, &unix.SockaddrUnix{Name: name.Name + "udp"})
		}
		return "", err
	})
	p.try("abstract own", func() (string, error) {
		own := &unix.SockaddrUnix{Name: "@" + Name}
		fd, err := p.socket(unix.AF_UNIX, unix.SOCK_STREAM, 0)
		if err == nil {
			err = unix.Bind(fd, own)
		}
		if err == nil {
			err = unix.Listen(fd, 1)
		}
		if err != nil {
			return "", err
		}
		if fd, err = p.socket(unix.AF_UNIX, unix.SOCK_STREAM, 0); err == nil {
			err = unix.Connect(fd, own)
		}
		return "", err
	})
}
