package firewall

import (
	"syscall"

	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"

	"vserver/kernel/nft"
	"vserver/kernel/ns"
)

// pingChain is where pings get their source.
const pingChain = "ping"

// Ping gives the pings that guests of the host's network send to IPv4 addresses their own
// source: no hook of the kernel's is asked about that, and it would take the host's. The
// program that sees a guest make such a socket leaves the guest's first address as its
// mark; here, before the packet's route is chosen again, the mark becomes the source. It
// does nothing when that is done already.
func Ping() error {
	if has, err := nft.Exists(table(), pingChain); err != nil || has {
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
	if has, err := conn.HasChain(table(), pingChain); err != nil || has {
		return unable(err)
	}
	b := nft.NewBatch(table())
	b.AddTable()
	b.AddChain(pingChain, &nft.Base{Type: "route", Hook: nft.Output, Priority: raw - 1}) // before connections are tracked
	b.AddRule(pingChain, "", join(ip4(), protocol(syscall.IPPROTO_ICMP), echo(), away4(), ofGuest(), marked(), sourceOfMark())...)
	return unable(conn.Commit(b))
}

// echo is for requests for an echo.
func echo() rule {
	const request = 8
	return join(rule{&expr.Payload{DestRegister: regFirst, Base: expr.PayloadBaseTransportHeader, Offset: 0, Len: 1}}, is(request))
}

// away4 is for what does not go to 127.0.0.0/8.
func away4() rule {
	return join(destination4(), rule{&expr.Bitwise{SourceRegister: regFirst, DestRegister: regFirst, Len: 4,
		Mask: []byte{255, 0, 0, 0}, Xor: make([]byte, 4)}}, isNot(127, 0, 0, 0))
}

// ofGuest is for what a user sends that is none of the host's: guests' ids begin above
// 65535. The host may mark its own pings.
func ofGuest() rule {
	const first = 1 << 16
	return join(load(expr.MetaKeySKUID), rule{
		&expr.Byteorder{SourceRegister: regFirst, DestRegister: regFirst, Op: expr.ByteorderHton, Len: 4, Size: 4},
		&expr.Cmp{Op: expr.CmpOpGte, Register: regFirst, Data: binaryutil.BigEndian.PutUint32(first)}})
}

// marked loads a mark that is there.
func marked() rule { return join(load(expr.MetaKeyMARK), isNot(0, 0, 0, 0)) }

// sourceOfMark writes the mark, which is loaded, into the packet as its source, and takes
// it from the packet.
func sourceOfMark() rule {
	const source, checksum = 12, 10 // in the header of IPv4
	return rule{
		&expr.Payload{OperationType: expr.PayloadWrite, SourceRegister: regFirst, Base: expr.PayloadBaseNetworkHeader,
			Offset: source, Len: 4, CsumType: expr.CsumTypeInet, CsumOffset: checksum},
		&expr.Immediate{Register: regFirst, Data: []byte{0, 0, 0, 0}},
		&expr.Meta{Key: expr.MetaKeyMARK, SourceRegister: true, Register: regFirst},
	}
}
