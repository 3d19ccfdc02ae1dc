package ncontext

import (
	"errors"
	"net/netip"

	"vserver/guest"
	"vserver/ncontext/firewall"
	"vserver/ncontext/private"
	"vserver/ncontext/shape"
)

// Refresh gives a guest that runs the firewall, the published ports and the rates of its
// spec, for its addresses as the spec has them. Packets see the old rules or the new
// ones.
func Refresh(g *Guest) error {
	switch {
	case g.Spec.Network.Mode == guest.NetPrivate:
		err := private.Refresh(private.Guest{Spec: g.Spec, Name: g.Name, Netns: g.Netns, Dirs: g.Dirs})
		if g.link() == "" {
			return err
		}
		return errors.Join(err, shape.Change(g.shaping()))
	case g.Spec.Network.Mode != guest.NetShared:
		return nil
	}
	return errors.Join(firewall.Change(firewall.Of(g.Spec, "", g.addrs())), shape.Change(g.shaping()))
}

// link is the host's end of the guest's routed link, "" when it has none.
func (g *Guest) link() string {
	n := &g.Spec.Network
	if n.Mode != guest.NetPrivate || n.Link != "" && n.Link != guest.LinkRouted || len(n.Addresses) == 0 {
		return ""
	}
	return private.Link(g.Spec.XID)
}

func (g *Guest) addrs() (out []netip.Addr) {
	for _, a := range g.Spec.Network.Addresses {
		out = append(out, a.Addr())
	}
	return out
}

func (g *Guest) shaping() shape.Guest {
	n := &g.Spec.Network
	s := shape.Guest{XID: g.Spec.XID, Addresses: g.addrs(), Link: g.link(), Egress: n.Egress, Ingress: n.Ingress.Rate}
	if s.Table = int(n.Table); n.Table == 0 && len(n.Gateway) > 0 {
		s.Table = int(g.Spec.XID.Table())
	}
	return s
}

// unshape ends the shaping of a guest. Links are asked only when the packet filter
// gives somebody's packets classes; shaping of a guest's own link ends with it.
func unshape(xid guest.XID) error {
	if some, err := firewall.Shaping(); err != nil || !some {
		return err
	}
	return shape.Down(xid)
}

// Unfiltered tells that a guest that runs needs the packet filter, which has nothing of
// it: somebody else has flushed it.
func Unfiltered(g *Guest) (bool, error) {
	if !firewall.Of(g.Spec, g.link(), nil).Asked() {
		return false, nil
	}
	there, err := firewall.Holds(g.Spec.XID)
	return !there, err
}

// Prune removes what of the packet filter stays for the next guest, when there is none.
func Prune() error { return firewall.Prune() }
