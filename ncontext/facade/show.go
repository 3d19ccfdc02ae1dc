package facade

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"syscall"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"

	"vserver/fault"
	"vserver/guest"
)

// Device is the link on which a guest sees its addresses.
const Device = "eth0"

// noPrefixRoute is IFA_F_NOPREFIXROUTE of linux/if_addr.h.
const noPrefixRoute = 0x200

// Show puts the addresses into the network namespace at the descriptor, on a dummy
// device (or a bridge without ports, where the kernel has no dummies), with a default
// route for each family. It is a picture: what goes there goes nowhere, and the guest's
// root may paint over it. The device has the number index, that of the host's link, by
// which programs name it to sockets that are of the host's network; 0 and 1, the
// number of lo, leave it to the kernel.
func Show(netnsFD int, addresses []guest.Address, index int) error {
	h, err := netlink.NewHandleAt(netns.NsHandle(netnsFD), syscall.NETLINK_ROUTE)
	if err != nil {
		return fmt.Errorf("netlink of the guest: %w", err)
	}
	defer h.Close()
	attrs := netlink.NewLinkAttrs()
	attrs.Name = Device
	if index > 1 {
		attrs.Index = index
	}
	err = h.LinkAdd(&netlink.Dummy{LinkAttrs: attrs})
	if errors.Is(err, syscall.EOPNOTSUPP) {
		err = h.LinkAdd(&netlink.Bridge{LinkAttrs: attrs})
	}
	if errors.Is(err, syscall.EOPNOTSUPP) {
		return fault.Hint(fmt.Errorf("guest's link %s: neither dummies nor bridges: %w", Device, guest.ErrUnsupported), "`modprobe dummy` brings dummies")
	}
	if err != nil {
		return fmt.Errorf("guest's link %s: %w", Device, err)
	}
	link, err := h.LinkByName(Device)
	if err == nil {
		// No address of its own making beside the guest's.
		if err = h.LinkSetIP6AddrGenMode(link, genNone); errors.Is(err, syscall.EAFNOSUPPORT) {
			err = nil // without IPv6
		}
	}
	if err == nil {
		err = h.LinkSetUp(link)
	}
	if err != nil {
		return fmt.Errorf("guest's link %s: %w", Device, err)
	}
	return paint(h, link, addresses)
}

// Repaint changes the picture in the network namespace at the descriptor to the
// addresses, of which before were there. What the guest's root has painted beside them
// stays; there is nothing to do when it has taken the link away.
func Repaint(netnsFD int, before, addresses []guest.Address) error {
	h, err := netlink.NewHandleAt(netns.NsHandle(netnsFD), syscall.NETLINK_ROUTE)
	if err != nil {
		return fmt.Errorf("netlink of the guest: %w", err)
	}
	defer h.Close()
	link, err := h.LinkByName(Device)
	if errors.As(err, new(netlink.LinkNotFoundError)) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("guest's link %s: %w", Device, err)
	}
	for _, a := range before {
		if slices.Contains(addresses, a) {
			continue
		}
		// The default route goes with the address that it names as its source.
		if err := h.AddrDel(link, &netlink.Addr{IPNet: network(a.Prefix)}); err != nil && !errors.Is(err, syscall.EADDRNOTAVAIL) {
			return fmt.Errorf("guest's address %s: %w", a.Prefix, err)
		}
	}
	return paint(h, link, addresses)
}

func network(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

// genNone is IN6_ADDR_GEN_MODE_NONE of linux/if_link.h.
const genNone = 1

// paint puts the addresses and the default routes on the link.
func paint(h *netlink.Handle, link netlink.Link, addresses []guest.Address) error {
	var routed [2]bool
	for _, a := range addresses {
		p, six, flags := a.Prefix, 0, 0
		if p.Addr().Is6() {
			six, flags = 1, syscall.IFA_F_NODAD
		}
		bits := p.Addr().BitLen()
		ip := network(p)
		err := h.AddrAdd(link, &netlink.Addr{IPNet: ip, Flags: flags | noPrefixRoute})
		if err != nil && !errors.Is(err, syscall.EEXIST) {
			return fmt.Errorf("guest's address %s: %w", p, err)
		}
		if routed[six] {
			continue
		}
		routed[six] = true
		route := &netlink.Route{LinkIndex: link.Attrs().Index, Src: ip.IP,
			Dst: &net.IPNet{IP: make(net.IP, bits/8), Mask: net.CIDRMask(0, bits)}}
		if bits == 32 {
			route.Scope = netlink.SCOPE_LINK
		}
		if err := h.RouteAdd(route); err != nil && !errors.Is(err, syscall.EEXIST) {
			return fmt.Errorf("guest's default route: %w", err)
		}
	}
	return nil
}
