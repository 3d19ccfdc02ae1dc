package private

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"syscall"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"

	"vserver/guest"
)

// Up connects the network namespace at the descriptor netnsFD to the calling thread's
// as the guest's spec asks. It does nothing, and opens nothing, unless the mode is
// private and there are addresses. What it made before an error is taken down by Down
// and the end of the namespace.
func Up(spec *guest.Spec, name guest.Name, netnsFD int) error {
	if spec.Network.Mode != guest.NetPrivate || len(spec.Network.Addresses) == 0 {
		return nil
	}
	host, err := netlink.NewHandle(syscall.NETLINK_ROUTE)
	if err != nil {
		return fmt.Errorf("netlink: %w", err)
	}
	defer host.Close()
	inner, err := netlink.NewHandleAt(netns.NsHandle(netnsFD), syscall.NETLINK_ROUTE)
	if err != nil {
		return fmt.Errorf("netlink of the guest: %w", err)
	}
	defer inner.Close()

	u := &up{xid: spec.XID, name: name, host: host, inner: inner, netns: netnsFD}
	for _, p := range spec.Network.Addresses {
		u.addrs = append(u.addrs, newAddr(p.Prefix))
	}
	for _, do := range []func() error{u.survey, u.link, u.shield, u.outside, u.inside, u.forward, u.ready} {
		if err := do(); err != nil {
			return err
		}
	}
	return nil
}

// up is a connection being made.
type up struct {
	xid         guest.XID
	name        guest.Name
	host, inner *netlink.Handle
	netns       int
	addrs       []addr
	uplinks     []uplink // links that guests' packets come in by, each once
	mtu         int
	index       int // of the host's end
}

// addr is an address of the guest.
type addr struct {
	family
	netip.Prefix
	ip     net.IP
	onlink int // index of the host's link that has its prefix; 0 for none
}

func newAddr(p netip.Prefix) addr {
	p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits())
	a := addr{family: ipv4(), Prefix: p, ip: p.Addr().AsSlice()}
	if p.Addr().Is6() {
		a.family = ipv6()
	}
	return a
}

func (u *up) has6() bool {
	return slices.ContainsFunc(u.addrs, func(a addr) bool { return a.Addr().Is6() })
}

// link makes the pair of devices, both down.
func (u *up) link() error {
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.Group, attrs.MTU = Link(u.xid), group, u.mtu
	attrs.HardwareAddr = mac(u.xid, hostEnd)
	// The kernel makes a queue for each processor otherwise, for a device that has no
	// hardware behind it: memory in every guest.
	attrs.NumTxQueues, attrs.NumRxQueues = 1, 1
	veth := &netlink.Veth{
		LinkAttrs: attrs, PeerName: inside, PeerHardwareAddr: mac(u.xid, guestEnd),
		PeerNamespace: netlink.NsFd(u.netns),
	}
	err := u.host.LinkAdd(veth)
	if errors.Is(err, syscall.EEXIST) {
		// Of a guest that has just ended: its namespace is still being taken apart.
		if err = u.host.LinkDel(veth); err == nil || errors.As(err, new(netlink.LinkNotFoundError)) {
			veth.Index = 0
			err = u.host.LinkAdd(veth)
		}
	}
	if err != nil {
		return fmt.Errorf("link %s: %w", attrs.Name, err)
	}
	if u.index = veth.Index; u.index == 0 {
		l, err := u.host.LinkByName(attrs.Name)
		if err != nil {
			return fmt.Errorf("link %s: %w", attrs.Name, err)
		}
		u.index = l.Attrs().Index
	}
	return nil
}

