// Package agent is a process of a test's that uses sockets as it is told: in a cgroup,
// as a guest's program would be.
package agent

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// variable makes the test program an agent.
const variable = "VSERVER_TEST_AGENT"

// Be makes the process an agent, and ends it, if it was started as one. It stands first
// in a TestMain.
func Be() {
	if os.Getenv(variable) == "" {
		return
	}
	a := &agent{sockets: map[string]int{}, many: map[string][]int{}}
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() {
		fmt.Println(a.do(strings.Fields(in.Text())))
	}
	os.Exit(0)
}

// agent has sockets by name, and many of one name.
type agent struct {
	sockets map[string]int
	many    map[string][]int
}

// do obeys a command and answers with what came of it: a word, or an errno's name.
func (a *agent) do(words []string) string {
	out, err := a.try(words)
	waits := slices.Contains([]string{"recv", "accept", "connect"}, words[0])
	for waits && errors.Is(err, unix.EINTR) { // Go wakes its threads by signals
		if out, err = a.try(words); words[0] == "connect" && errors.Is(err, unix.EALREADY) {
			err = unix.EINPROGRESS // of the first try
		}
	}
	var errno syscall.Errno
	if errors.As(err, &errno) {
		return unix.ErrnoName(errno)
	}
	if err != nil {
		return err.Error()
	}
	return out
}

func (a *agent) try(w []string) (string, error) {
	for len(w) < 6 {
		w = append(w, "")
	}
	name := w[1]
	fd := a.sockets[name]
	switch w[0] {
	case "tcp4", "tcp6", "udp4", "udp6", "icmp4", "icmp6", "raw4", "mptcp4", "udplite4", "sctp4":
		return "ok", a.socket(w[0], name)
	case "bind":
		sa, err := address(w[2])
		if err != nil {
			return "", err
		}
		return "ok", unix.Bind(fd, a.suit(fd, sa))
	case "unix":
		return "ok", a.unix(w[1:])
	case "many", "datagrams", "listeners", "none", "late":
		return a.several(w)
	case "listen":
		return "ok", unix.Listen(fd, 8)
	case "connect":
		sa, err := address(w[2])
		if err != nil {
			return "", err
		}
		return "ok", unix.Connect(fd, a.suit(fd, sa))
	case "accept":
		c, from, err := unix.Accept4(fd, unix.SOCK_CLOEXEC)
		if err != nil {
			return "", err
		}
		a.sockets[w[2]] = c
		return host(from), nil
	case "name":
		sa, err := unix.Getsockname(fd)
		return text(sa), err
	case "peer":
		sa, err := unix.Getpeername(fd)
		return text(sa), err
	case "send": // NAME ADDRESS TEXT [SOURCE[@LINK]]; - for whom it is connected to
		if w[2] == "-" {
			return "ok", a.send(fd, w[3], w[4], nil)
		}
		sa, err := address(w[2])
		if err != nil {
			return "", err
		}
		return "ok", a.send(fd, w[3], w[4], a.suit(fd, sa))
	case "ping": // NAME ADDRESS: who answers
		sa, err := address(w[2])
		if err != nil {
			return "", err
		}
		return a.ping(fd, a.suit(fd, sa), sa.Addr().Is6())
	case "recv":
		return a.receive(fd)
	}
	return "ok", a.option(fd, w)
}

// receive tells what comes, and from whom.
func (a *agent) receive(fd int) (string, error) {
	b := make([]byte, 99)
	n, from, err := unix.Recvfrom(fd, b, 0)
	if err != nil {
		return "", err
	}
	if from == nil {
		return string(b[:n]), nil
	}
	return string(b[:n]) + " " + host(from), nil
}

// ping asks for an echo, and tells who answers.
func (a *agent) ping(fd int, to unix.Sockaddr, six bool) (string, error) {
	packet := []byte{8, 0, 0, 0, 0, 0, 0, 1}
	if six {
		packet[0] = 128
	}
	if err := unix.Sendto(fd, packet, 0, to); err != nil {
		return "", err
	}
	_, from, err := unix.Recvfrom(fd, packet, 0)
	if err != nil {
		return "", err
	}
	return host(from), nil
}

