package nft

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// Conn is a way to nf_tables of one network namespace.
type Conn struct{ nl *netlink.Conn }

// Open opens one to the namespace of the calling thread.
func Open() (*Conn, error) {
	nl, err := netlink.Dial(unix.NETLINK_NETFILTER, nil)
	if err != nil {
		return nil, fmt.Errorf("nf_tables: %w", err)
	}
	return &Conn{nl}, nil
}

// Close closes it.
func (c *Conn) Close() error { return c.nl.Close() }

// Commit has the kernel do all commands of a batch, or none and tell what is wrong
// with the first that is. The batch is spent.
func (c *Conn) Commit(b *Batch) error {
	if b.err != nil || b.Empty() {
		return b.err
	}
	frame := func(kind netlink.HeaderType) netlink.Message {
		return netlink.Message{Header: netlink.Header{Type: kind, Flags: netlink.Request},
			Data: header(unix.NFPROTO_UNSPEC, unix.NFNL_SUBSYS_NFTABLES)}
	}
	last := len(b.msgs) - 1
	b.msgs[last].Header.Flags |= netlink.Acknowledge
	all := append(append([]netlink.Message{frame(unix.NFNL_MSG_BATCH_BEGIN)}, b.msgs...), frame(unix.NFNL_MSG_BATCH_END))
	size := 0
	for _, m := range all {
		size += len(m.Data) + unix.NLMSG_HDRLEN
	}
	if most := 64 << 10; size > most { // the kernel takes a batch in one piece
		if err := c.nl.SetWriteBuffer(2 * size); err != nil {
			return fmt.Errorf("table %s: %w", b.table.Name, err)
		}
	}
	sent, err := c.nl.SendMessages(all)
	if err != nil {
		return fmt.Errorf("table %s: %w", b.table.Name, err)
	}
	for {
		answers, err := c.nl.Receive()
		if err != nil {
			return fmt.Errorf("table %s: %w", b.table.Name, err)
		}
		for _, m := range answers {
			if m.Header.Sequence == sent[last+1].Header.Sequence {
				return nil
			}
		}
	}
}

// HasChain tells whether a table has a chain; a table that is not there has none.
func (c *Conn) HasChain(t Table, name string) (bool, error) {
	_, err := c.ask(t, unix.NFT_MSG_GETCHAIN, 0, func(ae *netlink.AttributeEncoder) {
		ae.String(unix.NFTA_CHAIN_TABLE, t.Name)
		ae.String(unix.NFTA_CHAIN_NAME, name)
	})
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// Chains names the chains of a table.
func (c *Conn) Chains(t Table) ([]string, error) {
	return c.names(t, unix.NFT_MSG_GETCHAIN, unix.NFTA_CHAIN_TABLE, unix.NFTA_CHAIN_NAME)
}

// Sets names the sets of a table; a table that is not there has none.
func (c *Conn) Sets(t Table) ([]string, error) {
	return c.names(t, unix.NFT_MSG_GETSET, unix.NFTA_SET_TABLE, unix.NFTA_SET_NAME)
}

func (c *Conn) names(t Table, kind int, tableAttr, nameAttr uint16) (names []string, err error) {
	list, err := c.ask(t, kind, netlink.Dump, func(ae *netlink.AttributeEncoder) { ae.String(tableAttr, t.Name) })
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	for _, m := range list {
		var table, name string
		err = errors.Join(err, decode(m, func(ad *netlink.AttributeDecoder) {
			switch ad.Type() {
			case tableAttr:
				table = ad.String()
			case nameAttr:
				name = ad.String()
			}
		}))
		if table == t.Name {
			names = append(names, name)
		}
	}
	return names, err
}

// Elements lists the elements of a set.
func (c *Conn) Elements(t Table, set string) (out []Element, err error) {
	list, err := c.ask(t, unix.NFT_MSG_GETSETELEM, netlink.Dump, func(ae *netlink.AttributeEncoder) {
		ae.String(unix.NFTA_SET_ELEM_LIST_TABLE, t.Name)
		ae.String(unix.NFTA_SET_ELEM_LIST_SET, set)
	})
	for _, m := range list {
		err = errors.Join(err, decode(m, func(ad *netlink.AttributeDecoder) {
			if ad.Type() != unix.NFTA_SET_ELEM_LIST_ELEMENTS {
				return
			}
			each(ad, func(item *netlink.AttributeDecoder) {
				var e Element
				each(item, e.decode)
				out = append(out, e)
			})
		}))
	}
	return out, err
}

func (e *Element) decode(ad *netlink.AttributeDecoder) {
	switch ad.Type() {
	case unix.NFTA_SET_ELEM_KEY:
		each(ad, func(v *netlink.AttributeDecoder) { e.Key = v.Bytes() })
	case nftaSetElemKeyEnd:
		each(ad, func(v *netlink.AttributeDecoder) { e.KeyEnd = v.Bytes() })
	case unix.NFTA_SET_ELEM_FLAGS:
		e.End = ad.Uint32()&unix.NFT_SET_ELEM_INTERVAL_END != 0
	case unix.NFTA_SET_ELEM_DATA:
		each(ad, func(v *netlink.AttributeDecoder) {
			if v.Type() == unix.NFTA_DATA_VALUE {
				e.Data = v.Bytes()
				return
			}
			each(v, func(verdict *netlink.AttributeDecoder) {
				if verdict.Type() == unix.NFTA_VERDICT_CHAIN {
					e.Chain = verdict.String()
				}
			})
		})
	}
}

// each looks at the attributes below one.
func each(ad *netlink.AttributeDecoder, look func(*netlink.AttributeDecoder)) {
	ad.Nested(func(inner *netlink.AttributeDecoder) error {
		inner.ByteOrder = binary.BigEndian
		for inner.Next() {
			look(inner)
		}
		return nil
	})
}

func decode(m netlink.Message, look func(*netlink.AttributeDecoder)) error {
	const size = 4 // of struct nfgenmsg
	if len(m.Data) < size {
		return nil // the end of a list
	}
	ad, err := netlink.NewAttributeDecoder(m.Data[size:])
	if err != nil {
		return err
	}
	ad.ByteOrder = binary.BigEndian
	for ad.Next() {
		look(ad)
	}
	return ad.Err()
}

// ask sends one question, again when the table changed while it was answered.
func (c *Conn) ask(t Table, kind int, flags netlink.HeaderFlags, attrs func(*netlink.AttributeEncoder)) (list []netlink.Message, err error) {
	data, err := encode(attrs)
	if err != nil {
		return nil, err
	}
	for range 20 {
		list, err = c.nl.Execute(netlink.Message{
			Header: netlink.Header{Type: messageType(kind), Flags: netlink.Request | flags},
			Data:   append(header(t.Family, 0), data...),
		})
		if !errors.Is(err, unix.EINTR) && !interrupted(list) {
			break
		}
	}
	if err != nil {
		err = fmt.Errorf("table %s: %w", t.Name, err)
	}
	return list, err
}

// interrupted tells whether a list is of two states of the table.
func interrupted(list []netlink.Message) bool {
	for _, m := range list {
		if m.Header.Flags&netlink.DumpInterrupted != 0 {
			return true
		}
	}
	return false
}
