package guest

import (
	"net/netip"
	"slices"
)

// NetLink is the way a guest of mode private is linked to the host.
type NetLink string

// The links of mode private.
const (
	LinkRouted  NetLink = "routed"
	LinkBridge  NetLink = "bridge"
	LinkMacvlan NetLink = "macvlan"
)

// DefaultBridge is the bridge of guests with link: bridge that name none.
const DefaultBridge = "vsbr0"

// Values are the words of the type.
func (NetLink) Values() []string { return words(LinkRouted, LinkBridge, LinkMacvlan) }

// Routed tells whether the guest has a network of its own to which the host is the router.
func (n *Network) Routed() bool {
	return n.Mode == NetPrivate && (n.Link == "" || n.Link == LinkRouted)
}

// Pooled tells whether the guest gets an address for want of any: one of IPv4.
func (n *Network) Pooled() bool {
	return n.Addresses == nil && (n.Mode == NetShared || n.Routed())
}

// link checks how a guest with a network of its own is linked.
func (v *validator) link(n *Network) {
	oneOf(v, "network.link", n.Link)
	if n.Mode != NetPrivate {
		for _, k := range []struct {
			key string
			set bool
		}{{"link", n.Link != ""}, {"bridge", n.Bridge != ""}, {"parent", n.Parent != ""}, {"dhcp", n.DHCP}} {
			if k.set {
				v.bad("network."+k.key, "has no meaning without mode: private")
			}
		}
		if len(n.Publish) > 0 {
			v.bad("network.publish", "wants mode: private; in mode %s a guest is reached at its own addresses", n.Mode)
		}
		return
	}
	if n.Bridge != "" && n.Link != LinkBridge {
		v.bad("network.bridge", "has no meaning without link: bridge")
	} else if n.Bridge != "" && !linkName(n.Bridge) {
		v.bad("network.bridge", "%q: want the name of a link, as br0", n.Bridge)
	}
	switch {
	case n.Parent != "" && n.Link != LinkMacvlan:
		v.bad("network.parent", "has no meaning without link: macvlan")
	case n.Link == LinkMacvlan && n.Parent == "":
		v.bad("network.parent", "link: macvlan needs it: the host's link beside which the guest stands, as eth0")
	case n.Parent != "" && !linkName(n.Parent):
		v.bad("network.parent", "%q: want the name of a link, as eth0", n.Parent)
	}
	if n.DHCP && n.Routed() {
		v.bad("network.dhcp", "needs link: bridge or link: macvlan: no DHCP server is asked through a routed link")
	}
	if n.DHCP && slices.ContainsFunc(n.Addresses, func(a Address) bool { return a.Addr().Is4() }) {
		v.bad("network.dhcp", "contradicts the IPv4 address in addresses: give one of them")
	}
	v.publish(n)
}

// publish checks the ports that lead to the guest.
func (v *validator) publish(n *Network) {
	if len(n.Publish) > 0 && n.Link == LinkMacvlan {
		v.bad("network.publish", "has no meaning with link: macvlan, whose guests the host does not reach; use the guest's own address")
		return
	}
	has := func(is func(netip.Addr) bool) bool {
		return slices.ContainsFunc(n.Addresses, func(a Address) bool { return is(a.Addr()) })
	}
	each(v, "network.publish", n.Publish, func(at string, p Publish) {
		i := slices.Index(n.Publish, p)
		for _, q := range n.Publish[:i] {
			if p.Overlaps(q) {
				v.bad(at, "%s: %s has that port already", p, q)
			}
		}
		switch {
		case p.Guest.IsValid() && !has(func(a netip.Addr) bool { return a == p.Guest }):
			v.bad(at, "%s: is not an address of the guest", p.Guest)
		case p.Guest.IsValid():
		case p.Host.Is4() && !n.DHCP && !n.Pooled() && !has(netip.Addr.Is4):
			v.bad(at, "%s: the guest has no IPv4 address", p)
		case p.Host.Is6() && !has(netip.Addr.Is6):
			v.bad(at, "%s: the guest has no IPv6 address", p)
		case !n.DHCP && !n.Pooled() && len(n.Addresses) == 0:
			v.bad(at, "%s: the guest has no address", p)
		}
	})
}
