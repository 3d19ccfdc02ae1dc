package firewall

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"syscall"

	"github.com/google/nftables/expr"

	"vserver/fault"
	"vserver/guest"
	"vserver/kernel/nft"
)

// publishFeature leads published ports of the host to guests, for packets from
// elsewhere and from the host itself. A port published at an address goes before one
// published at all; addresses of guests in the host's network are not the host's.
func publishFeature() feature {
	const addr4, proto4, port4 = regFirst, regFirst + 1, regFirst + 2
	const addr6, proto6, port6 = regFirst, regFirst + 4, regFirst + 5
	service := func(proto, port uint32) rule {
		return join(rule{&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: proto}}, toPort(port))
	}
	own := func(set string) rule {
		return rule{&expr.Lookup{SourceRegister: regFirst, SetName: set, DestRegister: regFirst, IsDestRegSet: true}}
	}
	lead := rules(
		join(ip4(), network(addr4, 16, 4), service(proto4, port4), vmap("publish4", addr4)),
		join(ip6(), network(addr6, 24, 16), service(proto6, port6), vmap("publish6", addr6)),
		join(ip4(), destination4(), own("own4"), goBack()),
		join(ip6(), destination6(), own("own6"), goBack()),
		join(toHost(), service(regFirst, regFirst+1), vmap("publish", regFirst)))
	// What the host says to itself by 127.0.0.1 is led away with a source of the host's,
	// by links that are set to let it (route_localnet); ::1 cannot be. The other
	// addresses of 127.0.0.0/8 are those of guests. What others say to it from outside,
	// who would get there by such links or a lead, is dropped.
	loop4, loop6 := to(netip.MustParsePrefix("127.0.0.0/8")), to(netip.MustParsePrefix("::1/128"))
	outside := rules(join(loop4, goBack()), join(loop6, goBack()))
	local := rules(join(loop4, destination4(), isNot(127, 0, 0, 1), goBack()), join(loop6, goBack()))
	ranges := func(name string, key ...nft.Kind) nft.Set {
		return nft.Set{Name: name, Key: key, Data: nft.Verdict(), Interval: true}
	}
	return feature{
		name: publishName,
		users: []nft.Set{ranges("publish", nft.Protocol(), nft.Port()),
			ranges("publish4", nft.IPv4(), nft.Protocol(), nft.Port()), ranges("publish6", nft.IPv6(), nft.Protocol(), nft.Port())},
		more: []nft.Set{{Name: "own4", Key: []nft.Kind{nft.IPv4()}, Data: nft.Class()},
			{Name: "own6", Key: []nft.Kind{nft.IPv6()}, Data: nft.Class()},
			{Name: "away4", Key: []nft.Kind{nft.IPv4()}, Data: nft.Class()},
			{Name: "away6", Key: []nft.Kind{nft.IPv6()}, Data: nft.Class()},
			{Name: "behind4", Key: []nft.Kind{nft.LinkName(), nft.IPv4()}, Data: nft.Class()},
			{Name: "behind6", Key: []nft.Kind{nft.LinkName(), nft.IPv6()}, Data: nft.Class()}},
		chains: []chain{
			{"loopback", nft.Base{Type: "filter", Hook: nft.Prerouting, Priority: raw}, rules(
				join(fromGuestLink(), loop4, rule{&expr.Counter{}}, drop()))},
			{dnatChain, nft.Base{Type: "nat", Hook: nft.Prerouting, Priority: dstnat}, append(outside, lead...)},
			{"dnat-local", nft.Base{Type: "nat", Hook: nft.Output, Priority: dstnat}, append(local, lead...)},
			// A guest that uses a published port of another, or its own, must get the
			// answer from whom it asked; so must who asks a guest that answers by another
			// router than the host (away), or past it (behind: the same link).
			{"hairpin", nft.Base{Type: "nat", Hook: nft.Postrouting, Priority: srcnat}, rules(
				join(fromGuestLink(), toGuestLink(), translated(), masquerade()),
				join(translated(), from(netip.MustParsePrefix("127.0.0.0/8")), masquerade()),
				join(translated(), ip4(), destination4(), own("away4"), masquerade()),
				join(translated(), ip6(), destination6(), own("away6"), masquerade()),
				join(translated(), ip4(), linkName(expr.MetaKeyIIFNAME), network(regFirst+4, 16, 4), own("behind4"), masquerade()),
				join(translated(), ip6(), linkName(expr.MetaKeyIIFNAME), network(regFirst+4, 24, 16), own("behind6"), masquerade()))},
		},
	}
}

const (
	publishName = "publish"
	dnatChain   = "dnat"
)

// except keeps ports that are published at all addresses of the host off the guest's.
func (g Guest) except(use func(string, ...nft.Element)) {
	for _, a := range g.Addresses {
		use(byFamily("own", a), nft.Element{Key: a.AsSlice(), Data: classData(g.XID)})
	}
}

