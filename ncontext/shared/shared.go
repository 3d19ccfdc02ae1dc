// Package shared is the network context in the host's own network: how a guest has
// addresses, a loopback and routes of its own without a network of its own.
//
// What the host has of a guest, for xid 8 with 192.0.2.10/24 and a gateway:
//
//	192.0.2.10/24 dev eth0          the address, proto 118, metric 0x76000008
//	fd76:7365:7276:7f::8/128 lo    what the guest's ::1 stands for; its 127.0.0.1 is
//	                                127.0.8.1, which the host has anyway
//	from 192.0.2.10 lookup 1008     rule of priority 11800, proto 118,
//	                                suppress_ifgroup 0x76000008
//	default via 192.0.2.1 table 1008, and 192.0.2.0/24 beside it; proto 118, metric
//	                                0x76000008
//
// Everything bears the number 118 as its protocol, and the guest's number, with a byte
// for the installation that it is of, where the
// kernel keeps a number for us and does not use it: an address's metric counts only for
// the route of its prefix, a rule's suppress_ifgroup names a group of links that no
// link is in. So Down needs no memory and no spec: it asks the kernel for what bears the
// guest's mark. Addresses of the host, or that others have put there, are never touched.
//
// An address is put on the link that dev names; without dev on the link that has its
// prefix. One that no link has a prefix for is taken for one that is routed to this host,
// and is put on lo by itself; so is one of the pool. (A dummy link would do nothing that
// lo does not, costs a link to make and 10 to 30 ms to delete, and not every kernel has
// it.) IPv6 addresses are deprecated from the beginning, which keeps the host from
// choosing them for what it sends itself; the guest is bound to them all the same.
//
// A link on which the first address of a prefix is a guest's must not lose the others
// when that guest ends: promote_secondaries is switched on there.
//
// What the guest's processes may do with the addresses, the programs decide that are
// attached to the group of all guests.
//
//house:allow addresses and routes on one side, the programs and their maps on the other: two halves of one context
package shared

import (
	"errors"
	"net/netip"

	"vserver/guest"
)

// Want is what the host shall have of a guest.
type Want struct {
	World     World
	XID       guest.XID
	Addresses []guest.Address
	Gateway   []netip.Addr
	Table     uint32 // 0: the host's
	Base      uint32 // the host's number of the guest's root
	Groups    uint32 // the guest's highest group id on the host, which may ping
}

// Up gives the host the guest's addresses, rules and routes. What it made before an
// error is taken back by Down.
func Up(w Want) error {
	c, err := dial(w.World)
	if err != nil {
		return err
	}
	defer c.close()
	if err := c.putLoopback(w.XID); err != nil {
		return err
	}
	at := make([]spot, len(w.Addresses))
	for i, a := range w.Addresses {
		if at[i], err = c.put(w, a); err != nil {
			return err
		}
	}
	if err := c.route(w, at); err != nil {
		return err
	}
	return allowPing(w.Groups)
}

// Down takes back what Up made for the guest of this number of a world, in whatever
// state it is. It succeeds when there is nothing. foreign tells that another world has a
// guest of this number, which Up has refused: then all that bears the number alone is
// that one's.
func Down(w World, xid guest.XID) (foreign bool, err error) {
	c, err := dial(w)
	if err != nil {
		return false, err
	}
	defer c.close()
	if orphans() {
		var list []held
		if list, err = c.held(xid); err == nil {
			err = abandon(list)
		}
	}
	err = errors.Join(err, c.unroute(xid))
	foreign, err2 := c.takeAll(xid)
	return foreign, errors.Join(err, err2)
}

// Put adds one address to a guest that runs.
func Put(w Want, a guest.Address) error {
	c, err := dial(w.World)
	if err != nil {
		return err
	}
	defer c.close()
	at, err := c.put(w, a)
	if err != nil {
		return err
	}
	w.Addresses = []guest.Address{a}
	return c.route(w, []spot{at})
}

// Take takes one address from a guest that runs, and the host's as well if it was put
// there for the guest.
func Take(w World, xid guest.XID, a netip.Addr) error {
	c, err := dial(w)
	if err != nil {
		return err
	}
	defer c.close()
	return errors.Join(c.unrule(xid, a), c.take(xid, a))
}

// NewContext is the context of these addresses, flags and capabilities, with the
// loopback addresses of a number.
func NewContext(xid guest.XID, addresses []guest.Address, flags guest.NetFlags, caps guest.NetCaps) *Context {
	has := func(f guest.NetFlags) bool { return flags&f != 0 }
	can := func(c guest.NetCaps) bool { return caps&c != 0 }
	c := &Context{
		Lback: xid.Lback(), Lback6: Loopback(xid),
		SingleIP: has(guest.SingleIP), Remap: has(guest.LbackRemap), LbackAllow: has(guest.LbackAllow), HideLback: has(guest.HideLback),
		RawICMP: can(guest.RawICMP), Multicast: can(guest.Multicast), Broadcast: can(guest.Broadcast),
	}
	for _, a := range addresses {
		c.Addresses = append(c.Addresses, Address{Prefix: a.Prefix, Host: a.NoDev})
	}
	return c
}
