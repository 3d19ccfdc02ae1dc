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

// parkedChain puts the port into what sockets of UDP send that are parked at another.
const parkedChain = "parked"

// Parked has what guests of the host's network send by sockets of UDP that are parked
// bear the port that they asked for, which is in the mark of the socket, instead of the
// hidden one. The mark is taken from the packet: rules of the host do not see it, but
// its routing has. It does nothing when that is done already.
func Parked() error {
	there, err := nft.Exists(table(), parkedChain)
	if err != nil || there {
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
	b := nft.NewBatch(table())
	b.AddTable()
	b.AddChain(parkedChain, &nft.Base{Type: "filter", Hook: nft.Output, Priority: raw - 1}) // before connections are tracked
	b.AddRule(parkedChain, "", join(parked(), protocol(syscall.IPPROTO_UDP), portOfMark())...)
	if err := conn.Commit(b); !errors.Is(err, syscall.EEXIST) {
		return unable(err)
	}
	return nil
}

// parked is for packets of parked sockets.
func parked() rule {
	word := func(n uint32) []byte { return binary.NativeEndian.AppendUint32(nil, n) }
	return join(load(expr.MetaKeyMARK), rule{&expr.Bitwise{SourceRegister: regFirst, DestRegister: regFirst, Len: 4,
		Mask: word(bpf.ParkedMask), Xor: make([]byte, 4)}}, is(word(bpf.Parked)...))
}

// portOfMark writes the half of the mark that is a port into the packet as the one that
// it comes from, and takes the mark from the packet.
func portOfMark() rule {
	const source, checksum = 0, 6 // in the header of UDP
	return join(load(expr.MetaKeyMARK), rule{
		&expr.Payload{OperationType: expr.PayloadWrite, SourceRegister: regFirst, Base: expr.PayloadBaseTransportHeader,
			Offset: source, Len: 2, CsumType: expr.CsumTypeInet, CsumOffset: checksum},
		&expr.Immediate{Register: regFirst, Data: []byte{0, 0, 0, 0}},
		&expr.Meta{Key: expr.MetaKeyMARK, SourceRegister: true, Register: regFirst},
	})
}
