package probe

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strings"

	"golang.org/x/sys/unix"
)

// Ports of the matrix: the cell with number n sends to SendTo + n and listens on
// ListenAt + n, so that a packet tells whose it is.
const (
	SendTo   = 20000
	ListenAt = 30000
	Cells    = 2000 // more than there are
)

// cell is one combination of the matrix.
type cell struct {
	name   string
	n      int
	family int
	kind   int // of the socket; ICMP is SOCK_RAW here
	mapped bool
	link   bool // it is bound to lo before
	op     string
	target place
}

// matrix tries all combinations. It says for each what came of it; then it names what
// listens ("listens", the cell and the address), "ready", and after the next line from
// in, what came ("got" and the cell and the words that came).
func (p *prober) matrix(in io.Reader) {
	open := map[string]int{}
	for i, c := range p.cells() {
		c.n = i
		fd, err := p.cross(&c)
		fmt.Fprintf(p.out, "%s\t%s\t%d\n", c.name, outcome("", err), c.n)
		if fd >= 0 {
			open[c.name] = fd
		}
	}
	for name, fd := range open {
		sa, err := unix.Getsockname(fd)
		fmt.Fprintf(p.out, "listens\t%s\t%d\t%s\n", name, port(sa), outcome(where(sa), err))
	}
	fmt.Fprintln(p.out, "ready")
	bufio.NewReader(in).ReadString('\n')
	for name, fd := range open {
		buf := make([]byte, 200)
		for {
			n, _, err := unix.Recvfrom(fd, buf, unix.MSG_DONTWAIT)
			if err != nil {
				break
			}
			fmt.Fprintf(p.out, "got\t%s\t%s\n", name, buf[:n])
		}
	}
	p.close()
}

// cells lists the matrix.
func (p *prober) cells() (out []cell) {
	add := func(op string, kinds ...int) {
		op, link := strings.CutPrefix(op, "link ")
		for _, version := range []string{"4", "6", "mapped"} {
			for _, kind := range kinds {
				if kind == unix.SOCK_RAW && version == "mapped" {
					continue // a ping socket has no mapped addresses
				}
				for _, t := range p.targets(version) {
					c := cell{family: unix.AF_INET, kind: kind, mapped: version == "mapped", link: link, op: op, target: t}
					if version != "4" {
						c.family = unix.AF_INET6
					}
					name := map[int]string{unix.SOCK_STREAM: "tcp", unix.SOCK_DGRAM: "udp", unix.SOCK_RAW: "icmp"}[kind]
					c.name = op + "/" + version + "/" + name + "/" + t.whose
					if link {
						c.name = "link " + c.name
					}
					out = append(out, c)
				}
			}
		}
	}
	add("bind", unix.SOCK_STREAM, unix.SOCK_DGRAM, unix.SOCK_RAW)
	add("freebind", unix.SOCK_STREAM, unix.SOCK_DGRAM)
	add("reuse", unix.SOCK_STREAM, unix.SOCK_DGRAM)
	add("noport", unix.SOCK_STREAM)
	add("connect", unix.SOCK_STREAM, unix.SOCK_DGRAM, unix.SOCK_RAW)
	add("fastopen", unix.SOCK_STREAM)
	add("sendto", unix.SOCK_DGRAM, unix.SOCK_RAW)
	add("dissolve", unix.SOCK_DGRAM)
	add("cmsg", unix.SOCK_DGRAM, unix.SOCK_RAW)
	add("connected cmsg", unix.SOCK_DGRAM)
	for _, op := range []string{"link bind", "link reuse", "link connect", "link sendto", "link cmsg"} {
		add(op, unix.SOCK_STREAM, unix.SOCK_DGRAM)
	}
	for _, kind := range kinds() {
		for _, f := range families() {
			out = append(out, cell{op: "auto", family: f, kind: kind, name: "auto/" + version(f) + "/" + transport(kind) + "/none"})
		}
	}
	return out
}

// targets are the addresses of the matrix.
func (p *prober) targets(version string) []place {
	var list []place
	if version == "6" {
		list = []place{{"own", p.Own6}, {"also", p.Also6}, {"loopback", "::1"}, {"wildcard", "::"}, {"multicast", "ff02::1"}, {"linklocal", "fe80::1"}}
		list = append(list, p.foreign(unix.AF_INET6)...)
	} else {
		list = []place{
			{"own", p.Own4}, {"also", p.Also4}, {"loopback", "127.0.0.1"}, {"loopback near", p.NearLback}, {"loopback other", "127.0.0.53"},
			{"wildcard", "0.0.0.0"}, {"multicast", "224.0.0.251"}, {"broadcast", "255.255.255.255"}, {"subnet", "198.51.100.255"},
		}
		list = append(list, p.foreign(unix.AF_INET)...)
	}
	kept := list[:0]
	for _, t := range list {
		if t.addr != "" {
			kept = append(kept, t)
		}
	}
	return kept
}

