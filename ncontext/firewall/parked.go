package firewall

import (
	"encoding/binary"
	"errors"
	"syscall"

	"github.com/google/nftables/expr"

	"vserver/bpf"
	"vserver/kernel/nft"
	"vserver/kernel/ns"
)

// parkedChain puts the port into what sockets send that are parked at another.
const parkedChain = "parked"

// Parked has what guests of the host's network send by sockets that are parked bear the
// port that they asked for, which is in the mark of the socket, instead of the hidden one;
// if some are connected, what is sent to that port by those they are connected to reaches
// them. The mark is taken from the packet: rules of the host do not see it, but its routing
// has. It does nothing when that is done already.
func Parked(connected bool) error {
	there, err := parks(connected)
	if err != nil || there {
		return unable(err)
	}
	unlock, err := ns.LockNet()
	if err != nil {
		return err
	}
	defer unlock()
	// Another may have done it meanwhile, and for connected sockets as well.
	if there, err = parks(connected); err != nil || there {
		return unable(err)
	}
	conn, err := nft.Open()
	if err != nil {
		return unable(err)
	}
	defer conn.Close()
	b := nft.NewBatch(table())
	b.AddTable()
	b.AddChain(parkedChain, &nft.Base{Type: "filter", Hook: nft.Output, Priority: raw - 1}) // before connections are tracked
	b.FlushChain(parkedChain)
	b.AddRule(parkedChain, "", join(markIsNot(anyMark()), goBack())...) // most packets
	if connected {
		addConnected(b)
	} else { // until then it hears of answers at its hidden port alone
		b.AddRule(parkedChain, "", join(markIs(connectMark()), goBack())...)
	}
	b.AddRule(parkedChain, "", join(markIs(anyMark()), protocol(syscall.IPPROTO_UDP), portOfMark(udpChecksum), unmark())...)
	if err := conn.Commit(b); !errors.Is(err, syscall.EEXIST) {
		return unable(err)
	}
	return nil
}

// parks tells whether it is done already. What is done for connected sockets serves all.
func parks(connected bool) (bool, error) {
	there, err := nft.Exists(table(), parkedChain)
	if err != nil || !there || !connected {
		return there, err
	}
	return nft.Exists(table(), connectedChain)
}

// mark is some bits of a mark, and what they are.
type mark struct{ mask, value uint32 }

// connectMark is what bears the mark of connected sockets, anyMark that of others as well.
func connectMark() mark { return mark{bpf.ParkedMask, bpf.Connected} }

func anyMark() mark {
	mask := bpf.ParkedMask &^ (bpf.Parked ^ bpf.Connected)
	return mark{mask, bpf.Parked & mask}
}

func (m mark) load() rule {
	return join(load(expr.MetaKeyMARK), rule{&expr.Bitwise{SourceRegister: regFirst, DestRegister: regFirst, Len: 4,
		Mask: word(m.mask), Xor: make([]byte, 4)}})
}

func markIs(m mark) rule    { return join(m.load(), is(word(m.value)...)) }
func markIsNot(m mark) rule { return join(m.load(), isNot(word(m.value)...)) }

func word(n uint32) []byte { return binary.NativeEndian.AppendUint32(nil, n) }

// portOfMark writes the half of the mark that is a port into the packet as the one that
// it comes from.
func portOfMark(checksum uint32) rule {
	return join(load(expr.MetaKeyMARK), writePort(regFirst, 0, checksum))
}

// unmark takes the mark from the packet.
func unmark() rule {
	return rule{&expr.Immediate{Register: regFirst, Data: make([]byte, 4)},
		&expr.Meta{Key: expr.MetaKeyMARK, SourceRegister: true, Register: regFirst}}
}
