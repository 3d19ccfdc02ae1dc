package firewall

import (
	"encoding/binary"
	"fmt"

	"github.com/google/nftables/expr"

	"vserver/guest"
	"vserver/kernel/nft"
)

// table is ours, and the only one that is touched.
func table() nft.Table { return nft.Table{Family: nft.Inet, Name: TableName} }

// TableName is its name. That of guests at bridges, see package port, has the same.
const TableName = "vserver"

const (
	// linkGroup is the group of the host's ends of guests' links: "vs" in ASCII.
	linkGroup   = 0x7673
	classChain  = "class"
	sourceChain = "source"
)

// feature is a part of the table that comes and goes as a whole: with the first guest
// that uses it and with the last.
type feature struct {
	name   string
	users  []nft.Set // of elements that belong to guests; empty: nobody uses the feature
	more   []nft.Set
	chains []chain
}

type chain struct {
	name  string
	base  nft.Base
	rules []rule
}

type rule []expr.Any

// features are all parts that guests use.
func features() []feature {
	return []feature{filterFeature(), classFeature(), policeFeature(), publishFeature()}
}

func (f feature) sets() []nft.Set { return append(f.users[:len(f.users):len(f.users)], f.more...) }

// add makes the feature's chains and sets.
func (f feature) add(b *nft.Batch) {
	for _, s := range f.sets() {
		b.AddSet(s)
	}
	for _, c := range f.chains {
		b.AddChain(c.name, &c.base)
		for _, r := range c.rules {
			b.AddRule(c.name, "", r...)
		}
	}
}

// del removes the feature.
func (f feature) del(b *nft.Batch) {
	for _, c := range f.chains {
		b.FlushChain(c.name)
	}
	for _, s := range f.sets() {
		b.DelSet(s.Name)
	}
	for _, c := range f.chains {
		b.DelChain(c.name)
	}
}

// Priorities of chains at one hook; linux/netfilter_ipv4.h, NF_IP_PRI_*.
const (
	raw    = -300
	mangle = -150
	dstnat = -100
	filter = 0
	srcnat = 100
)

// shield makes the one rule against false sources, for all links of guests.
func shield(b *nft.Batch) {
	b.AddChain(sourceChain, &nft.Base{Type: "filter", Hook: nft.Prerouting, Priority: raw})
	b.AddRule(sourceChain, "", join(fromGuestLink(), falseSource(), rule{&expr.Counter{}}, drop())...)
}

func filterFeature() feature {
	in := rules(
		join(fromGuestLink(), linkName(expr.MetaKeyIIFNAME), vmap("out-link", regFirst)),
		join(ip4(), destination4(), vmap("in4", regFirst)),
		join(ip6(), destination6(), vmap("in6", regFirst)))
	out := rules(
		join(ip4(), source4(), vmap("out4", regFirst)),
		join(ip6(), source6(), vmap("out6", regFirst)),
		join(toGuestLink(), linkName(expr.MetaKeyOIFNAME), vmap("in-link", regFirst)))
	through := rules(
		join(fromGuestLink(), linkName(expr.MetaKeyIIFNAME), vmap("out-link", regFirst)),
		join(toGuestLink(), linkName(expr.MetaKeyOIFNAME), vmap("in-link", regFirst)))
	return feature{
		name: "filter",
		users: []nft.Set{
			verdicts("in4", nft.IPv4()), verdicts("in6", nft.IPv6()), verdicts("out4", nft.IPv4()), verdicts("out6", nft.IPv6()),
			verdicts("in-link", nft.LinkName()), verdicts("out-link", nft.LinkName()),
		},
		chains: []chain{
			{"input", nft.Base{Type: "filter", Hook: nft.Input, Priority: filter}, in},
			{"output", nft.Base{Type: "filter", Hook: nft.Output, Priority: filter}, out},
			{"forward", nft.Base{Type: "filter", Hook: nft.Forward, Priority: filter}, through},
		},
	}
}

// classFeature gives packets the class of their guest, before masquerading hides whose
// they are.
func classFeature() feature {
	set := func(name string) rule {
		return rule{&expr.Lookup{SourceRegister: regFirst, SetName: name, DestRegister: regFirst, IsDestRegSet: true},
			&expr.Meta{Key: expr.MetaKeyPRIORITY, SourceRegister: true, Register: regFirst}}
	}
	return feature{
		name: "class",
		users: []nft.Set{{Name: "class4", Key: []nft.Kind{nft.IPv4()}, Data: nft.Class()},
			{Name: "class6", Key: []nft.Kind{nft.IPv6()}, Data: nft.Class()}},
		chains: []chain{{classChain, nft.Base{Type: "filter", Hook: nft.Postrouting, Priority: mangle}, []rule{
			join(ip4(), source4(), set("class4")), join(ip6(), source6(), set("class6")),
		}}},
	}
}

// policeFeature limits what guests in the host's network are sent from other machines.
func policeFeature() feature {
	return feature{
		name:  "police",
		users: []nft.Set{verdicts("police4", nft.IPv4()), verdicts("police6", nft.IPv6())},
		chains: []chain{{"police", nft.Base{Type: "filter", Hook: nft.Input, Priority: mangle}, []rule{
			join(notLoopback(), ip4(), destination4(), vmap("police4", regFirst)),
			join(notLoopback(), ip6(), destination6(), vmap("police6", regFirst)),
		}}},
	}
}

func verdicts(name string, key ...nft.Kind) nft.Set {
	return nft.Set{Name: name, Key: key, Data: nft.Verdict()}
}

// The chains of a guest. They, and the elements that lead to them or bear the guest's
// class, are how it is found again.
func markChain(xid guest.XID) string    { return fmt.Sprintf("guest-%d", xid) }
func inChain(xid guest.XID) string      { return fmt.Sprintf("in-%d", xid) }
func outChain(xid guest.XID) string     { return fmt.Sprintf("out-%d", xid) }
func policeChain(xid guest.XID) string  { return fmt.Sprintf("police-%d", xid) }
func publishChain(xid guest.XID) string { return fmt.Sprintf("publish-%d", xid) }

// Class is the class of a guest in the queueing disciplines of package shape: its
// number below one of ours.
func Class(xid guest.XID) uint32 { return linkGroup<<16 | uint32(xid) }

func classData(xid guest.XID) []byte { return binary.NativeEndian.AppendUint32(nil, Class(xid)) }

// linkKey is the name of a link as the kernel keeps it.
func linkKey(name string) []byte {
	key := make([]byte, 16) // IFNAMSIZ
	copy(key, name)
	return key
}
