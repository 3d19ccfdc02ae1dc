// Package port holds guests at a bridge to their hardware address and their addresses:
// by a table of the bridge family, through which what comes from their ports passes
// before the bridge sees it.
//
//	table bridge vserver {
//	  map ports { type ifname : verdict; elements = { "vs8" : jump vs8 } }
//	  chain source {
//	    type filter hook prerouting priority -300;
//	    iifgroup 0x7674 iifname vmap @ports
//	    iifgroup 0x7674 counter drop
//	  }
//	  map classes { type ifname : classid; elements = { "vs8" : 7673:8 } }
//	  chain class { ... priority -299; iifgroup 0x7674 meta priority set iifname map @classes }
//	  chain vs8 {
//	    ether saddr != 02:... drop
//	    ether type ip   ip saddr 192.0.2.10 accept
//	    ether type ip6  ip6 saddr 2001:db8::10 meta l4proto != icmpv6 accept
//	    ether type arp  arp saddr ether != 02:... drop
//	    ether type arp  arp saddr ip { 192.0.2.10, 0.0.0.0 } accept
//	    ether type ip6  icmpv6 type { nd-router-advert, nd-redirect } drop
//	    ether type ip6  icmpv6 type nd-neighbor-advert, target not its own: drop
//	    ether type ip6  ip6 saddr { 2001:db8::10, fe80::..., :: } accept
//	    drop
//	  }
//	}
//
// A guest whose link is not in the map yet sends nothing. One that nothing is known of
// but its number, because it has its own DHCP client, is held to its hardware address.
package port

import (
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"slices"
	"syscall"

	"github.com/google/nftables/expr"

	"vserver/kernel/nft"
)

const (
	tableName   = "vserver"
	portsMap    = "ports"
	sourceChain = "source"
)

// Group is the group of the links that are ports of guests.
const Group = 0x7674

// Rules are what is known of who is behind a port.
type Rules struct {
	Hardware  net.HardwareAddr
	Addresses []netip.Addr
	DHCP      bool // may ask for an address, and have IPv6 ones that the kernel makes of Hardware
	Free      bool // may have any address
}

// Guard makes or replaces the rules of the port with that link, all at once. Two at a
// time must be kept apart by the caller.
func Guard(name string, r Rules) error {
	conn, err := nft.Open()
	if err != nil {
		return err
	}
	defer conn.Close()
	there, err := conn.HasChain(bridges(), sourceChain)
	if err != nil {
		return err
	}
	b := nft.NewBatch(bridges())
	if !there { // what is removed, to be made again, has to be waited for
		b.AddTable()
		b.AddSet(nft.Set{Name: portsMap, Key: []nft.Kind{nft.LinkName()}, Data: nft.Verdict()})
		b.AddChain(sourceChain, &nft.Base{Type: "filter", Hook: nft.Prerouting, Priority: rawPriority})
		b.AddRule(sourceChain, "", append(fromGroup(),
			&expr.Meta{Key: expr.MetaKeyIIFNAME, Register: 1},
			&expr.Lookup{SourceRegister: 1, IsDestRegSet: true, SetName: portsMap})...)
		b.AddRule(sourceChain, "", append(fromGroup(), &expr.Counter{}, &expr.Verdict{Kind: expr.VerdictDrop})...)
	}
	b.AddChain(name, nil)
	b.FlushChain(name)
	for _, rule := range r.list() {
		b.AddRule(name, "", rule...)
	}
	b.AddElements(portsMap, nft.Element{Key: ifname(name), Chain: name})
	return conn.Commit(b)
}

// bridges is our table for bridges.
func bridges() nft.Table {
	const nfprotoBridge = 7 // NFPROTO_BRIDGE, linux/netfilter.h
	return nft.Table{Family: nfprotoBridge, Name: tableName}
}

// fromGroup matches what comes from a guest's port.
func fromGroup() []expr.Any {
	return []expr.Any{
		&expr.Meta{Key: expr.MetaKeyIIFGROUP, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: binary.NativeEndian.AppendUint32(nil, Group)},
	}
}

// rawPriority is before all others (NF_BR_PRI_NAT_DST_BRIDGED in
// linux/netfilter_bridge.h is -300 as well, and nobody's in nf_tables).
const rawPriority = -300

