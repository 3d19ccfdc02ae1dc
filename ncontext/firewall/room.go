package firewall

import (
	"syscall"

	"github.com/google/nftables/expr"

	"vserver/bpf"
	"vserver/kernel/nft"
)

// roomChain has no guest take the room in the maps answers4 and answers6 from others: each
// address may send to so many new ones at once and a minute, which makes up to an eighth
// of a map in the time that an answer is waited for.
const (
	roomChain = "room"
	roomBurst = 2048
	roomRate  = 600
)

// The sets of who has sent, with what is left to it.
const (
	senders4 = "senders4"
	senders6 = "senders6"
)

// addRoom makes the chain, and has connected parked sockets pass it. From who is over it
// a packet of TCP is dropped, so that the connection waits; one of UDP leaves with its port,
// and its answer does not come.
func addRoom(b *nft.Batch) {
	b.AddSet(nft.Set{Name: senders4, Key: []nft.Kind{nft.IPv4()}, Learned: true})
	b.AddSet(nft.Set{Name: senders6, Key: []nft.Kind{nft.IPv6()}, Learned: true})
	b.AddChain(roomChain, nil)
	for _, six := range []bool{false, true} {
		family, name := familyAnswers(six)
		b.AddRule(roomChain, "", join(family, tupleOfMark(six),
			rule{&expr.Lookup{SourceRegister: regProtocol, SetName: name, DestRegister: regHidden, IsDestRegSet: true}}, goBack())...)
		b.AddRule(roomChain, "", join(family, protocol(syscall.IPPROTO_TCP), over(six), drop())...)
		b.AddRule(roomChain, "", join(family, protocol(syscall.IPPROTO_UDP), over(six), portOfMark(udpChecksum), unmark())...)
	}
	b.AddRule(parkedChain, "", join(markIs(connectMark()), rule{&expr.Verdict{Kind: expr.VerdictJump, Chain: roomChain}})...)
}

// tupleOfMark is tuple for what is sent, with the port of the mark.
func tupleOfMark(six bool) rule {
	port := uint32(regWho + 3)
	if six {
		port = regWho + 9
	}
	return join(tuple(six, false), rule{&expr.Meta{Key: expr.MetaKeyMARK, Register: port},
		&expr.Bitwise{SourceRegister: port, DestRegister: port, Len: 4, Mask: word(^bpf.ParkedMask), Xor: make([]byte, 4)}})
}

// over is for packets of who has had its share.
func over(six bool) rule {
	source, name := source4(), senders4
	if six {
		source, name = source6(), senders6
	}
	limit := &expr.Limit{Type: expr.LimitTypePkts, Rate: roomRate, Unit: expr.LimitTimeMinute, Burst: roomBurst, Over: true}
	return join(source, rule{&expr.Dynset{SrcRegKey: regFirst, SetName: name, Operation: update, Timeout: 2 * answerSoon, Exprs: []expr.Any{limit}}})
}
