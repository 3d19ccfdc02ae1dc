package private

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"slices"
	"syscall"

	"github.com/vishvananda/netlink"

	"vserver/guest"
	"vserver/ncontext/firewall"
	"vserver/ncontext/private/held"
)

// tableName is our table of the host's packet filter.
const tableName = "vserver"

// shield has the packet filter drop what the host is sent from the guest with a false
// source address, enforce the guest's rules and lead published ports to it. Strict
// reverse path filtering, which is set on each link as well, does not do against false
// sources: it knows no IPv6, and systemd's udev loosens it on every new link.
func (u *up) shield() error { return u.filter(firewall.Up) }

// Refresh gives a guest that runs the rules and published ports of its spec, in one
// step. A guest with a lease waits for its next start with its published ports. The
// namespace of a guest at a bridge or beside a link is needed.
func Refresh(g Guest) error {
	n := &g.Spec.Network
	u := &up{Guest: g, xid: g.Spec.XID, net: n}
	for _, p := range n.Addresses {
		u.addrs = append(u.addrs, newAddr(p.Prefix))
	}
	if !u.routed() {
		if err := held.Change(u.held()); err != nil {
			return err
		}
	}
	if len(u.addrs) == 0 || n.DHCP || n.Link == guest.LinkMacvlan {
		return nil
	}
	host, err := netlink.NewHandle(syscall.NETLINK_ROUTE)
	if err != nil {
		return fmt.Errorf("netlink: %w", err)
	}
	defer host.Close()
	u.host = host
	if err := u.joined(); err != nil {
		return err
	}
	return u.filter(firewall.Change)
}

// joined finds the bridge of a guest that is at one.
func (u *up) joined() error {
	name := u.bridgeName()
	if name == "" {
		return nil
	}
	link, err := u.host.LinkByName(name)
	if err != nil {
		return fmt.Errorf("bridge %s: %w", name, err)
	}
	u.over, u.own = &uplink{link.Attrs().Index, name, link.Attrs().MTU}, isOurs(link)
	return nil
}

// filter has the packet filter told of the guest.
func (u *up) filter(tell func(firewall.Guest) error) error {
	g := firewall.Of(u.Spec, Link(u.xid), addrsOf(u.addrs))
	if u.over != nil {
		g.Rules = nil // packets between ports are not seen there: see package held
	}
	dev := g.Link
	if u.own {
		dev = u.over.name
	} else if u.over != nil {
		g.Link, dev = "", "" // a bridge of the host's is not ours to judge
		if len(g.Publish) > 0 {
			var err error
			if g.Behind, g.Away, err = u.foreign(); err != nil {
				return err
			}
		}
	}
	if err := u.passable(); err != nil {
		return err
	}
	if err := tell(g); err != nil {
		return err
	}
	// What the host says to 127.0.0.1 may leave by the link, as the table leads it; what
	// the wire says to it the table drops from now on.
	if dev == "" || len(g.Publish) == 0 || !slices.ContainsFunc(g.Addresses, netip.Addr.Is4) {
		return nil
	}
	return writeSysctl("1", "ipv4", "conf", dev, "route_localnet")
}

// foreign gives the bridge that a guest is behind, and its addresses that do not
// answer by the host because another machine is the guest's router.
func (u *up) foreign() (behind string, away []netip.Addr, err error) {
	host := map[bool]bool{} // is the router, by being IPv4
	for _, g := range u.net.Gateway {
		_, kind, err := u.way(g.AsSlice())
		if err != nil {
			return "", nil, err
		}
		host[g.Is4()] = kind == local
	}
	for _, a := range u.addrs {
		if !host[a.Addr().Is4()] {
			away = append(away, a.Addr())
		}
	}
	return u.over.name, away, nil
}

// passable lets packets for published ports in by every link of the host that has an
// address.
func (u *up) passable() error {
	if len(u.net.Publish) == 0 {
		return nil
	}
	if u.has6() {
		if err := forward6(); err != nil {
			return err
		}
	}
	names, err := u.linksWithAddress()
	if err != nil {
		return err
	}
	for _, n := range names {
		if err := raise("ipv4", "conf", n, "forwarding"); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

func addrsOf(list []addr) (out []netip.Addr) {
	for _, a := range list {
		out = append(out, a.Addr())
	}
	return out
}
