package probe

import (
	"encoding/binary"
	"net/netip"

	"golang.org/x/sys/unix"
)

// sendRows are datagrams whose source is another's, or the kernel's choice: rows 4, 7
// and 8 of the list. Where one arrives, the answer is the source that it had.
func (p *prober) sendRows() {
	for _, f := range families() {
		out := at(f, pick(f, p.Out4, p.Out6), p.OutPort)
		p.datagram("send udp"+version(f), f, func(fd int) (string, error) { return ask(fd, out) })
		for _, to := range p.foreign(f) {
			row := "udp" + version(f) + " " + to.whose
			p.datagram("cmsg "+row, f, func(fd int) (string, error) { return p.sendFrom(fd, f, to.addr, out) })
			p.datagram("cmsg connected "+row, f, func(fd int) (string, error) {
				if err := unix.Connect(fd, out); err != nil {
					return "", err
				}
				return p.sendFrom(fd, f, to.addr, nil)
			})
		}
		p.datagram("dissolved udp"+version(f), f, func(fd int) (string, error) {
			if err := unix.Connect(fd, out); err != nil {
				return "", err
			}
			if err := pass(unix.SYS_CONNECT, fd, make([]byte, 28)); err != nil { // AF_UNSPEC
				return "", err
			}
			return ask(fd, out)
		})
	}
	mapped := at(unix.AF_INET6, "::ffff:"+p.Out4, p.OutPort)
	p.datagram("send udp6 mapped", unix.AF_INET6, func(fd int) (string, error) { return ask(fd, mapped) })
	p.datagram("cmsg udp6 mapped host", unix.AF_INET6, func(fd int) (string, error) {
		return p.sendFrom(fd, unix.AF_INET6, "::ffff:"+p.Host4, mapped)
	})
	p.datagram("cmsg4 udp6 mapped host", unix.AF_INET6, func(fd int) (string, error) {
		return p.sendFrom(fd, unix.AF_INET, p.Host4, mapped)
	})
	p.sticky()
	p.interfaceCmsg()
}

// datagram tries something with a UDP socket.
func (p *prober) datagram(row string, family int, do func(fd int) (string, error)) {
	p.try(row, func() (string, error) {
		fd, err := p.socket(family, unix.SOCK_DGRAM, 0)
		if err != nil {
			return "", err
		}
		return do(fd)
	})
}

func (p *prober) sendFrom(fd, family int, source string, to unix.Sockaddr) (string, error) {
	if err := unix.Sendmsg(fd, []byte("who am I"), pktinfo(family, source), to, 0); err != nil {
		return "", err
	}
	return hears(fd)
}

// sticky sets the source of all datagrams to come, by an option.
func (p *prober) sticky() {
	out := at(unix.AF_INET6, p.Out6, p.OutPort)
	for _, to := range []place{{"own", p.Own6}, {"host", p.Host6}, {"near", p.Near6}} {
		p.datagram("sticky udp6 "+to.whose, unix.AF_INET6, func(fd int) (string, error) {
			a := netip.MustParseAddr(to.addr).As16()
			if err := bytesOption(fd, unix.IPPROTO_IPV6, unix.IPV6_PKTINFO, append(a[:], 0, 0, 0, 0)); err != nil {
				return "", err
			}
			return ask(fd, out)
		})
	}
}

// interfaceCmsg sends by a link of choice: that is how one gets round a routing table.
func (p *prober) interfaceCmsg() {
	p.datagram("cmsg link udp4", unix.AF_INET, func(fd int) (string, error) {
		oob := unix.PktInfo4(&unix.Inet4Pktinfo{Ifindex: 2})
		if err := unix.Sendmsg(fd, []byte("who am I"), oob, at(unix.AF_INET, p.Out4, p.OutPort), 0); err != nil {
			return "", err
		}
		return hears(fd)
	})
	p.datagram("cmsg routing udp6", unix.AF_INET6, func(fd int) (string, error) {
		header := append([]byte{0, 2, ipv6HeaderRoutingType2, 1, 0, 0, 0, 0}, netip.MustParseAddr(p.Host6).AsSlice()...)
		oob := make([]byte, unix.CmsgSpace(len(header)))
		binary.NativeEndian.PutUint64(oob, uint64(unix.CmsgLen(len(header))))
		binary.NativeEndian.PutUint32(oob[8:], unix.IPPROTO_IPV6)
		binary.NativeEndian.PutUint32(oob[12:], unix.IPV6_RTHDR)
		copy(oob[unix.CmsgLen(0):], header)
		return "", unix.Sendmsg(fd, []byte("who am I"), oob, at(unix.AF_INET6, p.Out6, p.OutPort), 0)
	})
	p.datagram("cmsg mark udp4", unix.AF_INET, func(fd int) (string, error) {
		oob := make([]byte, unix.CmsgSpace(4))
		binary.NativeEndian.PutUint64(oob, uint64(unix.CmsgLen(4)))
		binary.NativeEndian.PutUint32(oob[8:], unix.SOL_SOCKET)
		binary.NativeEndian.PutUint32(oob[12:], unix.SO_MARK)
		binary.NativeEndian.PutUint32(oob[16:], 7)
		return "", unix.Sendmsg(fd, []byte("who am I"), oob, at(unix.AF_INET, p.Out4, p.OutPort), 0)
	})
}
