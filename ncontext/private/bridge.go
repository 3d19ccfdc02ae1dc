package private

import (
	"errors"
	"fmt"
	"hash/fnv"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"syscall"

	"github.com/vishvananda/netlink"

	"vserver/fault"
	"vserver/guest"
	"vserver/ncontext/private/held"
	"vserver/ncontext/private/port"
	"vserver/ncontext/private/rtm"
)

func (u *up) routed() bool { return u.net.Routed() }

// bridgeName is the bridge that the guest joins; "" for none.
func (u *up) bridgeName() string {
	if u.net.Link != guest.LinkBridge {
		return ""
	}
	return held.Over(u.net)
}

// hold has the guest keep to rules that the host's filter would not see.
func (u *up) hold() error { return held.Up(u.held()) }

func (u *up) held() held.Guest {
	return held.Guest{Spec: u.Spec, Netns: u.Netns, Port: Link(u.xid), Addresses: addrsOf(u.addrs)}
}

// bridge finds or makes the bridge and makes the guest's port of it, down. All of it
// under the lock, so that a bridge is not taken for empty meanwhile. The rules for the
// port come first: by them Down knows that there may be more.
func (u *up) bridge() error {
	unlock, err := lock(u.Dirs)
	if err != nil {
		return err
	}
	defer unlock()
	if err := u.guard(); err != nil {
		return err
	}
	if err := u.findBridge(); err != nil {
		return err
	}
	if !u.own {
		u.uplinks = nil // the host only switches
	}
	// The kernel gives a bridge the lowest hardware address of its ports, unless it was
	// given one: the highest of ours is never it.
	outer := mac(u.xid, hostEnd)
	outer[0] = 0xfe
	if err := u.pair(port.Group, outer, station(u.Dirs, u.xid)); err != nil {
		return err
	}
	if err := u.host.LinkSetMasterByIndex(byIndex(u.index), u.over.index); err != nil {
		return fmt.Errorf("link %s: join %s: %w", Link(u.xid), u.over.name, err)
	}
	return nil
}

// guard holds the guest's port to what is known of the guest, before the port is up. A
// guest of which nothing is known, since it has its own DHCP client, is held to its
// hardware address.
func (u *up) guard() error {
	rules := port.Rules{Hardware: station(u.Dirs, u.xid), Addresses: addrsOf(u.addrs), DHCP: u.net.DHCP}
	rules.Free = len(rules.Addresses) == 0 && !rules.DHCP
	err := port.Guard(Link(u.xid), rules)
	if err == nil || errors.Is(err, syscall.EPERM) {
		return err
	}
	return fault.Hint(fmt.Errorf("%w: %w", err, guest.ErrUnsupported),
		"guests could send under false addresses; the kernel needs CONFIG_NF_TABLES_BRIDGE")
}

// findBridge finds the bridge, or makes it, and gives one of ours its addresses.
func (u *up) findBridge() error {
	name := u.bridgeName()
	link, err := u.host.LinkByName(name)
	if errors.As(err, new(netlink.LinkNotFoundError)) {
		if err = u.makeBridge(name); err != nil {
			return err
		}
		link, err = u.host.LinkByName(name)
	}
	if err != nil {
		return fmt.Errorf("bridge %s: %w", name, err)
	}
	if err := isBridge(link); err != nil {
		return err
	}
	u.over = &uplink{link.Attrs().Index, name, link.Attrs().MTU}
	u.own = isOurs(link)
	u.mtu = u.over.mtu
	if u.own {
		return u.gateways(link)
	}
	return nil
}

// isBridge refuses a link that is none.
func isBridge(l netlink.Link) error {
	if l.Type() == "bridge" {
		return nil
	}
	return fmt.Errorf("network.bridge: %s is a link of type %s: %w", l.Attrs().Name, l.Type(), guest.ErrInvalid)
}

// isOurs tells whether a bridge was made by us.
func isOurs(l netlink.Link) bool {
	g := l.Attrs().Group
	return l.Type() == "bridge" && (g == group || g == switchGroup)
}

