package private

import (
	"errors"
	"fmt"
	"net/netip"
	"syscall"

	"github.com/vishvananda/netlink"

	"vserver/guest"
	"vserver/ncontext/firewall"
	"vserver/ncontext/private/route"
)

// Check gives the error that Up would end with for a guest that runs, once it has ended and the
// host has lost the addresses that are leaving with it. Nothing is changed.
func Check(g Guest, leaving []netip.Addr) error {
	n := &g.Spec.Network
	if n.Routed() && len(n.Addresses) == 0 {
		return nil
	}
	host, err := netlink.NewHandle(syscall.NETLINK_ROUTE)
	if err != nil {
		return fmt.Errorf("netlink: %w", err)
	}
	defer host.Close()
	u := &up{Guest: g, xid: g.Spec.XID, net: n, host: host, leaving: leaving}
	for _, p := range n.Addresses {
		u.addrs = append(u.addrs, newAddr(p.Prefix))
	}
	if err := u.survey(); err != nil {
		return err
	}
	if err := u.place(); err != nil {
		return err
	}
	return firewall.Check(firewall.Of(u.Spec, Link(u.xid), addrsOf(u.addrs)))
}

// place tells whether the link and the routers are there that the guest is to have.
func (u *up) place() error {
	switch u.net.Link {
	case guest.LinkMacvlan:
		_, err := u.parent()
		return err
	case guest.LinkBridge:
		link, err := u.host.LinkByName(u.bridgeName())
		missing := errors.As(err, new(netlink.LinkNotFoundError))
		if err == nil {
			err = isBridge(link)
		}
		if err != nil && !missing {
			return err
		}
		if !missing && !isOurs(link) {
			return nil
		}
		for _, gw := range u.net.Gateway {
			if _, err := u.beside(gw); err != nil {
				return err
			}
		}
		return nil
	}
	for _, gw := range u.net.Gateway {
		if _, err := route.Router(u.host, gw); err != nil {
			return err
		}
	}
	return nil
}
