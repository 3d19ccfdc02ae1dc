package dhcp

import (
	"encoding/binary"
	"fmt"
	"net"

	"github.com/insomniacslk/dhcp/dhcpv4"

	"vserver/guest"
)

// Ports of DHCP.
const (
	serverPort = 67
	clientPort = 68
)

// frame puts a message into IP and UDP, from nobody, or from the address that it is
// from, to everybody.
func frame(m *dhcpv4.DHCPv4) []byte {
	const ip, udp = 20, 8
	body := m.ToBytes()
	f := make([]byte, ip+udp, ip+udp+len(body))
	f[0], f[8], f[9] = 0x45, 64, 17 // version 4, 5 words; hops; UDP
	binary.BigEndian.PutUint16(f[2:], uint16(ip+udp+len(body)))
	copy(f[12:16], m.ClientIPAddr.To4())
	copy(f[16:20], net.IPv4bcast.To4())
	binary.BigEndian.PutUint16(f[10:], checksum(f[:ip]))
	binary.BigEndian.PutUint16(f[ip:], clientPort)
	binary.BigEndian.PutUint16(f[ip+2:], serverPort)
	binary.BigEndian.PutUint16(f[ip+4:], uint16(udp+len(body))) // its checksum may be left out
	return append(f, body...)
}

// checksum is that of the Internet, RFC 1071.
func checksum(b []byte) uint16 {
	sum := uint32(0)
	for i := 0; i+1 < len(b); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}

// unframe gives the message in a packet from a server. The packet is a stranger's.
func unframe(p []byte) (*dhcpv4.DHCPv4, error) {
	const udp = 8
	if len(p) < 20 || p[0]>>4 != 4 {
		return nil, fmt.Errorf("dhcp: no IPv4 packet: %w", guest.ErrInvalid)
	}
	ip, total := int(p[0]&15)*4, int(binary.BigEndian.Uint16(p[2:]))
	if ip < 20 || total > len(p) || total < ip+udp || p[9] != 17 {
		return nil, fmt.Errorf("dhcp: no UDP packet: %w", guest.ErrInvalid)
	}
	p = p[ip:total]
	if binary.BigEndian.Uint16(p) != serverPort || binary.BigEndian.Uint16(p[2:]) != clientPort {
		return nil, fmt.Errorf("dhcp: not from a server: %w", guest.ErrInvalid)
	}
	m, err := dhcpv4.FromBytes(p[udp:])
	if err != nil {
		return nil, fmt.Errorf("dhcp: %w", err)
	}
	if m.OpCode != dhcpv4.OpcodeBootReply {
		return nil, fmt.Errorf("dhcp: not an answer: %w", guest.ErrInvalid)
	}
	return m, nil
}
