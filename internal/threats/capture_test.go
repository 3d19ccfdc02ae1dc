package threats_test

import (
	"encoding/binary"
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"

	"vserver/internal/threats/probe"
)

// packet is what one that left through any link of the host says of itself.
type packet struct {
	from, to         netip.Addr
	protocol         byte
	fromPort, toPort int
	answers          bool // a SYN with an ACK
	echo             bool // a request for an echo
}

// capture hears all packets that leave by links of a namespace, the loopback among
// them, from the moment it is opened.
type capture struct{ fd int }

func newCapture(t testing.TB) *capture {
	t.Helper()
	const all = 0x0300 // ETH_P_ALL in network order
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, all)
	must(t, err)
	t.Cleanup(func() { unix.Close(fd) })
	must(t, unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 64<<20))
	return &capture{fd}
}

// packets gives what was heard until now, and fails when something was missed.
func (c *capture) packets(t testing.TB) (out []packet) {
	t.Helper()
	buf := make([]byte, 1<<16)
	for {
		n, from, err := unix.Recvfrom(c.fd, buf, unix.MSG_DONTWAIT)
		if err == unix.EAGAIN {
			break
		}
		must(t, err)
		if ll, ok := from.(*unix.SockaddrLinklayer); ok && ll.Pkttype == unix.PACKET_OUTGOING {
			if p, ok := parse(buf[:n]); ok {
				out = append(out, p)
			}
		}
	}
	stats, err := unix.GetsockoptTpacketStats(c.fd, unix.SOL_PACKET, unix.PACKET_STATISTICS)
	must(t, err)
	if stats.Drops > 0 {
		t.Fatalf("%d packets were not heard", stats.Drops)
	}
	return out
}

// parse reads a packet of IP; fragments and headers between are none of ours.
func parse(b []byte) (p packet, ok bool) {
	switch {
	case len(b) >= 20 && b[0]>>4 == 4:
		p.from, p.to, p.protocol = netip.AddrFrom4([4]byte(b[12:])), netip.AddrFrom4([4]byte(b[16:])), b[9]
		b = b[min(int(b[0]&15)*4, len(b)):]
	case len(b) >= 40 && b[0]>>4 == 6:
		p.from, p.to, p.protocol = netip.AddrFrom16([16]byte(b[8:])), netip.AddrFrom16([16]byte(b[24:])), b[6]
		b = b[40:]
	default:
		return p, false
	}
	if len(b) < 8 {
		return p, true
	}
	if p.protocol == unix.IPPROTO_TCP || p.protocol == unix.IPPROTO_UDP {
		p.fromPort, p.toPort = int(binary.BigEndian.Uint16(b)), int(binary.BigEndian.Uint16(b[2:]))
	}
	p.echo = p.protocol == unix.IPPROTO_ICMP && b[0] == 8 || p.protocol == unix.IPPROTO_ICMPV6 && b[0] == 128
	const syn, ack = 0x02, 0x10
	p.answers = p.protocol == unix.IPPROTO_TCP && len(b) >= 20 && b[13]&(syn|ack) == syn|ack
	return p, true
}

// cell is the number of the cell that sent the packet, -1 for none.
func (p packet) cell() int {
	if n := p.toPort - probe.SendTo; n >= 0 && n < probe.Cells {
		return n
	}
	return -1
}
