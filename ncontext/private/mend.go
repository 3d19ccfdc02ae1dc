package private

import (
	"fmt"
	"net/netip"
	"syscall"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"

	"vserver/guest"
	"vserver/ncontext/firewall"
	"vserver/ncontext/private/held"
	"vserver/ncontext/private/port"
)

// Mend puts back what a guest that runs has in the packet filter of the host, where it is
// gone: the rules of its port, and by tell what the host's table has of it. Its namespace
// is needed.
func Mend(g Guest, tell func(firewall.Guest) error) error {
	u := &up{Guest: g, xid: g.Spec.XID, net: &g.Spec.Network}
	for _, p := range u.net.Addresses {
		u.addrs = append(u.addrs, newAddr(p.Prefix))
	}
	host, err := netlink.NewHandle(syscall.NETLINK_ROUTE)
	if err != nil {
		return fmt.Errorf("netlink: %w", err)
	}
	defer host.Close()
	u.host = host
	if u.net.Link == guest.LinkBridge {
		if err := u.reguard(); err != nil {
			return err
		}
	}
	f := firewall.Guest{XID: u.xid, Addresses: addrsOf(u.addrs), Shaped: u.net.Egress.Asked()}
	switch {
	case u.net.Link == guest.LinkMacvlan && !f.Shaped, len(u.addrs) == 0:
		return nil
	case u.net.Link == guest.LinkMacvlan:
		return tell(f)
	}
	return u.filter(tell)
}

// reguard makes the rules of the guest's port anew when they are gone, for the addresses
// that it has by now, and finds the bridge.
func (u *up) reguard() error {
	if u.net.DHCP {
		have, err := leased(u.Netns)
		if err != nil {
			return err
		}
		for _, a := range have {
			u.addrs = append(u.addrs, newAddr(netip.PrefixFrom(a, a.BitLen())))
		}
	}
	unlock, err := lock(u.Dirs)
	if err != nil {
		return err
	}
	defer unlock()
	if err := u.joined(); err != nil {
		return err
	}
	if there, err := port.Guarded(Link(u.xid)); err != nil || there {
		return err
	}
	if err := u.guard(); err != nil {
		return err
	}
	if !u.net.Egress.Asked() {
		return nil
	}
	return port.Classify(Link(u.xid), firewall.Class(u.xid))
}

// leased gives the IPv4 addresses that a guest in this namespace has by its leases.
func leased(ns int) (out []netip.Addr, err error) {
	err = held.Within(ns, func() error {
		inner, err := netlink.NewHandleAt(netns.NsHandle(ns), syscall.NETLINK_ROUTE)
		if err != nil {
			return fmt.Errorf("netlink of the guest: %w", err)
		}
		defer inner.Close()
		l, err := inner.LinkByName(inside)
		if err != nil {
			return fmt.Errorf("guest's link %s: %w", inside, err)
		}
		have, err := (&tenant{inner: inner, link: l}).addresses()
		for _, a := range have {
			if ip, ok := netip.AddrFromSlice(a.IP.To4()); ok {
				out = append(out, ip)
			}
		}
		return err
	})
	return out, err
}