// option sets an option of a socket, or closes it.
func (a *agent) option(fd int, w []string) error {
	switch w[0] {
	case "set": // NAME LEVEL OPTION VALUE
		var n [3]int
		for i := range n {
			n[i], _ = strconv.Atoi(w[2+i])
		}
		return unix.SetsockoptInt(fd, n[0], n[1], n[2])
	case "device":
		return unix.BindToDevice(fd, w[2])
	case "join":
		m := &unix.IPMreq{Multiaddr: netip.MustParseAddr(w[2]).As4()}
		return unix.SetsockoptIPMreq(fd, unix.IPPROTO_IP, unix.IP_ADD_MEMBERSHIP, m)
	case "apart": // from whom it is connected to, and from a port that the kernel found
		return apart(fd)
	case "close":
		delete(a.sockets, w[1])
		return unix.Close(fd)
	}
	return fmt.Errorf("no command %s", w[0])
}

func (a *agent) socket(kind, name string) error {
	family, sort, protocol := unix.AF_INET, unix.SOCK_STREAM, 0
	if strings.HasSuffix(kind, "6") {
		family = unix.AF_INET6
	}
	switch kind[:len(kind)-1] {
	case "udp":
		sort = unix.SOCK_DGRAM
	case "icmp":
		sort, protocol = unix.SOCK_DGRAM, unix.IPPROTO_ICMP
		if family == unix.AF_INET6 {
			protocol = unix.IPPROTO_ICMPV6
		}
	case "raw":
		sort, protocol = unix.SOCK_RAW, unix.IPPROTO_ICMP
	case "mptcp":
		protocol = unix.IPPROTO_MPTCP
	case "udplite":
		sort, protocol = unix.SOCK_DGRAM, unix.IPPROTO_UDPLITE
	case "sctp":
		protocol = unix.IPPROTO_SCTP
	}
	fd, err := unix.Socket(family, sort|unix.SOCK_CLOEXEC, protocol)
	if err != nil {
		return err
	}
	a.sockets[name] = fd
	wait := &unix.Timeval{Sec: 2}
	return errors.Join(unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, wait),
		unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO, wait))
}

func (a *agent) send(fd int, message, source string, to unix.Sockaddr) error {
	var control []byte
	if source != "" {
		source, name, named := strings.Cut(source, "@")
		from, link := netip.MustParseAddr(source), 0
		if named {
			l, err := net.InterfaceByName(name)
			if err != nil {
				return err
			}
			link = l.Index
		}
		if from.Is4() {
			control = unix.PktInfo4(&unix.Inet4Pktinfo{Spec_dst: from.As4(), Ifindex: int32(link)})
		} else {
			control = unix.PktInfo6(&unix.Inet6Pktinfo{Addr: from.As16(), Ifindex: uint32(link)})
		}
	}
	return unix.Sendmsg(fd, []byte(message), control, to, 0)
}

// suit gives the address in the family of the socket.
func (a *agent) suit(fd int, to netip.AddrPort) unix.Sockaddr {
	family, _ := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DOMAIN)
	if family == unix.AF_INET {
		return &unix.SockaddrInet4{Port: int(to.Port()), Addr: to.Addr().As4()}
	}
	return &unix.SockaddrInet6{Port: int(to.Port()), Addr: to.Addr().As16()}
}

func address(s string) (netip.AddrPort, error) { return netip.ParseAddrPort(s) }

func text(sa unix.Sockaddr) string {
	switch sa := sa.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(sa.Addr), uint16(sa.Port)).String()
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(sa.Addr), uint16(sa.Port)).String()
	}
	return fmt.Sprint(sa)
}

// host is text without the port.
func host(sa unix.Sockaddr) string {
	s := text(sa)
	return s[:strings.LastIndex(s, ":")]
}

func apart(fd int) error {
	none := make([]byte, unix.SizeofSockaddrInet4) // AF_UNSPEC
	_, _, errno := unix.Syscall(unix.SYS_CONNECT, uintptr(fd), uintptr(unsafe.Pointer(&none[0])), uintptr(len(none)))
	if errno != 0 {
		return errno
	}
	return nil
}
