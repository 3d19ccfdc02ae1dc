package probe

import (
	"encoding/binary"
	"net/netip"

	"golang.org/x/sys/unix"
)

// Options of linux/in.h and linux/in6.h that golang.org/x/sys/unix has no name for.
const (
	ipAddSourceMembership  = 39
	mcastJoinGroup         = 42
	mcastJoinSourceGroup   = 46
	ipv6JoinAnycast        = 27
	ipv6FlowlabelManager   = 32
	ipv6HeaderRoutingType2 = 2
)

// optionRows set what would lead round the guest's addresses or the host's routes: rows
// 25, 31 and 32 of the list.
func (p *prober) optionRows() {
	eth := []byte("eth0\x00")
	index := binary.BigEndian.AppendUint32(nil, 2) // these options take it in network order
	sourceRoute := []byte{131, 7, 4, 203, 0, 113, 1, 0}
	strict := []byte{137, 7, 4, 203, 0, 113, 1, 0}
	home := append([]byte{0, 2, 201, 16}, make([]byte, 20)...) // a destination option: home address
	segments := append([]byte{0, 2, ipv6HeaderRoutingType2, 1, 0, 0, 0, 0}, netip.MustParseAddr(p.Host6).AsSlice()...)
	for _, o := range []struct {
		what               string
		family, level, opt int
		value              []byte
		number             int
	}{
		{what: "bindtodevice", level: unix.SOL_SOCKET, opt: unix.SO_BINDTODEVICE, value: eth},
		{what: "bindtodevice lo", level: unix.SOL_SOCKET, opt: unix.SO_BINDTODEVICE, value: []byte("lo\x00")},
		{what: "bindtoifindex", level: unix.SOL_SOCKET, opt: unix.SO_BINDTOIFINDEX, number: 2},
		{what: "unicast_if", level: unix.IPPROTO_IP, opt: unix.IP_UNICAST_IF, value: index},
		{what: "unicast_if6", family: unix.AF_INET6, level: unix.IPPROTO_IPV6, opt: unix.IPV6_UNICAST_IF, value: index},
		{what: "multicast_if", level: unix.IPPROTO_IP, opt: unix.IP_MULTICAST_IF, value: netip.MustParseAddr(p.Host4).AsSlice()},
		{what: "multicast_if6", family: unix.AF_INET6, level: unix.IPPROTO_IPV6, opt: unix.IPV6_MULTICAST_IF, number: 2},
		{what: "mark", level: unix.SOL_SOCKET, opt: unix.SO_MARK, number: 7},
		{what: "priority", level: unix.SOL_SOCKET, opt: unix.SO_PRIORITY, number: 7},
		{what: "rcvbufforce", level: unix.SOL_SOCKET, opt: unix.SO_RCVBUFFORCE, number: 1 << 26},
		{what: "debug", level: unix.SOL_SOCKET, opt: unix.SO_DEBUG, number: 1},
		{what: "repair", level: unix.IPPROTO_TCP, opt: unix.TCP_REPAIR, number: 1},
		{what: "loose source route", level: unix.IPPROTO_IP, opt: unix.IP_OPTIONS, value: sourceRoute},
		{what: "strict source route", level: unix.IPPROTO_IP, opt: unix.IP_OPTIONS, value: strict},
		{what: "home address", family: unix.AF_INET6, level: unix.IPPROTO_IPV6, opt: unix.IPV6_DSTOPTS, value: home},
		{what: "hop by hop", family: unix.AF_INET6, level: unix.IPPROTO_IPV6, opt: unix.IPV6_HOPOPTS, value: []byte{0, 0, 1, 4, 0, 0, 0, 0}},
		{what: "routing header", family: unix.AF_INET6, level: unix.IPPROTO_IPV6, opt: unix.IPV6_RTHDR, value: segments},
		{what: "segments", family: unix.AF_INET6, level: unix.IPPROTO_IPV6, opt: unix.IPV6_RTHDR, value: segmentHeader(p.Out6, p.Host6)},
		{what: "flow label", family: unix.AF_INET6, level: unix.IPPROTO_IPV6, opt: ipv6FlowlabelManager, value: flowLabel(p.Out6)},
		{what: "header included", level: unix.IPPROTO_IP, opt: unix.IP_HDRINCL, number: 1},
		{what: "udp encapsulation", level: unix.IPPROTO_UDP, opt: unix.UDP_ENCAP, number: 2},
		{what: "kernel tls", level: unix.IPPROTO_TCP, opt: unix.TCP_ULP, value: []byte("tls")},
	} {
		kind := unix.SOCK_DGRAM
		if o.level == unix.IPPROTO_TCP {
			kind = unix.SOCK_STREAM
		}
		p.try("option "+o.what, func() (string, error) {
			fd, err := p.socket(max(o.family, unix.AF_INET), kind, 0)
			if err != nil {
				return "", err
			}
			if o.value != nil {
				return "", bytesOption(fd, o.level, o.opt, o.value)
			}
			return "", option(fd, o.level, o.opt, o.number)
		})
	}
}

