package firewall

import (
	"syscall"

	"github.com/google/nftables/expr"

	"vserver/kernel/nft"
)

// The sets of connections that a guest has ended, by the keys of the maps of answers.
const (
	ended4 = "ended4"
	ended6 = "ended6"
)

// Flags of TCP.
const (
	fin = 1
	syn = 2
	rst = 4
	ack = 16
)

// addEnded makes the sets, and the rules that put connections there.
func addEnded(b *nft.Batch) {
	for _, six := range []bool{false, true} {
		s := answers(endedSet(six), nft.IPv4())
		if six {
			s = answers(endedSet(six), nft.IPv6())
		}
		s.Data = nft.Kind{}
		b.AddSet(s)
		family, _ := familyAnswers(six)
		b.AddRule(parkedChain, "", join(family, protocol(syscall.IPPROTO_TCP), markIs(connectMark()), flagged(fin|rst, true), tupleOfMark(six),
			rule{&expr.Dynset{SrcRegKey: regProtocol, SetName: endedSet(six), Operation: update, Timeout: answerSoon}})...)
	}
}

func endedSet(six bool) string {
	if six {
		return ended6
	}
	return ended4
}

// goesOn is for packets of connections that the guest has not ended.
func goesOn(six bool) rule {
	return join(tupleOfMark(six), rule{&expr.Lookup{SourceRegister: regProtocol, SetName: endedSet(six), Invert: true}})
}

// flagged is for packets with one of these flags, or with none.
func flagged(flags byte, yes bool) rule {
	const at = 13
	found := is(0)
	if yes {
		found = isNot(0)
	}
	return join(transport(regFirst, at, 1), rule{&expr.Bitwise{SourceRegister: regFirst, DestRegister: regFirst, Len: 1,
		Mask: []byte{flags}, Xor: []byte{0}}}, found)
}
