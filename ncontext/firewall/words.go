package firewall

import (
	"net/netip"
	"slices"
	"syscall"

	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
)

// Words that rules are made of, each a few expressions.

// Registers: 32 bits each from NFT_REG32_00 on, so that keys of several parts lie side
// by side.
const regFirst = 8

func join(parts ...rule) rule { return slices.Concat(parts...) }

func rules(list ...rule) []rule { return list }

func load(key expr.MetaKey) rule { return rule{&expr.Meta{Key: key, Register: regFirst}} }

func is(data ...byte) rule {
	return rule{&expr.Cmp{Op: expr.CmpOpEq, Register: regFirst, Data: data}}
}

func isNot(data ...byte) rule {
	return rule{&expr.Cmp{Op: expr.CmpOpNeq, Register: regFirst, Data: data}}
}

func ip4() rule { return join(load(expr.MetaKeyNFPROTO), is(syscall.AF_INET)) }
func ip6() rule { return join(load(expr.MetaKeyNFPROTO), is(syscall.AF_INET6)) }

// family is the family of an address.
func family(a netip.Addr) rule {
	if a.Is4() {
		return ip4()
	}
	return ip6()
}

func protocol(number byte) rule { return join(load(expr.MetaKeyL4PROTO), is(number)) }

func guestLink(key expr.MetaKey) rule {
	return join(load(key), is(binaryutil.NativeEndian.PutUint32(linkGroup)...))
}

func fromGuestLink() rule { return guestLink(expr.MetaKeyIIFGROUP) }
func toGuestLink() rule   { return guestLink(expr.MetaKeyOIFGROUP) }

func linkName(key expr.MetaKey) rule { return load(key) }

// notLoopback is for packets that came in by a link other than lo, which has number 1
// in every namespace.
func notLoopback() rule {
	return join(load(expr.MetaKeyIIF), isNot(binaryutil.NativeEndian.PutUint32(1)...))
}

func network(register, offset, size uint32) rule {
	return rule{&expr.Payload{DestRegister: register, Base: expr.PayloadBaseNetworkHeader, Offset: offset, Len: size}}
}

// Addresses in the headers of IP.
func source4() rule      { return network(regFirst, 12, 4) }
func destination4() rule { return network(regFirst, 16, 4) }
func source6() rule      { return network(regFirst, 8, 16) }
func destination6() rule { return network(regFirst, 24, 16) }

// toPort loads the port that a packet goes to, of TCP and all that have ports.
func toPort(register uint32) rule {
	return rule{&expr.Payload{DestRegister: register, Base: expr.PayloadBaseTransportHeader, Offset: 2, Len: 2}}
}

// vmap does as a map says of what is in the registers from one on.
func vmap(name string, register uint32) rule {
	return rule{&expr.Lookup{SourceRegister: register, SetName: name, IsDestRegSet: true}}
}

// within is for packets whose address, loaded, lies in a network.
func within(n netip.Prefix) rule {
	addr := n.Addr().AsSlice()
	if n.IsSingleIP() {
		return is(addr...)
	}
	mask := make([]byte, len(addr))
	for i := range n.Bits() {
		mask[i/8] |= 0x80 >> (i % 8)
	}
	return join(rule{&expr.Bitwise{SourceRegister: regFirst, DestRegister: regFirst, Len: uint32(len(addr)),
		Mask: mask, Xor: make([]byte, len(addr))}}, is(addr...))
}

// from and to are for packets with an address in a network, with its family.
func from(n netip.Prefix) rule {
	if n.Addr().Is4() {
		return join(ip4(), source4(), within(n))
	}
	return join(ip6(), source6(), within(n))
}

func to(n netip.Prefix) rule {
	if n.Addr().Is4() {
		return join(ip4(), destination4(), within(n))
	}
	return join(ip6(), destination6(), within(n))
}

// ports is for packets to ports from low to high.
func ports(low, high uint16) rule {
	if low == high {
		return join(toPort(regFirst), is(binaryutil.BigEndian.PutUint16(low)...))
	}
	return join(toPort(regFirst), rule{&expr.Range{Op: expr.CmpOpEq, Register: regFirst,
		FromData: binaryutil.BigEndian.PutUint16(low), ToData: binaryutil.BigEndian.PutUint16(high)}})
}

// known is for packets of connections that were let through.
func known() rule {
	states := binaryutil.NativeEndian.PutUint32(expr.CtStateBitESTABLISHED | expr.CtStateBitRELATED)
	zero := make([]byte, 4)
	return rule{&expr.Ct{Key: expr.CtKeySTATE, Register: regFirst},
		&expr.Bitwise{SourceRegister: regFirst, DestRegister: regFirst, Len: 4, Mask: states, Xor: zero},
		&expr.Cmp{Op: expr.CmpOpNeq, Register: regFirst, Data: zero}}
}

// neighbours is for what IPv6 cannot do without: the types from router solicitation to
// redirect, which the kernel takes from the own link alone.
func neighbours() rule {
	return join(ip6(), protocol(syscall.IPPROTO_ICMPV6), rule{
		&expr.Payload{DestRegister: regFirst, Base: expr.PayloadBaseTransportHeader, Offset: 0, Len: 1},
		&expr.Range{Op: expr.CmpOpEq, Register: regFirst, FromData: []byte{133}, ToData: []byte{137}}})
}

// falseSource is for packets whose source the host would not reach by the link that
// they came by.
func falseSource() rule {
	return join(rule{&expr.Fib{Register: regFirst, ResultOIF: true, FlagSADDR: true, FlagIIF: true, FlagPRESENT: true}}, is(0))
}

// toHost is for packets to an address of this host.
func toHost() rule {
	const local = 2 // RTN_LOCAL
	return join(rule{&expr.Fib{Register: regFirst, ResultADDRTYPE: true, FlagDADDR: true}},
		is(binaryutil.NativeEndian.PutUint32(local)...))
}

func drop() rule       { return rule{&expr.Verdict{Kind: expr.VerdictDrop}} }
func goBack() rule     { return rule{&expr.Verdict{Kind: expr.VerdictReturn}} }
func masquerade() rule { return rule{&expr.Masq{}} }

// refuse drops a packet and tells its sender, here on the host, at once.
func refuse() rule {
	const icmpx, prohibited = 2, 3 // NFT_REJECT_ICMPX_UNREACH, NFT_REJECT_ICMPX_ADMIN_PROHIBITED
	return rule{&expr.Reject{Type: icmpx, Code: prohibited}}
}