// segmentHeader is a routing header that has packets go to an address by another: struct
// ipv6_sr_hdr of linux/seg6.h.
func segmentHeader(to, by string) []byte {
	const segments = 4
	head := []byte{0, 4, segments, 1, 1, 0, 0, 0}
	return append(append(head, netip.MustParseAddr(to).AsSlice()...), netip.MustParseAddr(by).AsSlice()...)
}

// flowLabel asks for a label that is nobody else's: struct in6_flowlabel_req of
// linux/in6.h.
func flowLabel(to string) []byte {
	const get, create, exclusive = 0, 1, 1
	b := netip.MustParseAddr(to).AsSlice()
	b = binary.BigEndian.AppendUint32(b, 4711)
	b = append(b, get, exclusive)
	b = binary.NativeEndian.AppendUint16(b, create)
	return append(b, make([]byte, 8)...)
}

// groupRows are memberships and datagrams to many: row 26 of the list.
func (p *prober) groupRows() {
	group, group6 := netip.MustParseAddr("224.0.0.251").AsSlice(), netip.MustParseAddr("ff02::fb").AsSlice()
	own, source := netip.MustParseAddr(p.Own4).AsSlice(), netip.MustParseAddr(p.Out4).AsSlice()
	request := append(make([]byte, 8), storage(rawAddr(unix.AF_INET, "224.0.0.251", 0))...)
	both := append(append([]byte{}, request...), storage(rawAddr(unix.AF_INET, p.Out4, 0))...)
	index := binary.NativeEndian.AppendUint32(nil, 2)
	for _, o := range []struct {
		what               string
		family, level, opt int
		value              []byte
	}{
		{"add_membership", unix.AF_INET, unix.IPPROTO_IP, unix.IP_ADD_MEMBERSHIP, append(append([]byte{}, group...), own...)},
		{"add_source_membership", unix.AF_INET, unix.IPPROTO_IP, ipAddSourceMembership, append(append(append([]byte{}, group...), own...), source...)},
		{"join_group", unix.AF_INET, unix.IPPROTO_IP, mcastJoinGroup, request},
		{"join_source_group", unix.AF_INET, unix.IPPROTO_IP, mcastJoinSourceGroup, both},
		{"add_membership6", unix.AF_INET6, unix.IPPROTO_IPV6, unix.IPV6_JOIN_GROUP, append(append([]byte{}, group6...), index...)},
		{"add_membership by 6", unix.AF_INET6, unix.IPPROTO_IP, unix.IP_ADD_MEMBERSHIP, append(append([]byte{}, group...), own...)},
		{"join_anycast", unix.AF_INET6, unix.IPPROTO_IPV6, ipv6JoinAnycast, append(netip.MustParseAddr("2001:db8::77").AsSlice(), index...)},
	} {
		p.datagram("group "+o.what, o.family, func(fd int) (string, error) { return "", bytesOption(fd, o.level, o.opt, o.value) })
	}
	for _, to := range []place{{"multicast", "224.0.0.1"}, {"broadcast", "255.255.255.255"}, {"subnet", "198.51.100.255"}, {"multicast6", "ff02::1"}, {"mapped multicast", "::ffff:224.0.0.1"}} {
		family := unix.AF_INET
		if a := netip.MustParseAddr(to.addr); a.Is6() {
			family = unix.AF_INET6
		}
		p.datagram("group send "+to.whose, family, func(fd int) (string, error) {
			option(fd, unix.SOL_SOCKET, unix.SO_BROADCAST, 1)
			sa := at(family, to.addr, p.OutPort)
			if six, ok := sa.(*unix.SockaddrInet6); ok && to.whose == "multicast6" {
				six.ZoneId = 2
			}
			return "", unix.Sendto(fd, []byte("who am I"), 0, sa)
		})
	}
}

// storage is an address in a struct sockaddr_storage.
func storage(b []byte) []byte { return append(b, make([]byte, 128-len(b))...) }