// translated is for packets whose destination was changed.
func translated() rule {
	const dnat = 1 << 5 // IPS_DST_NAT
	zero := make([]byte, 4)
	mask := binary.NativeEndian.AppendUint32(nil, dnat)
	return rule{&expr.Ct{Key: expr.CtKeySTATUS, Register: regFirst},
		&expr.Bitwise{SourceRegister: regFirst, DestRegister: regFirst, Len: 4, Mask: mask, Xor: zero},
		&expr.Cmp{Op: expr.CmpOpNeq, Register: regFirst, Data: zero}}
}

// publish adds the guest's published ports.
func (g Guest) publish(b *nft.Batch, use func(string, ...nft.Element)) {
	if len(g.Publish) == 0 {
		return
	}
	for _, a := range g.Away {
		use(byFamily("away", a), nft.Element{Key: a.AsSlice(), Data: classData(g.XID)})
	}
	for _, a := range g.Addresses {
		if g.Behind != "" {
			use(byFamily("behind", a), nft.Element{Key: append(linkKey(g.Behind), a.AsSlice()...), Data: classData(g.XID)})
		}
	}
	name := publishChain(g.XID)
	b.AddChain(name, nil)
	for _, p := range g.Publish {
		set, proto, e := portElement(p)
		e.Chain = name
		use(set, e)
		for _, target := range g.targets(p) {
			g.lead(b, name, p, proto, target)
		}
	}
}

// portElement is the set and the element of a published port, without its chain.
func portElement(p guest.Publish) (set string, proto byte, e nft.Element) {
	set, proto = "publish", syscall.IPPROTO_TCP
	if p.UDP {
		proto = syscall.IPPROTO_UDP
	}
	if p.Host.IsValid() {
		set = byFamily(set, p.Host)
	}
	key := func(port uint16) []byte {
		k := append(p.Host.AsSlice(), proto, 0, 0, 0) // each part fills registers of 4 bytes
		return append(binary.BigEndian.AppendUint16(k, port), 0, 0)
	}
	return set, proto, nft.Element{Key: key(p.First), KeyEnd: key(p.Last)}
}

// taken refuses a published port that another guest has. The kernel does not see all
// ranges that meet.
func (g Guest) taken(conn *nft.Conn, sets []string) error {
	for _, p := range g.Publish {
		set, _, own := portElement(p)
		if !slices.Contains(sets, set) {
			continue
		}
		list, err := conn.Elements(table(), set)
		if err != nil {
			return err
		}
		for _, e := range list {
			if !g.owns(e) && bytes.Compare(e.Key, own.KeyEnd) <= 0 && bytes.Compare(e.KeyEnd, own.Key) >= 0 {
				return fault.Hint(fmt.Errorf("network.publish: %s: the guest with xid %s has that port: %w", p,
					strings.TrimPrefix(e.Chain, publishName+"-"), guest.ErrBusy), "vserver list")
			}
		}
	}
	return nil
}

// Check tells whether Up would find a port of the guest's published for another. Nothing is
// changed.
func Check(g Guest) error {
	if len(g.Publish) == 0 {
		return nil
	}
	if there, err := nft.Exists(table(), dnatChain); err != nil || !there {
		return unable(err)
	}
	conn, err := nft.Open()
	if err != nil {
		return unable(err)
	}
	defer conn.Close()
	now, err := look(conn, g)
	if err == nil {
		err = g.taken(conn, now.sets)
	}
	return unable(err)
}

// targets are the addresses of the guest that a published port leads to: one, or the
// first of each family.
func (g Guest) targets(p guest.Publish) (out []netip.Addr) {
	if p.Guest.IsValid() {
		return []netip.Addr{p.Guest}
	}
	seen := map[bool]bool{}
	for _, a := range g.Addresses {
		if !seen[a.Is4()] && (!p.Host.IsValid() || p.Host.Is4() == a.Is4()) {
			out, seen[a.Is4()] = append(out, a), true
		}
	}
	return out
}

// lead adds the rules that change the destination: one for ports that stay the same,
// else one for each.
func (g Guest) lead(b *nft.Batch, chain string, p guest.Publish, proto byte, target netip.Addr) {
	match := join(family(target), protocol(proto))
	if p.Host.IsValid() {
		match = join(match, to(netip.PrefixFrom(p.Host, p.Host.BitLen())))
	}
	nat := &expr.NAT{Type: expr.NATTypeDestNAT, Family: syscall.AF_INET, RegAddrMin: regFirst}
	if target.Is6() {
		nat.Family = syscall.AF_INET6
	}
	addr := rule{&expr.Immediate{Register: regFirst, Data: target.AsSlice()}}
	if p.GuestPort == p.First {
		b.AddRule(chain, p.String(), join(match, ports(p.First, p.Last), addr, rule{nat})...)
		return
	}
	const portRegister = regFirst + 4
	nat.RegProtoMin = portRegister
	for i := range int(p.Last-p.First) + 1 {
		port := binary.BigEndian.AppendUint16(nil, p.GuestPort+uint16(i))
		b.AddRule(chain, p.String(), join(match, ports(p.First+uint16(i), p.First+uint16(i)), addr,
			rule{&expr.Immediate{Register: portRegister, Data: port}, nat})...)
	}
}