// cross does what a cell says; a socket that is given listens.
func (p *prober) cross(c *cell) (listening int, err error) {
	switch c.op {
	case "bind", "freebind", "reuse", "noport":
		err := p.leave(c, c.target, p.far(c))
		if c.kind == unix.SOCK_RAW {
			return -1, err
		}
		return p.wait(c) // also when nothing could be sent, as from 127.0.0.1
	case "auto":
		return p.wait(c)
	case "cmsg", "connected cmsg":
		return -1, p.leave(c, place{}, p.far(c))
	}
	return -1, p.leave(c, place{}, c.target)
}

// far is the machine on the link.
func (p *prober) far(c *cell) place { return place{"out", pick(c.version(), p.Out4, p.Out6)} }

// version is the family of a cell's addresses.
func (c *cell) version() int {
	if c.mapped {
		return unix.AF_INET
	}
	return c.family
}

// at is an address as the cell's socket takes it.
func (c *cell) at(a place, port int) unix.Sockaddr {
	sa := at(c.family, netip.AddrFrom16(netip.MustParseAddr(a.addr).As16()).String(), port)
	if c.family == unix.AF_INET {
		sa = at(c.family, a.addr, port)
	}
	if six, ok := sa.(*unix.SockaddrInet6); ok && netip.AddrFrom16(six.Addr).IsLinkLocalUnicast() || ok && six.Addr[0] == 0xff {
		six.ZoneId = 2
	}
	return sa
}

// make gives a socket with what the operation sets before bind(2).
func (c *cell) make() (int, error) {
	kind, protocol := c.kind, 0
	if kind == unix.SOCK_RAW {
		kind, protocol = unix.SOCK_DGRAM, unix.IPPROTO_ICMP
		if c.family == unix.AF_INET6 {
			protocol = unix.IPPROTO_ICMPV6
		}
	}
	fd, err := unix.Socket(c.family, kind|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, protocol)
	if err != nil {
		return -1, err
	}
	option(fd, unix.SOL_SOCKET, unix.SO_BROADCAST, 1)
	if c.link {
		option(fd, unix.SOL_SOCKET, unix.SO_BINDTOIFINDEX, 1)
	}
	switch c.op {
	case "freebind":
		option(fd, unix.IPPROTO_IP, unix.IP_FREEBIND, 1)
	case "noport":
		option(fd, unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1)
	case "reuse":
		option(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
		option(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
	}
	return fd, nil
}

// leave sends a packet, from an address if one is given.
func (p *prober) leave(c *cell, from, to place) error {
	fd, err := c.make()
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if from.addr != "" {
		if err := unix.Bind(fd, c.at(from, 0)); err != nil {
			return err
		}
	}
	sa := c.at(to, SendTo+c.n)
	data := []byte("cell " + digits(c.n))
	if c.kind == unix.SOCK_RAW {
		data = append([]byte{8, 0, 0, 0, 0, 0, 0, 1}, data...)
		if c.family == unix.AF_INET6 {
			data[0] = 128
		}
	}
	switch {
	case c.op == "fastopen":
		err = unix.Sendto(fd, data, unix.MSG_FASTOPEN, sa)
	case c.op == "cmsg":
		err = p.sent(fd, data, c, sa)
	case c.op == "connected cmsg", c.op == "dissolve", c.op == "connect", c.kind == unix.SOCK_STREAM:
		err = unix.Connect(fd, sa)
	default:
		return unix.Sendto(fd, data, 0, sa)
	}
	if errors.Is(err, unix.EINPROGRESS) {
		err = nil
	}
	if err != nil || c.kind == unix.SOCK_STREAM {
		return err
	}
	switch c.op {
	case "connected cmsg":
		return p.sent(fd, data, c, nil)
	case "dissolve":
		if err := pass(unix.SYS_CONNECT, fd, make([]byte, 28)); err != nil {
			return err
		}
		return unix.Sendto(fd, data, 0, sa)
	case "connect":
		_, err = unix.Write(fd, data)
	}
	return err
}

// sent sends with the target as the source.
func (p *prober) sent(fd int, data []byte, c *cell, sa unix.Sockaddr) error {
	addr := c.target.addr
	if c.mapped {
		addr = "::ffff:" + addr
	}
	return unix.Sendmsg(fd, data, pktinfo(c.family, addr), sa, 0)
}

// wait listens, on the target if the operation binds; it is not closed.
func (p *prober) wait(c *cell) (int, error) {
	fd, err := c.make()
	if err != nil {
		return -1, err
	}
	p.fds = append(p.fds, fd)
	if c.op != "auto" {
		if err := unix.Bind(fd, c.at(c.target, ListenAt+c.n)); err != nil {
			return -1, err
		}
	} else if c.kind == unix.SOCK_DGRAM { // its port comes with the first datagram
		if err := unix.Sendto(fd, []byte("cell "+digits(c.n)), 0, c.at(p.far(c), SendTo+c.n)); err != nil {
			return -1, err
		}
	}
	if c.kind == unix.SOCK_STREAM {
		if err := unix.Listen(fd, 16); err != nil {
			return -1, err
		}
	}
	return fd, nil
}
