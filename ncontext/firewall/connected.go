package firewall

import (
	"syscall"
	"time"

	"github.com/google/nftables/expr"

	"vserver/kernel/nft"
)

// connectedChain has what comes for the port that a parked socket asked for reach the hidden
// one, when it is from whom the socket was connected to. It comes after all that looks at
// packets, the memory of connections among these: they see the port that was asked for.
const connectedChain = "connected"

// The maps of who may answer, and where to: protocol, who, its port, the guest's address and
// port give the hidden port. What is sent puts them there.
const (
	answers4 = "answers4"
	answers6 = "answers6"
)

// How long who was sent something may answer. A connection of TCP lasts a day from what was
// sent last, while a process has it and has not ended it: close(2) may wait for the other side.
const (
	answerSoon = 10 * time.Minute
	answerEver = 24 * time.Hour
)

// update is NFT_DYNSET_OP_UPDATE of linux/netfilter/nf_tables.h.
const update = 1

// Registers for what belongs to an answer: a key of the maps, and the hidden port.
const (
	regProtocol = regFirst
	regWho      = regFirst + 1
	regHidden   = regFirst + 15
)

// tcpChecksum and udpChecksum are the offsets of these in their headers.
const (
	tcpChecksum = 16
	udpChecksum = 6
)

func answers(name string, address nft.Kind) nft.Set {
	return nft.Set{Name: name, Key: []nft.Kind{nft.Protocol(), address, nft.Port(), address, nft.Port()}, Data: nft.Port(), Learned: true}
}

// addConnected makes the chain and the maps, and the rules that put elements there.
func addConnected(b *nft.Batch) {
	b.AddSet(answers(answers4, nft.IPv4()))
	b.AddSet(answers(answers6, nft.IPv6()))
	addRoom(b)
	b.AddChain(connectedChain, &nft.Base{Type: "filter", Hook: nft.Input, Priority: srcnat + 300})
	addEnded(b)
	addAgain(b)
	for _, six := range []bool{false, true} {
		held := join(rule{&expr.Meta{Key: expr.MetaKeySKUID, Register: regFirst}}, flagged(syn, false), goesOn(six))
		b.AddRule(parkedChain, "", sent(six, syscall.IPPROTO_TCP, held, answerEver)...)
		b.AddRule(parkedChain, "", sent(six, syscall.IPPROTO_TCP, nil, answerSoon)...)
		b.AddRule(parkedChain, "", sent(six, syscall.IPPROTO_UDP, nil, answerSoon)...)
		b.AddRule(connectedChain, "", answered(six, syscall.IPPROTO_TCP, nil, tcpChecksum)...)
		b.AddRule(connectedChain, "", answered(six, syscall.IPPROTO_UDP, summed(true), udpChecksum)...)
		b.AddRule(connectedChain, "", answered(six, syscall.IPPROTO_UDP, summed(false), 0)...)
		b.AddRule(connectedChain, "", failed(six)...)
	}
}

// familyAnswers is for packets of a family, and its map.
func familyAnswers(six bool) (rule, string) {
	if six {
		return ip6(), answers6
	}
	return ip4(), answers4
}

// transport loads from the header behind that of IP.
func transport(register, offset, size uint32) rule {
	return rule{&expr.Payload{DestRegister: register, Base: expr.PayloadBaseTransportHeader, Offset: offset, Len: size}}
}

// summed is for datagrams that have a checksum, or have none: that is to stay so.
func summed(yes bool) rule {
	if yes {
		return join(transport(regFirst, udpChecksum, 2), isNot(0, 0))
	}
	return join(transport(regFirst, udpChecksum, 2), is(0, 0))
}

// tuple loads a key of the maps: of what is sent, or of an answer.
func tuple(six, answer bool) rule {
	size, from, to := uint32(4), uint32(12), uint32(16)
	if six {
		size, from, to = 16, 8, 24
	}
	fromPort, toPort := uint32(0), uint32(2)
	if answer {
		from, to, fromPort, toPort = to, from, toPort, fromPort
	}
	port := regWho + size/4
	return join(rule{&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: regProtocol}},
		network(regWho, to, size), transport(port, toPort, 2), network(port+1, from, size), transport(port+1+size/4, fromPort, 2))
}

// sent gives what a connected parked socket sends its port, and lets who gets it answer.
// When there is no room for that, the mark stays.
func sent(six bool, proto byte, which rule, keep time.Duration) rule {
	family, name := familyAnswers(six)
	checksum := uint32(udpChecksum)
	if proto == syscall.IPPROTO_TCP {
		checksum = tcpChecksum
	}
	return join(family, protocol(proto), markIs(connectMark()), which, transport(regHidden, 0, 2), portOfMark(checksum), tuple(six, false),
		rule{&expr.Dynset{SrcRegKey: regProtocol, SrcRegData: regHidden, SetName: name, Operation: update, Timeout: keep}}, unmark())
}

// answered leads an answer to the hidden port. checksum is where that is, 0 for nowhere.
func answered(six bool, proto byte, which rule, checksum uint32) rule {
	family, name := familyAnswers(six)
	return join(family, protocol(proto), which, tuple(six, true),
		rule{&expr.Lookup{SourceRegister: regProtocol, SetName: name, DestRegister: regHidden, IsDestRegSet: true}}, writePort(regHidden, 2, checksum))
}

// failed has what ICMP says of something that was sent (nobody is at the port, it is too
// large, too many hops) reach the socket: the head of what was sent is behind that of ICMP,
// and gets the port of the socket, as it had when it was sent.
func failed(six bool) rule {
	const sum, head = 2, 8 // the checksum of ICMP, of both families, is over all that follows
	family, name, proto := ip4(), answers4, byte(syscall.IPPROTO_ICMP)
	// Types 3 and 11; of ICMPv6 those below 128.
	mask, kind := byte(0xf7), byte(3)
	size, protocolAt, from, to, length := uint32(4), uint32(head+9), uint32(head+12), uint32(head+16), uint32(20)
	plain := join(transport(regFirst, head, 1), is(0x45)) // without options
	if six {
		family, name, proto = ip6(), answers6, syscall.IPPROTO_ICMPV6
		mask, kind = 0x80, 0
		size, protocolAt, from, to, length = 16, head+6, head+8, head+24, 40
		plain = nil
	}
	ports, port := head+length, regWho+size/4
	return join(family, protocol(proto),
		transport(regFirst, 0, 1), rule{&expr.Bitwise{SourceRegister: regFirst, DestRegister: regFirst, Len: 1, Mask: []byte{mask}, Xor: []byte{0}}}, is(kind),
		plain, transport(regProtocol, protocolAt, 1), transport(regWho, to, size), transport(port, ports+2, 2),
		transport(port+1, from, size), transport(port+1+size/4, ports, 2),
		rule{&expr.Lookup{SourceRegister: regProtocol, SetName: name, DestRegister: regHidden, IsDestRegSet: true}}, writePort(regHidden, ports, sum))
}

// writePort writes the port in a register to an offset of the header behind that of IP.
func writePort(register, offset, checksum uint32) rule {
	sum := expr.PayloadCsumType(expr.CsumTypeInet)
	if checksum == 0 {
		sum = expr.CsumTypeNone
	}
	return rule{&expr.Payload{OperationType: expr.PayloadWrite, SourceRegister: register, Base: expr.PayloadBaseTransportHeader,
		Offset: offset, Len: 2, CsumType: sum, CsumOffset: checksum}}
}
