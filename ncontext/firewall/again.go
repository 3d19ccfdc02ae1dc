package firewall

import (
	"syscall"

	"github.com/google/nftables/expr"

	"vserver/kernel/nft"
)

// A port that a socket has left may be asked for again, and what is said to the same one then
// comes from another hidden port. The maps of answers keep what stands there, so that goes
// first: with TCP when a connection begins, with UDP when a hidden port speaks that is not
// in the sets of those that have.

// The sets of the hidden ports of UDP that have sent, behind the keys of the maps of answers
// without their protocol (nft(8) shows no more than five parts).
const (
	hidden4 = "hidden4"
	hidden6 = "hidden6"
)

// remove is NFT_DYNSET_OP_DELETE of linux/netfilter/nf_tables.h.
const remove = 2

// addAgain makes the sets, and the rules by which the answers to a port that is used
// again reach whoever uses it.
func addAgain(b *nft.Batch) {
	for _, six := range []bool{false, true} {
		s := answers(hidden4, nft.IPv4())
		address := uint32(1)
		if six {
			s, address = answers(hidden6, nft.IPv6()), 4
		}
		s.Key, s.Data = append(s.Key[1:], nft.Port()), nft.Kind{}
		b.AddSet(s)
		family, name := familyAnswers(six)
		begins := join(family, protocol(syscall.IPPROTO_TCP), markIs(connectMark()), flagged(syn, true), flagged(ack, false), tupleOfMark(six))
		b.AddRule(parkedChain, "", join(begins, forget(name, true))...)
		b.AddRule(parkedChain, "", join(begins, forget(endedSet(six), false))...)
		speaks := join(family, protocol(syscall.IPPROTO_UDP), markIs(connectMark()), tupleOfMark(six), transport(regProtocol+3+2*address, 0, 2))
		b.AddRule(parkedChain, "", join(speaks, rule{&expr.Lookup{SourceRegister: regWho, SetName: s.Name, Invert: true}}, forget(name, true))...)
		b.AddRule(parkedChain, "", join(speaks, rule{&expr.Dynset{SrcRegKey: regWho, SetName: s.Name, Operation: update, Timeout: answerSoon}})...)
	}
}

// forget takes the key that is loaded out of a set, or out of a map, for which the kernel wants
// to be told of data as well.
func forget(name string, data bool) rule {
	out := &expr.Dynset{SrcRegKey: regProtocol, SetName: name, Operation: remove}
	if !data {
		return rule{out}
	}
	out.SrcRegData = regHidden
	return join(transport(regHidden, 0, 2), rule{out})
}
