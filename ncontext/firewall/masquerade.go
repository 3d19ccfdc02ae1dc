package firewall

import (
	"bytes"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"

	"vserver/kernel/nft"
	"vserver/kernel/ns"
)

// Sets of the networks that are hidden behind the host.
const (
	poolSet4 = "pool4"
	poolSet6 = "pool6"
	// masqueradeChain is where that is done.
	masqueradeChain = "masquerade"
)

// poolFeature hides what comes from pools behind the address of the link that it
// leaves by. Guests and other pools are told the truth.
func poolFeature() feature {
	in := func(set string, invert bool) rule {
		return rule{&expr.Lookup{SourceRegister: regFirst, SetName: set, Invert: invert}}
	}
	away := join(load(expr.MetaKeyOIF), isNot(binaryutil.NativeEndian.PutUint32(1)...),
		load(expr.MetaKeyOIFGROUP), isNot(binaryutil.NativeEndian.PutUint32(linkGroup)...))
	return feature{
		name: "pool",
		users: []nft.Set{{Name: poolSet4, Key: []nft.Kind{nft.IPv4()}, Interval: true},
			{Name: poolSet6, Key: []nft.Kind{nft.IPv6()}, Interval: true}},
		chains: []chain{{masqueradeChain, nft.Base{Type: "nat", Hook: nft.Postrouting, Priority: srcnat}, rules(
			join(ip4(), source4(), in(poolSet4, false), destination4(), in(poolSet4, true), away, masquerade()),
			join(ip6(), source6(), in(poolSet6, false), destination6(), in(poolSet6, true), away, masquerade()),
		)}},
	}
}

// Masquerade hides packets from a network behind the host when they leave by a link
// that is no guest's. It does nothing when that is done already.
func Masquerade(pool netip.Prefix) error { return setPool(pool, true) }

// Unmasquerade ends that. It succeeds when it is not done.
func Unmasquerade(pool netip.Prefix) error { return setPool(pool, false) }

// poolChain is an empty chain that says that a network is hidden, for a question that
// is quickly asked.
func poolChain(pool netip.Prefix) string {
	return fmt.Sprintf("pool-%s-%d", pool.Masked().Addr(), pool.Bits())
}

// parsePoolChain reads the name of such a chain.
func parsePoolChain(name string) (netip.Prefix, bool) {
	text, ok := strings.CutPrefix(name, "pool-")
	at := strings.LastIndexByte(text, '-')
	if !ok || at < 0 {
		return netip.Prefix{}, false
	}
	pool, err := netip.ParsePrefix(text[:at] + "/" + text[at+1:])
	return pool, err == nil
}

func setPool(pool netip.Prefix, want bool) error {
	if has, err := nft.Exists(table(), poolChain(pool)); err != nil || has == want {
		return unable(err)
	}
	unlock, err := ns.LockNet()
	if err != nil {
		return err
	}
	defer unlock()
	conn, err := nft.Open()
	if err != nil {
		return unable(err)
	}
	defer conn.Close()
	b, err := poolBatch(conn, pool, want)
	if err != nil {
		return unable(err)
	}
	return unable(conn.Commit(b))
}

// poolBatch is what is to be done for a network to be hidden or not.
func poolBatch(conn *nft.Conn, pool netip.Prefix, want bool) (*nft.Batch, error) {
	sets, err := conn.Sets(table())
	if err != nil {
		return nil, err
	}
	shielded, err := conn.HasChain(table(), sourceChain)
	if err != nil {
		return nil, err
	}
	f, there := poolFeature(), slices.Contains(sets, poolSet4)
	count, has, err := hidden(conn, pool, there)
	if err != nil {
		return nil, err
	}
	b, set := nft.NewBatch(table()), byFamily("pool", pool.Addr())
	switch {
	case has == want:
	case want:
		b.AddTable()
		if !there {
			f.add(b)
		}
		b.AddElements(set, poolElements(pool)...)
		b.AddChain(poolChain(pool), nil)
	case count > 1:
		b.DelElements(set, poolElements(pool)...)
		b.DelChain(poolChain(pool))
	case len(sets) > len(f.users) || shielded:
		f.del(b)
		b.DelChain(poolChain(pool))
	default:
		b.DelTable()
	}
	return b, nil
}

// hidden counts the networks that are hidden, and tells whether one is among them.
func hidden(conn *nft.Conn, pool netip.Prefix, there bool) (count int, has bool, err error) {
	if !there {
		return 0, false, nil
	}
	for _, set := range poolFeature().users {
		list, err := conn.Elements(table(), set.Name)
		if err != nil {
			return 0, false, err
		}
		for _, e := range list {
			if !e.End {
				count++
				has = has || bytes.Equal(e.Key, pool.Masked().Addr().AsSlice())
			}
		}
	}
	return count, has, nil
}

// poolElements are the bounds of a network.
func poolElements(pool netip.Prefix) []nft.Element {
	first := pool.Masked().Addr()
	list := []nft.Element{{Key: first.AsSlice()}}
	last := first.AsSlice()
	for i := pool.Bits(); i < first.BitLen(); i++ {
		last[i/8] |= 0x80 >> (i % 8)
	}
	if end, _ := netip.AddrFromSlice(last); end.Next().IsValid() {
		list = append(list, nft.Element{Key: end.Next().AsSlice(), End: true})
	}
	return list
}