// makeBridge makes a bridge. Its hardware address does not change with its ports.
func (u *up) makeBridge(name string) error {
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.Group, attrs.MTU = name, switchGroup, u.mtu
	attrs.HardwareAddr = hashed(u.Dirs, "bridge "+name)
	if err := u.host.LinkAdd(&netlink.Bridge{LinkAttrs: attrs}); err != nil {
		return fmt.Errorf("bridge %s: %w", name, err)
	}
	l, err := u.host.LinkByName(name)
	if err != nil {
		return fmt.Errorf("bridge %s: %w", name, err)
	}
	if err := rtm.Configure(l.Attrs().Index, "bridge of guests", false); err != nil {
		return fmt.Errorf("bridge %s: settings: %w", name, err)
	}
	if err := writeSysctl("1", "ipv6", "conf", name, "disable_ipv6"); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := u.host.LinkSetUp(l); err != nil {
		return fmt.Errorf("bridge %s: up: %w", name, err)
	}
	return nil
}

// gateways gives a bridge of ours the guest's routers as addresses: the host is the
// router there.
func (u *up) gateways(bridge netlink.Link) error {
	for _, g := range u.net.Gateway {
		a, err := u.beside(g)
		if err != nil {
			return err
		}
		flags := 0
		if g.Is6() {
			flags = syscall.IFA_F_NODAD
			for _, s := range [][2]string{{"accept_ra", "0"}, {"disable_ipv6", "0"}} {
				if err := writeSysctl(s[1], "ipv6", "conf", u.over.name, s[0]); err != nil {
					return err
				}
			}
		}
		at := &net.IPNet{IP: g.AsSlice(), Mask: net.CIDRMask(a.Bits(), a.family.bits)}
		err = u.host.AddrAdd(bridge, &netlink.Addr{IPNet: at, Flags: flags})
		if err != nil && !errors.Is(err, syscall.EEXIST) {
			return fmt.Errorf("bridge %s: address %s: %w", u.over.name, at, err)
		}
		if bridge.Attrs().Group != group {
			if err := u.host.LinkSetGroup(bridge, group); err != nil {
				return fmt.Errorf("bridge %s: group: %w", u.over.name, err)
			}
		}
	}
	return nil
}

// beside gives the address of the guest that a router has in its network.
func (u *up) beside(router netip.Addr) (addr, error) {
	i := slices.IndexFunc(u.addrs, func(a addr) bool { return a.Contains(router) })
	if i < 0 {
		return addr{}, fmt.Errorf("network.gateway: %s is in no prefix of network.addresses: %w", router, guest.ErrInvalid)
	}
	return u.addrs[i], nil
}

// outlet sets up the host's end at the bridge.
func (u *up) outlet() error {
	dev := Link(u.xid)
	if err := writeSysctl("1", "ipv6", "conf", dev, "disable_ipv6"); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := u.host.LinkSetAlias(byIndex(u.index), string(u.Name)); err != nil {
		return fmt.Errorf("link %s: alias: %w", dev, err)
	}
	if err := u.host.LinkSetUp(byIndex(u.index)); err != nil {
		return fmt.Errorf("link %s: up: %w", dev, err)
	}
	return u.shield()
}

// parent is the link of the host that a macvlan is to be beside.
func (u *up) parent() (netlink.Link, error) {
	l, err := u.host.LinkByName(u.net.Parent)
	if err != nil {
		return nil, fault.Hint(fmt.Errorf("network.parent: %s: %w", u.net.Parent, err), "see `ip link`")
	}
	return l, nil
}

