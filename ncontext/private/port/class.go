package port

import (
	"bytes"
	"encoding/binary"
	"slices"

	"github.com/google/nftables/expr"

	"vserver/kernel/nft"
	"vserver/kernel/ns"
)

const (
	classMap   = "classes"
	classChain = "class"
)

// Classify gives what comes from the port with that link, which is guarded, a class of
// queueing disciplines, or none when it is 0.
func Classify(name string, class uint32) error {
	unlock, err := ns.LockNet()
	if err != nil {
		return err
	}
	defer unlock()
	conn, err := nft.Open()
	if err != nil {
		return err
	}
	defer conn.Close()
	there, err := conn.HasChain(bridges(), classChain)
	if err != nil || !there && class == 0 {
		return err
	}
	b := nft.NewBatch(bridges())
	if !there {
		b.AddSet(nft.Set{Name: classMap, Key: []nft.Kind{nft.LinkName()}, Data: nft.Class()})
		b.AddChain(classChain, &nft.Base{Type: "filter", Hook: nft.Prerouting, Priority: rawPriority + 1})
		b.AddRule(classChain, "", append(fromGroup(),
			&expr.Meta{Key: expr.MetaKeyIIFNAME, Register: 1},
			&expr.Lookup{SourceRegister: 1, DestRegister: 1, IsDestRegSet: true, SetName: classMap},
			&expr.Meta{Key: expr.MetaKeyPRIORITY, SourceRegister: true, Register: 1})...)
	} else if err := declassify(conn, b, name); err != nil {
		return err
	}
	if class != 0 {
		b.AddElements(classMap, nft.Element{Key: ifname(name), Data: binary.NativeEndian.AppendUint32(nil, class)})
	}
	if b.Empty() {
		return nil
	}
	return conn.Commit(b)
}

// declassify takes the class of a port away, if it has one.
func declassify(conn *nft.Conn, b *nft.Batch, name string) error {
	there, err := conn.HasChain(bridges(), classChain)
	if err != nil || !there {
		return err
	}
	list, err := conn.Elements(bridges(), classMap)
	if slices.ContainsFunc(list, func(e nft.Element) bool { return bytes.Equal(e.Key, ifname(name)) }) {
		b.DelElements(classMap, nft.Element{Key: ifname(name)})
	}
	return err
}
