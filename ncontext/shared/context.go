package shared

import (
	"encoding/binary"
	"fmt"
	"net/netip"

	"vserver/bpf"
	"vserver/guest"
)

// Context is what a guest may do in the host's network stack: the map entry of its
// cgroup.
type Context struct {
	// Open lets everything pass: for guests of the modes private, host and none, whose
	// cgroups have the same parent. Nothing else counts then.
	Open bool
	// Addresses are the guest's own, the first of each family its primary ones: a
	// socket that asks for nothing gets the first that shares a prefix with its
	// destination, or else the primary. Their number is not limited; the choice by
	// prefix knows the first bpf.Listed of each family. Empty means no network but the
	// guest's own loopback.
	Addresses []Address
	// Lback is what 127.0.0.1 is to the guest, an address of 127.0.0.0/8 that is no
	// other guest's; 127.0.0.N becomes the N of the same /24. Lback6 is what ::1 is, a
	// /128 that somebody adds to lo; the zero value means that there is no ::1.
	Lback, Lback6 netip.Addr
	// SingleIP lets a wildcard mean the primary address alone (single_ip).
	SingleIP bool
	// Remap turns 127.0.0.1 and ::1 into Lback and Lback6 (lback_remap). Without it
	// they are refused, or with LbackAllow (lback_allow) the host's own.
	Remap, LbackAllow bool
	// HideLback shows Lback as 127.0.0.1 and Lback6 as ::1 (hide_lback).
	HideLback bool
	// RawICMP allows ICMP sockets: ping (raw_icmp).
	RawICMP bool
	// Multicast and Broadcast allow destinations and memberships of these kinds.
	Multicast, Broadcast bool
	// Sockets and Connections are how many the guest may have at once; 0 is no limit.
	Sockets, Connections uint32
}

// Address is one address of a guest.
type Address struct {
	netip.Prefix
	// Host says that the host has this address for itself too: what the guest does not
	// listen on is the host's. Else nobody but the guest answers there.
	Host bool
}

// Stats is what the guest's sockets did since Put; connections are those of TCP.
type Stats struct {
	BytesIn, BytesOut, PacketsIn, PacketsOut uint64 // of network packets, headers of IP included
	Dropped                                  uint64 // packets that the context refused
	Sockets, Connections                     uint64 // made ever
	SocketsNow, ConnectionsNow               bpf.Count
	MaxSockets, MaxConnections               uint32 // the limits; 0 is none
}

// entry is the context as the programs read it.
func (c *Context) entry() (e bpf.Entry, err error) {
	e.Flags = c.flags()
	e.Sockets, e.Connections = c.Sockets, c.Connections
	for _, a := range c.Addresses {
		if !a.IsValid() || a.Addr().Zone() != "" || a.Addr().Is4In6() {
			return e, fmt.Errorf("address %v: %w", a, guest.ErrInvalid)
		}
		if err := e.Add(a.Prefix); err != nil {
			return e, err
		}
	}
	if c.Lback.IsValid() {
		if !c.Lback.Is4() || !c.Lback.IsLoopback() {
			return e, fmt.Errorf("lback %v: not in 127.0.0.0/8: %w", c.Lback, guest.ErrInvalid)
		}
		e.Lback4 = binary.NativeEndian.Uint32(c.Lback.AsSlice())
	}
	if c.Lback6.IsValid() {
		e.Lback6 = c.Lback6.As16()
	}
	return e, nil
}

func (c *Context) flags() (f uint32) {
	for _, x := range []struct {
		on  bool
		bit uint32
	}{
		{c.Open, bpf.Open}, {c.SingleIP, bpf.SingleIP}, {c.Remap, bpf.Remap}, {c.LbackAllow, bpf.LbackAllow},
		{c.HideLback, bpf.HideLback}, {c.RawICMP, bpf.RawICMP}, {c.Multicast, bpf.Multicast}, {c.Broadcast, bpf.Broadcast},
		{c.Sockets != 0 || c.Connections != 0, bpf.Limited},
	} {
		if x.on {
			f |= x.bit
		}
	}
	return f
}

// owned gives the addresses that packets reach the guest under.
func (c *Context) owned() map[[16]byte]uint32 {
	out := map[[16]byte]uint32{}
	if c.Open {
		return out
	}
	var all uint32
	if c.Sockets != 0 || c.Connections != 0 {
		all |= bpf.Counted
	}
	if c.SingleIP {
		all |= bpf.Single
	}
	for _, a := range c.Addresses {
		flags := all
		if a.Host {
			flags |= bpf.OfHost
		}
		out[a.Addr().As16()] = flags
	}
	if c.Lback.IsValid() {
		net := c.Lback.As16()
		net[15] = 0 // all of its /24
		out[net] = all
	}
	if c.Lback6.IsValid() {
		out[c.Lback6.As16()] = all
	}
	return out
}