// macvlan makes the guest's link beside the host's.
func (u *up) macvlan() error {
	parent, err := u.parent()
	if err != nil {
		return err
	}
	u.uplinks = nil
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.ParentIndex = inside, parent.Attrs().Index
	attrs.Namespace = netlink.NsFd(u.Netns)
	attrs.HardwareAddr = station(u.Dirs, u.xid)
	err = u.host.LinkAdd(&netlink.Macvlan{LinkAttrs: attrs, Mode: netlink.MACVLAN_MODE_BRIDGE})
	if errors.Is(err, syscall.EADDRINUSE) || errors.Is(err, syscall.EBUSY) {
		return fault.Hint(fmt.Errorf("macvlan on %s: %w: %w", u.net.Parent, err, guest.ErrBusy),
			"a bridge's port, or a link whose hardware address is taken, has no room for one; see `ip -d link show "+u.net.Parent+"`")
	}
	if err != nil {
		return fmt.Errorf("macvlan on %s: %w", u.net.Parent, err)
	}
	return nil
}

// settle has the guest's link announce itself when it comes up, and decides what it
// learns from its neighbours: routers by advertisements only when the spec leaves its
// addresses to the network, and no IPv6 at all when it names none.
func (u *up) settle() error {
	return held.Within(u.Netns, func() error {
		if err := writeSysctl("1", "ipv4", "conf", inside, "arp_notify"); err != nil {
			return err
		}
		settings := [][2]string{{"ndisc_notify", "1"}}
		switch {
		case u.has6():
			settings = append(settings, [2]string{"accept_ra", "0"})
		case len(u.addrs) > 0:
			settings = [][2]string{{"disable_ipv6", "1"}}
		}
		for _, s := range settings {
			err := writeSysctl(s[1], "ipv6", "conf", inside, s[0])
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
		return nil
	})
}

// inlet sets up the guest's end of a link with neighbours.
func (u *up) inlet() error {
	l, err := u.inner.LinkByName(inside)
	if err != nil {
		return fmt.Errorf("guest's link %s: %w", inside, err)
	}
	for _, a := range u.addrs {
		if err := u.address(l, a, 0); err != nil {
			return err
		}
	}
	if err := u.inner.LinkSetUp(l); err != nil {
		return fmt.Errorf("guest's link %s: up: %w", inside, err)
	}
	for _, g := range u.net.Gateway {
		f := ipv4()
		if g.Is6() {
			f = ipv6()
		}
		route := &netlink.Route{Dst: f.everything(), Gw: g.AsSlice(), LinkIndex: l.Attrs().Index, Flags: int(netlink.FLAG_ONLINK)}
		if i := slices.IndexFunc(u.addrs, func(a addr) bool { return a.number == f.number }); i >= 0 {
			route.Src = u.addrs[i].ip
		}
		if err := u.inner.RouteAdd(route); err != nil {
			return fmt.Errorf("guest's default route via %s: %w", g, err)
		}
	}
	if u.index == 0 {
		return nil // a macvlan has announced itself when it came up
	}
	// The port forwards from when the kernel has seen its carrier (see ready). Then the
	// guest's link is given the hardware address that it has, of which it tells its
	// neighbours: no packet socket, no wait.
	if _, err := u.host.LinkByIndex(u.index); err != nil {
		return fmt.Errorf("link %s: %w", Link(u.xid), err)
	}
	if err := u.inner.LinkSetHardwareAddr(l, l.Attrs().HardwareAddr); err != nil {
		return fmt.Errorf("guest's link %s: announce: %w", inside, err)
	}
	return nil
}

// station is the hardware address of a guest on a link with strangers: of this host
// and this number, and always the same.
func station(dirs guest.Dirs, xid guest.XID) net.HardwareAddr {
	return hashed(dirs, fmt.Sprint("guest ", xid))
}

// hashed makes a locally administered hardware address of the host's machine id and
// what it is for.
func hashed(dirs guest.Dirs, what string) net.HardwareAddr {
	id, err := os.ReadFile(filepath.Join(dirs.Etc, "machine-id"))
	if err != nil {
		host, _ := os.Hostname()
		id = []byte(host)
	}
	h := fnv.New64a()
	h.Write(id)
	h.Write([]byte(what))
	sum := h.Sum(nil)
	return net.HardwareAddr{0x02, sum[0] ^ sum[5], sum[1] ^ sum[6], sum[2] ^ sum[7], sum[3], sum[4]}
}
