package private

import (
	"fmt"
	"net"

	"github.com/vishvananda/netlink"

	"vserver/guest"
)

const (
	// group is the group of our links that the host is the router of, routed ones and
	// our bridges with an address: "vs" in ASCII. The rule against false source
	// addresses holds for it.
	group = 0x7673
	// switchGroup is the group of our bridges without an address, which just switch.
	switchGroup = 0x7675
	// inside is the guest's end of the link.
	inside = "eth0"
	// defaultMTU is that of Ethernet.
	defaultMTU = 1500
)

// Link is the name of the host's end of a guest's link.
func Link(xid guest.XID) string { return fmt.Sprintf("vs%d", xid) }

// mac gives the hardware address of an end of a guest's link: locally administered,
// "vs", the xid, and 0 in the guest or 1 on the host.
func mac(xid guest.XID, end byte) net.HardwareAddr {
	return net.HardwareAddr{0x02, 'v', 's', byte(xid >> 8), byte(xid), end}
}

// The ends for mac.
const (
	guestEnd = 0
	hostEnd  = 1
)

// family is what differs between IPv4 and IPv6.
type family struct {
	number  int // AF_INET, AF_INET6
	bits    int
	nextHop net.IP
	far     net.IP // an address that is nobody's, for asking where the default route goes
	sysctl  string
}

func ipv4() family {
	return family{netlink.FAMILY_V4, 32, net.IPv4(169, 254, 1, 1).To4(), net.IPv4(198, 51, 100, 1).To4(), "ipv4"}
}

func ipv6() family {
	return family{netlink.FAMILY_V6, 128, net.ParseIP("fe80::1"), net.ParseIP("2001:db8::1"), "ipv6"}
}

// host gives the network of one address.
func (f family) host(ip net.IP) *net.IPNet {
	return &net.IPNet{IP: ip, Mask: net.CIDRMask(f.bits, f.bits)}
}
