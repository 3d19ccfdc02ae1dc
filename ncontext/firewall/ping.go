package firewall

import (
	"errors"
	"net/netip"
	"syscall"

	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"

	"vserver/kernel/nft"
	"vserver/kernel/ns"
)

// Where pings get their source, and the map of the sources for IPv6.
const (
	pingChain  = "ping"
	ping6Chain = "ping6"
	pingers6   = "pingers6"
)

// Ping gives the pings that guests of the host's network send their own source: no hook
// of the kernel's is asked about that, and it would take the host's. The program that
// sees a guest make such a socket leaves a mark there; here, before the packet's route is
// chosen again, the mark becomes the source. For IPv4 it is the source, for IPv6 the
// guest's loopback, by which a map knows the source; it is not valid for none. An element
// of the map stays until the table goes: it is the next guest's of that number.
//
// It does nothing for IPv4 when that is done already.
func Ping(lback, source6 netip.Addr) error {
	four, err := nft.Exists(table(), pingChain)
	if err != nil || four && !source6.IsValid() {
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
	err = ping(conn, lback, source6, false)
	if errors.Is(err, syscall.EEXIST) || errors.Is(err, syscall.EBUSY) { // another source
		err = ping(conn, lback, source6, true)
	}
	return unable(err)
}

func ping(conn *nft.Conn, lback, source netip.Addr, replace bool) error {
	b := nft.NewBatch(table())
	base := nft.Base{Type: "route", Hook: nft.Output, Priority: raw - 1} // before connections are tracked
	has, err := conn.HasChain(table(), pingChain)
	if err != nil {
		return err
	}
	if !has {
		b.AddTable()
		b.AddChain(pingChain, &base)
		b.AddRule(pingChain, "", join(ip4(), protocol(syscall.IPPROTO_ICMP), echo(8), away4(), ofGuest(), marked(), sourceOfMark())...)
	}
	if !source.IsValid() {
		return conn.Commit(b)
	}
	if has, err = conn.HasChain(table(), ping6Chain); err != nil {
		return err
	}
	if !has {
		b.AddSet(nft.Set{Name: pingers6, Key: []nft.Kind{nft.IPv4()}, Data: nft.IPv6()})
		b.AddChain(ping6Chain, &base)
		b.AddRule(ping6Chain, "", join(ip6(), next6(syscall.IPPROTO_ICMPV6), echo(128), away6(), ofGuest(), marked(), sourceByMark())...)
	}
	key := lback.AsSlice()
	if replace {
		b.DelElements(pingers6, nft.Element{Key: key})
	}
	b.AddElements(pingers6, nft.Element{Key: key, Data: source.AsSlice()})
	return conn.Commit(b)
}

// echo is for requests for an echo.
func echo(request byte) rule {
	return join(rule{&expr.Payload{DestRegister: regFirst, Base: expr.PayloadBaseTransportHeader, Offset: 0, Len: 1}}, is(request))
}

// away4 is for what does not go to 127.0.0.0/8.
func away4() rule { return join(destination4(), net8(), isNot(127, 0, 0, 0)) }

// next6 is for what has this protocol behind the header of IPv6, without options.
func next6(number byte) rule {
	return join(rule{&expr.Payload{DestRegister: regFirst, Base: expr.PayloadBaseNetworkHeader, Offset: 6, Len: 1}}, is(number))
}

// away6 is for what does not go to ::1.
func away6() rule { return join(destination6(), isNot(netip.IPv6Loopback().AsSlice()...)) }

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

// sourceByMark is sourceOfMark for IPv6, by the map. A mark that is not there stays. The
// checksum that depends on the source is that of ICMP, behind a header without options.
func sourceByMark() rule {
	const source, checksum = 8, 40 + 2 // in the header of IPv6, and behind it
	return rule{
		&expr.Lookup{SourceRegister: regFirst, SetName: pingers6, DestRegister: regFirst, IsDestRegSet: true},
		&expr.Payload{OperationType: expr.PayloadWrite, SourceRegister: regFirst, Base: expr.PayloadBaseNetworkHeader,
			Offset: source, Len: 16, CsumType: expr.CsumTypeInet, CsumOffset: checksum},
		&expr.Immediate{Register: regFirst, Data: []byte{0, 0, 0, 0}},
		&expr.Meta{Key: expr.MetaKeyMARK, SourceRegister: true, Register: regFirst},
	}
}
