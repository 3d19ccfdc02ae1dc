package private

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"slices"
	"syscall"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"

	"vserver/guest"
	"vserver/ncontext/private/rtm"
)

// Guest is a guest of mode private and its network namespace.
type Guest struct {
	Spec  *guest.Spec
	Name  guest.Name
	Netns int // descriptor of the namespace
	Dirs  guest.Dirs
	// Resolve is told the name servers of a lease, unless it is nil.
	Resolve func(servers []netip.Addr) error
	// Moved is told that a lease has given another address, or taken it, unless it is nil.
	Moved func()
}

// Up connects the guest's namespace to the calling thread's as its spec asks. It does
// nothing, and opens nothing, when the link is routed and there are no addresses. What
// it made before an error is taken back by Down and the end of the namespace.
func Up(g Guest) error {
	n := &g.Spec.Network
	if n.Routed() && len(n.Addresses) == 0 {
		return nil
	}
	host, err := netlink.NewHandle(syscall.NETLINK_ROUTE)
	if err != nil {
		return fmt.Errorf("netlink: %w", err)
	}
	defer host.Close()
	inner, err := netlink.NewHandleAt(netns.NsHandle(g.Netns), syscall.NETLINK_ROUTE)
	if err != nil {
		return fmt.Errorf("netlink of the guest: %w", err)
	}
	defer inner.Close()

	u := &up{Guest: g, xid: g.Spec.XID, net: n, host: host, inner: inner}
	for _, p := range n.Addresses {
		u.addrs = append(u.addrs, newAddr(p.Prefix))
	}
	steps := []func() error{u.survey, u.link, u.shield, u.outside, u.lead, u.inside, u.forward, u.source, u.ready}
	switch n.Link {
	case guest.LinkBridge:
		steps = []func() error{u.survey, u.bridge, u.outlet, u.settle, u.hold, u.inlet, u.forward}
	case guest.LinkMacvlan:
		steps = []func() error{u.survey, u.macvlan, u.settle, u.hold, u.inlet}
	}
	for _, do := range append(steps, u.tell) {
		if err := do(); err != nil {
			return err
		}
	}
	return nil
}

// up is a connection being made.
type up struct {
	Guest
	xid         guest.XID
	net         *guest.Network
	host, inner *netlink.Handle
	addrs       []addr
	uplinks     []uplink // links that guests' packets come in by, each once
	mtu         int
	index       int          // of the host's end
	over        *uplink      // the bridge or the parent
	own         bool         // the bridge was made by us
	leaving     []netip.Addr // of the host now, and soon no more
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

// link makes the pair of devices of a routed link.
func (u *up) link() error { return u.pair(group, mac(u.xid, hostEnd), mac(u.xid, guestEnd)) }

// pair makes a pair of devices, both down.
func (u *up) pair(of uint32, outer, inner net.HardwareAddr) error {
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.Group, attrs.MTU = Link(u.xid), of, u.mtu
	attrs.HardwareAddr = outer
	// The kernel makes a queue for each processor otherwise, for a device that has no
	// hardware behind it: memory in every guest.
	attrs.NumTxQueues, attrs.NumRxQueues = 1, 1
	veth := &netlink.Veth{
		LinkAttrs: attrs, PeerName: inside, PeerHardwareAddr: inner,
		PeerNamespace: netlink.NsFd(u.Netns),
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
	if err := rtm.Configure(u.index, string(u.Name), true); err != nil {
		return fmt.Errorf("link %s: settings: %w", dev, err)
	}
	// Without IPv6 addresses the guest's IPv6 ends at the device. With them the host
	// must not learn a router from the guest.
	setting, value := "disable_ipv6", "1"
	if u.has6() {
		setting, value = "accept_ra", "0"
	}
	if err := writeSysctl(value, "ipv6", "conf", dev, setting); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := u.host.LinkSetUp(byIndex(u.index)); err != nil {
		return fmt.Errorf("link %s: up: %w", dev, err)
	}
	for _, a := range u.addrs {
		if err := neighbour(u.host, u.index, a.ip, mac(u.xid, guestEnd)); err != nil {
			return fmt.Errorf("link %s: neighbour %s: %w", dev, a.ip, err)
		}
		route := &netlink.Route{Dst: a.host(a.ip), LinkIndex: u.index, Scope: netlink.SCOPE_LINK, Protocol: rtm.Protocol}
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
		if err := u.address(l, a, noPrefixRoute); err != nil {
			return err
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

// address gives the guest's link an address. IPv6 is not asked for a second whether
// somebody has it: behind a routed link nobody can, and elsewhere a server is not late
// for that.
func (u *up) address(l netlink.Link, a addr, flags int) error {
	if a.Addr().Is6() {
		flags |= syscall.IFA_F_NODAD
	}
	at := &net.IPNet{IP: a.ip, Mask: net.CIDRMask(a.Bits(), a.family.bits)}
	if err := u.inner.AddrAdd(l, &netlink.Addr{IPNet: at, Flags: flags}); err != nil {
		return fmt.Errorf("guest's address %s: %w", a, err)
	}
	return nil
}

// source gives the host's end an address when the host has none to speak to the guest
// from: the one that the guest knows as its next hop.
func (u *up) source() error {
	done := map[int]bool{}
	for _, a := range u.addrs {
		if done[a.number] {
			continue
		}
		done[a.number] = true
		routes, err := u.host.RouteGet(a.ip)
		if err == nil && len(routes) > 0 && len(routes[0].Src) > 0 && !routes[0].Src.IsUnspecified() && !routes[0].Src.IsLoopback() {
			continue
		}
		flags := 0
		if a.Addr().Is6() {
			flags = syscall.IFA_F_NODAD
		}
		at := &netlink.Addr{IPNet: a.family.host(a.nextHop), Flags: flags}
		if err := u.host.AddrAdd(byIndex(u.index), at); err != nil {
			return fmt.Errorf("link %s: address %s: %w", Link(u.xid), a.nextHop, err)
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
