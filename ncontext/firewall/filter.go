package firewall

import (
	"net/netip"
	"slices"

	"github.com/google/nftables/expr"

	"vserver/guest"
	"vserver/kernel/nft"
)

// filter adds the chains of a guest's rules. A direction in which nothing is denied
// has none.
func (g Guest) filter(b *nft.Batch, use func(string, ...nft.Element)) {
	for _, side := range []struct {
		way       guest.Way
		set, name string
		deny      rule
	}{{guest.In, "in", inChain(g.XID), drop()}, {guest.Out, "out", outChain(g.XID), refuse()}} {
		list := relevant(g.Rules, side.way)
		if len(list) == 0 {
			continue
		}
		b.AddChain(side.name, nil)
		b.AddRule(side.name, "", join(known(), goBack())...)
		b.AddRule(side.name, "", join(neighbours(), goBack())...)
		for _, a := range g.own() {
			far := from
			if side.way == guest.Out {
				far = to
			}
			b.AddRule(side.name, "the guest itself", join(far(netip.PrefixFrom(a, a.BitLen())), goBack())...)
		}
		for _, r := range list {
			for _, match := range compile(r) {
				if r.Deny {
					match = join(match, rule{&expr.Counter{}}, side.deny)
				} else {
					match = join(match, goBack())
				}
				b.AddRule(side.name, r.String(), match...)
			}
		}
		if g.Link != "" {
			use(side.set+"-link", nft.Element{Key: linkKey(g.Link), Chain: side.name})
			continue
		}
		for _, a := range g.Addresses {
			use(byFamily(side.set, a), nft.Element{Key: a.AsSlice(), Chain: side.name})
		}
	}
}

// own are the addresses by which packets of the guest to itself pass the host.
func (g Guest) own() []netip.Addr {
	if g.Link != "" {
		return nil
	}
	return g.Addresses
}

// relevant are the rules for a direction up to the last that denies: what comes after
// it is allowed anyway.
func relevant(all []guest.Rule, way guest.Way) []guest.Rule {
	var list []guest.Rule
	last := 0
	for _, r := range all {
		if r.Way == guest.BothWays || r.Way == way {
			list = append(list, r)
			if r.Deny {
				last = len(list)
			}
		}
	}
	return list[:last]
}

// compile gives what a packet must be for a rule to match, in as many ways as it takes.
func compile(r guest.Rule) (out []rule) {
	var nets rule
	if r.From.IsValid() {
		nets = join(nets, from(r.From))
	}
	if r.To.IsValid() {
		nets = join(nets, to(r.To))
	}
	for _, p := range protocolsOf(r) {
		match := slices.Clone(nets)
		if p != guest.AnyProtocol {
			match = join(match, protocol(byte(p)))
		}
		if len(r.Ports) == 0 {
			out = append(out, match)
		}
		for _, port := range r.Ports {
			out = append(out, join(match, ports(port.Low, port.High)))
		}
	}
	return out
}

// protocolsOf are the protocols that a rule is about.
func protocolsOf(r guest.Rule) []guest.Protocol {
	switch {
	case r.Protocol == guest.ICMP:
		return []guest.Protocol{guest.ICMP, guest.ICMPv6}
	case r.Protocol == guest.AnyProtocol && len(r.Ports) > 0:
		return []guest.Protocol{guest.TCP, guest.UDP}
	}
	return []guest.Protocol{r.Protocol}
}

// police adds the limit of what a guest in the host's network is sent.
func (g Guest) police(b *nft.Batch, use func(string, ...nft.Element)) {
	if g.Ingress == 0 || g.Link != "" {
		return
	}
	name := policeChain(g.XID)
	b.AddChain(name, nil)
	b.AddRule(name, g.Ingress.String()+"bit/s", faster(g.Ingress)...)
	for _, a := range g.Addresses {
		use(byFamily("police", a), nft.Element{Key: a.AsSlice(), Chain: name})
	}
}
