package ncontext

import (
	"net/netip"
	"slices"

	"vserver/guest"
	"vserver/ncontext/firewall"
	"vserver/ncontext/private"
	"vserver/ncontext/private/held"
	"vserver/ncontext/shape"
)

// Refresh gives a guest that runs the firewall, the published ports and the rates of its
// spec, for its addresses as the spec has them. Packets see the old rules or the new
// ones.
func Refresh(g *Guest) error {
	steps := []func() error{
		func() error { return refilter(g) },
		func() error { return shape.Change(g.shaping()) },
	}
	switch {
	case g.Spec.Network.Mode == guest.NetPrivate && g.link() == "" && g.over() == "":
		steps = steps[:1]
	case g.Spec.Network.Mode != guest.NetPrivate && g.Spec.Network.Mode != guest.NetShared:
		return nil
	case !g.Spec.Network.Egress.Asked():
		slices.Reverse(steps) // a stop looks at links while packets have classes
	}
	for _, do := range steps {
		if err := do(); err != nil {
			return err
		}
	}
	return nil
}

// refilter gives the guest the part of Refresh that is the packet filter's.
func refilter(g *Guest) error {
	if g.Spec.Network.Mode == guest.NetPrivate {
		return private.Refresh(private.Guest{Spec: g.Spec, Name: g.Name, Netns: g.Netns, Dirs: g.Dirs})
	}
	return firewall.Change(firewall.Of(g.Spec, "", g.addrs()))
}

// link is the host's end of the guest's routed link, "" when it has none.
func (g *Guest) link() string {
	n := &g.Spec.Network
	if !n.Routed() || len(n.Addresses) == 0 {
		return ""
	}
	return private.Link(g.Spec.XID)
}

// over is the link of the host that the guest is at or beside; "" for none.
func (g *Guest) over() string {
	if g.Spec.Network.Mode != guest.NetPrivate {
		return ""
	}
	return held.Over(&g.Spec.Network)
}

func (g *Guest) addrs() (out []netip.Addr) {
	for _, a := range g.Spec.Network.Addresses {
		out = append(out, a.Addr())
	}
	return out
}

func (g *Guest) shaping() shape.Guest {
	n := &g.Spec.Network
	s := shape.Guest{XID: g.Spec.XID, Addresses: g.addrs(), Link: g.link(), Egress: n.Egress, Ingress: n.Ingress.Rate, Over: g.over()}
	if s.Over != "" && n.Link == guest.LinkBridge {
		s.Link = private.Link(g.Spec.XID)
	}
	if s.Table = int(n.Table); n.Table == 0 && len(n.Gateway) > 0 {
		s.Table = int(g.Spec.XID.Table())
	}
	return s
}

// unshape ends the shaping of a guest. Links are asked only when the packet filter
// gives somebody's packets classes, or knows the guest; shaping of a guest's own link
// ends with it.
func unshape(xid guest.XID) error {
	some, err := firewall.Shaping()
	if err == nil && !some {
		some, err = firewall.Holds(xid)
	}
	if err != nil || !some {
		return err
	}
	return shape.Down(xid)
}

// Unfiltered tells that a guest that runs needs the packet filter, which has nothing of
// it: somebody else has flushed it.
func Unfiltered(g *Guest) (bool, error) {
	f := firewall.Of(g.Spec, g.link(), nil)
	if g.over() != "" { // these are in its namespace
		f.Rules, f.Ingress = nil, 0
	}
	if !f.Asked() {
		return false, nil
	}
	there, err := firewall.Holds(g.Spec.XID)
	return !there, err
}

// Prune removes what of the packet filter stays for the next guest, when there is none.
func Prune() error { return firewall.Prune() }
