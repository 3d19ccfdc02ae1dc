package firewall

import (
	"errors"
	"syscall"

	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"

	"vserver/bpf"
	"vserver/kernel/nft"
	"vserver/kernel/ns"
)

// loopedChain leads back what guests send to loopback by another link.
const loopedChain = "looped"

// Looped has answers reach who asked a guest at its loopback, where a socket on the wildcard
// was asked, which is at the guest's first address: a program that answers by the link that
// IP_PKTINFO told it, which is that of the address, would have the kernel send the answer
// out there. A mark that changes has the route chosen again, without that link; it is the one
// that package bpf gives such packets anyway. It comes after the chain of parked sockets,
// which use the mark. It does nothing when that is done already.
func Looped() error {
	there, err := nft.Exists(table(), loopedChain)
	if err != nil || there {
		return unable(err)
	}
	unlock, err := ns.LockNet()
	if err != nil {
		return err
	}
	defer unlock()
	if there, err = nft.Exists(table(), loopedChain); err != nil || there {
		return unable(err)
	}
	conn, err := nft.Open()
	if err != nil {
		return unable(err)
	}
	defer conn.Close()
	b := nft.NewBatch(table())
	b.AddTable()
	b.AddChain(loopedChain, &nft.Base{Type: "route", Hook: nft.Output, Priority: raw})
	b.AddRule(loopedChain, "", join(elsewhere(), ip4(), loopback4(), ownSource4(), ofGuest(), rule{
		&expr.Immediate{Register: regFirst, Data: word(bpf.LoopMark)},
		&expr.Meta{Key: expr.MetaKeyMARK, SourceRegister: true, Register: regFirst},
	})...)
	if err := conn.Commit(b); !errors.Is(err, syscall.EEXIST) {
		return unable(err)
	}
	return nil
}

// elsewhere is for what leaves by another link than lo.
func elsewhere() rule {
	return join(load(expr.MetaKeyOIF), isNot(binaryutil.NativeEndian.PutUint32(1)...))
}

// loopback4 is for what goes to 127.0.0.0/8.
func loopback4() rule { return join(destination4(), net8(), is(127, 0, 0, 0)) }

// ownSource4 is for what does not come from there: who may use the host's loopback could
// else be taken for another guest at its own, by the mark.
func ownSource4() rule { return join(source4(), net8(), isNot(127, 0, 0, 0)) }

// net8 leaves the first byte of an address.
func net8() rule {
	return rule{&expr.Bitwise{SourceRegister: regFirst, DestRegister: regFirst, Len: 4,
		Mask: []byte{255, 0, 0, 0}, Xor: make([]byte, 4)}}
}