// list spells the rules out.
func (r Rules) list() (rules [][]expr.Any) {
	hw := r.Hardware
	add := func(verdict expr.VerdictKind, parts ...[]expr.Any) {
		rules = append(rules, append(slices.Concat(parts...), &expr.Verdict{Kind: verdict}))
	}
	const drop, accept = expr.VerdictDrop, expr.VerdictAccept
	link, network, transport := expr.PayloadBaseLLHeader, expr.PayloadBaseNetworkHeader, expr.PayloadBaseTransportHeader
	add(drop, differs(link, 6, hw))
	if r.Free {
		add(accept)
		return rules
	}
	arp, ip4, ip6 := ether(0x0806), ether(0x0800), ether(0x86dd)
	// What there is most of comes first.
	local := linkLocal(hw)
	for _, a := range r.Addresses {
		if a.Is4() {
			add(accept, ip4, is(network, 12, a.AsSlice()))
		} else {
			add(accept, ip6, is(network, 8, a.AsSlice()), notProto(syscall.IPPROTO_ICMPV6))
		}
	}
	add(drop, arp, differs(network, 8, hw))
	add(accept, arp, is(network, 14, make([]byte, 4))) // asks whether somebody has it
	for _, a := range r.Addresses {
		if a.Is4() {
			add(accept, arp, is(network, 14, a.AsSlice()))
		}
	}
	if r.DHCP {
		add(accept, ip4, is(network, 12, make([]byte, 4)), proto(syscall.IPPROTO_UDP), is(transport, 0, []byte{0, 68, 0, 67}))
	}
	add(drop, ip6, proto(syscall.IPPROTO_ICMPV6), is(transport, 0, []byte{134})) // a router's advertisement
	add(drop, ip6, proto(syscall.IPPROTO_ICMPV6), is(transport, 0, []byte{137})) // a redirect
	advert := slices.Concat(ip6, proto(syscall.IPPROTO_ICMPV6), is(transport, 0, []byte{136}))
	sources := append(slices.Clone(r.Addresses), netip.AddrFrom16([16]byte(local)))
	for _, a := range sources {
		if a.Is6() {
			add(accept, advert, is(transport, 8, a.AsSlice()), is(network, 8, a.AsSlice()))
			add(accept, advert, is(transport, 8, a.AsSlice()), is(network, 8, local))
		}
	}
	if r.DHCP { // what the kernel makes of advertisements: any prefix, and the hardware address
		add(accept, advert, is(transport, 16, local[8:]), is(network, 16, local[8:]))
	}
	add(drop, advert)
	if r.DHCP {
		add(accept, ip6, is(network, 16, local[8:]))
	}
	for _, a := range append(sources, netip.IPv6Unspecified()) {
		if a.Is6() {
			add(accept, ip6, is(network, 8, a.AsSlice()))
		}
	}
	add(drop)
	return rules
}

// linkLocal is the IPv6 address that the kernel makes of a hardware address (RFC 4291,
// appendix A).
func linkLocal(hw net.HardwareAddr) []byte {
	return []byte{0xfe, 0x80, 0, 0, 0, 0, 0, 0, hw[0] ^ 2, hw[1], hw[2], 0xff, 0xfe, hw[3], hw[4], hw[5]}
}

func compare(base expr.PayloadBase, offset uint32, value []byte, op expr.CmpOp) []expr.Any {
	return []expr.Any{
		&expr.Payload{DestRegister: 1, Base: base, Offset: offset, Len: uint32(len(value))},
		&expr.Cmp{Op: op, Register: 1, Data: value},
	}
}

// is and differs match bytes of a packet.
func is(base expr.PayloadBase, offset uint32, value []byte) []expr.Any {
	return compare(base, offset, value, expr.CmpOpEq)
}

func differs(base expr.PayloadBase, offset uint32, value []byte) []expr.Any {
	return compare(base, offset, value, expr.CmpOpNeq)
}

// ether matches the kind of a frame.
func ether(kind uint16) []expr.Any {
	return []expr.Any{
		&expr.Meta{Key: expr.MetaKeyPROTOCOL, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{byte(kind >> 8), byte(kind)}},
	}
}

// proto and notProto match the protocol above IP, behind what headers of IPv6 there may
// be.
func proto(number byte) []expr.Any    { return l4(expr.CmpOpEq, number) }
func notProto(number byte) []expr.Any { return l4(expr.CmpOpNeq, number) }

func l4(op expr.CmpOp, number byte) []expr.Any {
	return []expr.Any{
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1},
		&expr.Cmp{Op: op, Register: 1, Data: []byte{number}},
	}
}

// ifname is the name of a link as the kernel's sets hold it.
func ifname(name string) []byte {
	b := make([]byte, syscall.IFNAMSIZ)
	copy(b, name)
	return b
}

// Guarded tells whether there are rules for a port.
func Guarded(name string) (bool, error) {
	conn, err := nft.Open()
	if err == nil {
		defer conn.Close()
		var there bool
		if there, err = conn.HasChain(bridges(), name); err == nil {
			return there, nil
		}
	}
	for _, lacking := range []error{syscall.EOPNOTSUPP, syscall.EAFNOSUPPORT, syscall.EPROTONOSUPPORT} {
		if errors.Is(err, lacking) {
			return false, nil // then nobody was ever at a bridge
		}
	}
	return false, err
}

// Others gives the ports that there are rules for, but for one.
func Others(but string) ([]string, error) {
	conn, err := nft.Open()
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	chains, err := conn.Chains(bridges())
	return slices.DeleteFunc(chains, func(c string) bool { return c == sourceChain || c == classChain || c == but }), err
}

// Unguard takes the rules of a port back, and the table if it is the last.
func Unguard(name string, last bool) error {
	conn, err := nft.Open()
	if err != nil {
		return err
	}
	defer func() { go conn.Close() }() // it waits until the kernel has let go of the rules
	b := nft.NewBatch(bridges())
	if last {
		b.DelTable()
	} else {
		if err := declassify(conn, b, name); err != nil {
			return err
		}
		b.DelElements(portsMap, nft.Element{Key: ifname(name)})
		b.DelChain(name)
	}
	return conn.Commit(b)
}