// outside sets up the host's end: settings, then up, then routes to the guest.
func (u *up) outside() error {
	dev := Link(u.xid)
	if err := configure(u.index, string(u.name)); err != nil {
		return fmt.Errorf("link %s: settings: %w", dev, err)
	}
	// Without IPv6 addresses the guest's IPv6 ends at the device. With them the host
	// must not learn a router from the guest.
	setting, value := "disable_ipv6", "1"
	if u.has6() {
		setting, value = "accept_ra", "0"
	}
	if err := writeSysctl(value, "ipv6", "conf", dev, setting); err != nil && !errors.Is(err, syscall.ENOENT) {
		return err
	}
	if err := u.host.LinkSetUp(byIndex(u.index)); err != nil {
		return fmt.Errorf("link %s: up: %w", dev, err)
	}
	for _, a := range u.addrs {
		if err := neighbour(u.host, u.index, a.ip, mac(u.xid, guestEnd)); err != nil {
			return fmt.Errorf("link %s: neighbour %s: %w", dev, a.ip, err)
		}
		route := &netlink.Route{Dst: a.host(a.ip), LinkIndex: u.index, Scope: netlink.SCOPE_LINK, Protocol: protocol}
		if err := u.host.RouteAdd(route); err != nil {
			return fmt.Errorf("route %s dev %s: %w", route.Dst, dev, err)
		}
	}
	return nil
}

// inside sets up the guest's end.
func (u *up) inside() error {
	l, err := u.inner.LinkByName(inside)
	if err != nil {
		return fmt.Errorf("guest's link %s: %w", inside, err)
	}
	index := l.Attrs().Index
	for _, a := range u.addrs {
		// Nobody else can have the address, so IPv6 need not ask for a second.
		flags := syscall.IFA_F_NODAD
		if a.Addr().Is4() {
			flags = 0
		}
		net := &net.IPNet{IP: a.ip, Mask: net.CIDRMask(a.Bits(), a.family.bits)}
		if err := u.inner.AddrAdd(l, &netlink.Addr{IPNet: net, Flags: flags | noPrefixRoute}); err != nil {
			return fmt.Errorf("guest's address %s: %w", a, err)
		}
	}
	if err := u.inner.LinkSetUp(l); err != nil {
		return fmt.Errorf("guest's link %s: up: %w", inside, err)
	}
	done := map[int]bool{}
	for _, a := range u.addrs {
		if done[a.number] {
			continue // the first of each family is the primary one
		}
		done[a.number] = true
		if err := neighbour(u.inner, index, a.nextHop, mac(u.xid, hostEnd)); err != nil {
			return fmt.Errorf("guest's neighbour %s: %w", a.nextHop, err)
		}
		route := &netlink.Route{
			Dst: a.everything(), Gw: a.nextHop, Src: a.ip, LinkIndex: index, Flags: int(netlink.FLAG_ONLINK),
		}
		if err := u.inner.RouteAdd(route); err != nil {
			return fmt.Errorf("guest's default route via %s: %w", a.nextHop, err)
		}
	}
	return nil
}

// ready has the kernel notice that the host's end, which came up before the other,
// has its carrier: until it does, which takes some time of its own, the end drops what
// is sent. Asking for the state is enough since 6.8; before that it happens when it
// happens.
func (u *up) ready() error {
	if _, err := u.host.LinkByIndex(u.index); err != nil {
		return fmt.Errorf("link %s: %w", Link(u.xid), err)
	}
	return nil
}

// noPrefixRoute is IFA_F_NOPREFIXROUTE of linux/if_addr.h: no route comes of the
// address's prefix length.
const noPrefixRoute = 0x200

// everything is the destination of a default route.
func (f family) everything() *net.IPNet {
	return &net.IPNet{IP: make(net.IP, f.bits/8), Mask: net.CIDRMask(0, f.bits)}
}

// byIndex names a link by its number.
func byIndex(index int) netlink.Link {
	return &netlink.Dummy{LinkAttrs: netlink.LinkAttrs{Index: index}}
}

// neighbour makes a hardware address known for good.
func neighbour(h *netlink.Handle, link int, ip net.IP, hw net.HardwareAddr) error {
	return h.NeighSet(&netlink.Neigh{LinkIndex: link, IP: ip, HardwareAddr: hw, State: netlink.NUD_PERMANENT})
}
