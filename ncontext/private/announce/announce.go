// Package announce tells the neighbours on a link where an address is now.
package announce

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"slices"

	"vserver/kernel/packet"
)

// At tells by the link with that index and hardware address, in the network namespace
// of the calling thread, that it answers for the address: by a gratuitous ARP or an
// unsolicited neighbour advertisement. It takes the kernel some milliseconds.
func At(index int, hw net.HardwareAddr, a netip.Addr) error {
	s, err := packet.Open(index, 0, nil)
	if err != nil {
		return fmt.Errorf("announce %s: %w", a, err)
	}
	defer s.Close()
	if a.Is4() {
		return s.Send(packet.ARP, net.HardwareAddr{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, arpAnnouncement(hw, a))
	}
	return s.Send(packet.IP6, net.HardwareAddr{0x33, 0x33, 0, 0, 0, 1}, advertisement(hw, a))
}

// arpAnnouncement is a gratuitous ARP: a request for the own address (RFC 5227).
func arpAnnouncement(hw net.HardwareAddr, a netip.Addr) []byte {
	p := []byte{0, 1, 8, 0, 6, 4, 0, 1} // Ethernet, IPv4, a request
	p = append(append(p, hw...), a.AsSlice()...)
	return append(append(p, 0, 0, 0, 0, 0, 0), a.AsSlice()...)
}

// advertisement is an unsolicited neighbour advertisement to all nodes, in its IPv6
// packet (RFC 4861, 4.4 and 7.2.6). The flag that overrides what others know is set.
func advertisement(hw net.HardwareAddr, a netip.Addr) []byte {
	const icmpv6, advert, override, linkAddress = 58, 136, 0x20, 2
	allNodes := netip.MustParseAddr("ff02::1")
	body := []byte{advert, 0, 0, 0, override, 0, 0, 0}
	body = append(append(body, a.AsSlice()...), linkAddress, 1)
	body = append(body, hw...)
	pseudo := slices.Concat(a.AsSlice(), allNodes.AsSlice(), []byte{0, 0, 0, byte(len(body)), 0, 0, 0, icmpv6}, body)
	sum := uint32(0)
	for i := 0; i < len(pseudo); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(pseudo[i:]))
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	binary.BigEndian.PutUint16(body[2:], ^uint16(sum))
	head := []byte{0x60, 0, 0, 0, 0, byte(len(body)), icmpv6, 255}
	return slices.Concat(head, a.AsSlice(), allNodes.AsSlice(), body)
}
