package firewall

import (
	"encoding/binary"
	"slices"

	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"

	"vserver/guest"
	"vserver/kernel/nft"
)

// Inside is what of a guest's rules stands in its own network namespace, since its
// packets do not pass the host's filter: it is at a bridge or beside a link of the host's.
// It holds as long as the guest may not change it (net_admin) nor go past it (packet
// sockets).
type Inside struct {
	Rules   []guest.Rule
	Ingress guest.Rate // what comes faster is dropped; 0 for no limit
	Class   uint32     // of what is sent; 0 for none
}

// Asked tells whether there is anything.
func (i Inside) Asked() bool { return len(i.Rules) > 0 || i.Ingress > 0 || i.Class != 0 }

// Within makes the table of the calling thread's network namespace say this, whatever it
// said before, in one step that no packet sees half of. It is a table of the same name as
// that of the host.
func Within(i Inside) error {
	conn, err := nft.Open()
	if err != nil {
		return unable(err)
	}
	defer func() { go conn.Close() }() // as in change
	b := nft.NewBatch(table())
	b.AddTable()
	b.DelTable()
	if i.Asked() {
		b.AddTable()
		i.add(b)
	}
	return unable(conn.Commit(b))
}

func (i Inside) add(b *nft.Batch) {
	for _, side := range []struct {
		way  guest.Way
		name string
		base nft.Base
		lo   expr.MetaKey
		deny rule
	}{
		{guest.In, "input", nft.Base{Type: "filter", Hook: nft.Input, Priority: filter}, expr.MetaKeyIIF, drop()},
		{guest.Out, "output", nft.Base{Type: "filter", Hook: nft.Output, Priority: filter}, expr.MetaKeyOIF, refuse()},
	} {
		list := relevant(i.Rules, side.way)
		if len(list) == 0 {
			continue
		}
		b.AddChain(side.name, &side.base)
		b.AddRule(side.name, "the guest itself", join(load(side.lo), is(binaryutil.NativeEndian.PutUint32(1)...), goBack())...)
		b.AddRule(side.name, "", join(known(), goBack())...)
		b.AddRule(side.name, "", join(neighbours(), goBack())...)
		for _, r := range list {
			for _, match := range compile(r) {
				end := goBack()
				if r.Deny {
					end = join(rule{&expr.Counter{}}, side.deny)
				}
				b.AddRule(side.name, r.String(), slices.Concat(match, end)...)
			}
		}
	}
	if i.Ingress > 0 {
		b.AddChain(policeName, &nft.Base{Type: "filter", Hook: nft.Input, Priority: mangle})
		b.AddRule(policeName, i.Ingress.String()+"bit/s", join(notLoopback(), faster(i.Ingress))...)
	}
	if i.Class != 0 {
		b.AddChain(classChain, &nft.Base{Type: "filter", Hook: nft.Postrouting, Priority: mangle})
		b.AddRule(classChain, "", &expr.Immediate{Register: regFirst, Data: binary.NativeEndian.AppendUint32(nil, i.Class)},
			&expr.Meta{Key: expr.MetaKeyPRIORITY, SourceRegister: true, Register: regFirst})
	}
}

const policeName = "police"

// faster drops what is above a rate.
func faster(rate guest.Rate) rule {
	// The kernel's bucket holds what the rate makes in a second and this above it: two of
	// the largest packets that it puts together, without which TCP does not get up to a
	// low rate.
	const burst = 2 << 16
	return rule{&expr.Limit{
		Type: expr.LimitTypePktBytes, Rate: uint64(rate) / 8, Unit: expr.LimitTimeSecond, Burst: burst, Over: true,
	}, &expr.Counter{}, &expr.Verdict{Kind: expr.VerdictDrop}}
}
