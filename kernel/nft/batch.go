package nft

import (
	"encoding/binary"
	"fmt"

	"github.com/google/nftables/expr"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// Table is where all commands of a batch go.
type Table struct {
	Family byte // NFPROTO_*
	Name   string
}

// Of linux/netfilter/nf_tables.h, missing in x/sys/unix.
const (
	nftSetConcat      = 0x80
	nftaSetDescConcat = 2
	nftaSetFieldLen   = 1
	nftaSetElemKeyEnd = 10
)

// Inet is NFPROTO_INET, the family of tables for IPv4 and IPv6.
const Inet = unix.NFPROTO_INET

// Base is where packets enter a chain; linux/netfilter.h, NF_INET_*.
type Base struct {
	Type     string // filter, nat
	Hook     uint32
	Priority int32
}

// The hooks of the families of IP.
const (
	Prerouting  = unix.NF_INET_PRE_ROUTING
	Input       = unix.NF_INET_LOCAL_IN
	Forward     = unix.NF_INET_FORWARD
	Output      = unix.NF_INET_LOCAL_OUT
	Postrouting = unix.NF_INET_POST_ROUTING
)

// Set is a set or, with a kind of data, a map. Its kinds of key are put together to
// one.
type Set struct {
	Name     string
	Key      []Kind
	Data     Kind // not zero: a map
	Interval bool
	Learned  bool // rules put elements into it, each for a time
}

// Kind is a type of data as nft(8) numbers and prints it.
type Kind struct{ magic, size uint32 }

// IPv4 is an address. The numbers of this and of the other kinds are those of
// nftables' datatype.h.
func IPv4() Kind { return Kind{7, 4} }

// IPv6 is an address.
func IPv6() Kind { return Kind{8, 16} }

// Protocol is the number of a protocol above IP.
func Protocol() Kind { return Kind{12, 1} }

// Port is a port of such a protocol.
func Port() Kind { return Kind{13, 2} }

// Class is a class of a queueing discipline.
func Class() Kind { return Kind{23, 4} }

// LinkName is the name of a link, filled up with zeros.
func LinkName() Kind { return Kind{41, unix.IFNAMSIZ} }

// Verdict is the data of maps that lead to chains.
func Verdict() Kind { return Kind{unix.NFT_DATA_VERDICT, 0} }

// Element is a member of a set.
type Element struct {
	Key    []byte
	KeyEnd []byte // of a range in a set of several kinds
	End    bool   // Key is the first after a range
	Data   []byte // of a map
	Chain  string // of a map to verdicts: the chain to jump to
}

// Batch collects commands for a table.
type Batch struct {
	table Table
	msgs  []netlink.Message
	sets  uint32
	err   error
}

// NewBatch begins a batch.
func NewBatch(t Table) *Batch { return &Batch{table: t} }

// Empty tells whether the batch has no commands.
func (b *Batch) Empty() bool { return len(b.msgs) == 0 }

func (b *Batch) put(kind int, flags netlink.HeaderFlags, attrs func(*netlink.AttributeEncoder)) {
	data, err := encode(attrs)
	if err != nil && b.err == nil {
		b.err = err
	}
	b.msgs = append(b.msgs, netlink.Message{
		Header: netlink.Header{Type: messageType(kind), Flags: netlink.Request | flags},
		Data:   append(header(b.table.Family, 0), data...),
	})
}

func messageType(kind int) netlink.HeaderType {
	return netlink.HeaderType(unix.NFNL_SUBSYS_NFTABLES<<8 | kind)
}

// header is a struct nfgenmsg.
func header(family byte, resource uint16) []byte {
	return binary.BigEndian.AppendUint16([]byte{family, unix.NFNETLINK_V0}, resource)
}

func encode(attrs func(*netlink.AttributeEncoder)) ([]byte, error) {
	ae := netlink.NewAttributeEncoder()
	ae.ByteOrder = binary.BigEndian
	attrs(ae)
	return ae.Encode()
}

// nested puts attributes below one.
func nested(ae *netlink.AttributeEncoder, kind uint16, attrs func(*netlink.AttributeEncoder)) {
	ae.Nested(kind, func(inner *netlink.AttributeEncoder) error {
		inner.ByteOrder = binary.BigEndian
		attrs(inner)
		return nil
	})
}

// AddTable makes the table unless it is there.
func (b *Batch) AddTable() {
	b.put(unix.NFT_MSG_NEWTABLE, netlink.Create, func(ae *netlink.AttributeEncoder) {
		ae.String(unix.NFTA_TABLE_NAME, b.table.Name)
	})
}

// DelTable removes the table with all that is in it.
func (b *Batch) DelTable() {
	b.put(unix.NFT_MSG_DELTABLE, 0, func(ae *netlink.AttributeEncoder) {
		ae.String(unix.NFTA_TABLE_NAME, b.table.Name)
	})
}

// AddChain makes a chain unless it is there; with base it sees packets by itself.
func (b *Batch) AddChain(name string, base *Base) {
	b.put(unix.NFT_MSG_NEWCHAIN, netlink.Create, func(ae *netlink.AttributeEncoder) {
		ae.String(unix.NFTA_CHAIN_TABLE, b.table.Name)
		ae.String(unix.NFTA_CHAIN_NAME, name)
		if base == nil {
			return
		}
		nested(ae, unix.NFTA_CHAIN_HOOK, func(hook *netlink.AttributeEncoder) {
			hook.Uint32(unix.NFTA_HOOK_HOOKNUM, base.Hook)
			hook.Uint32(unix.NFTA_HOOK_PRIORITY, uint32(base.Priority))
		})
		ae.String(unix.NFTA_CHAIN_TYPE, base.Type)
	})
}

// FlushChain removes the rules of a chain.
func (b *Batch) FlushChain(name string) {
	b.put(unix.NFT_MSG_DELRULE, 0, func(ae *netlink.AttributeEncoder) {
		ae.String(unix.NFTA_RULE_TABLE, b.table.Name)
		ae.String(unix.NFTA_RULE_CHAIN, name)
	})
}

// DelChain removes a chain and its rules. Nothing may jump to it any more.
func (b *Batch) DelChain(name string) {
	b.put(unix.NFT_MSG_DELCHAIN, 0, func(ae *netlink.AttributeEncoder) {
		ae.String(unix.NFTA_CHAIN_TABLE, b.table.Name)
		ae.String(unix.NFTA_CHAIN_NAME, name)
	})
}

// AddRule appends a rule to a chain. The comment, of at most 127 bytes, is shown by
// nft(8).
func (b *Batch) AddRule(chain, comment string, exprs ...expr.Any) {
	b.put(unix.NFT_MSG_NEWRULE, netlink.Create|unix.NLM_F_APPEND, func(ae *netlink.AttributeEncoder) {
		ae.String(unix.NFTA_RULE_TABLE, b.table.Name)
		ae.String(unix.NFTA_RULE_CHAIN, chain)
		ae.Nested(unix.NFTA_RULE_EXPRESSIONS, func(list *netlink.AttributeEncoder) error {
			for _, e := range exprs {
				data, err := expr.Marshal(b.table.Family, e)
				if err != nil {
					return fmt.Errorf("rule of %s: %w", chain, err)
				}
				list.Bytes(unix.NFTA_LIST_ELEM|unix.NLA_F_NESTED, data)
			}
			return nil
		})
		if comment != "" {
			// libnftnl's NFTNL_UDATA_RULE_COMMENT is type 0; text with its 0.
			text := comment[:min(len(comment), 127)]
			ae.Bytes(unix.NFTA_RULE_USERDATA, append([]byte{0, byte(len(text) + 1)}, text+"\x00"...))
		}
	})
}

// AddSet makes a set unless it is there.
func (b *Batch) AddSet(s Set) {
	b.sets++
	var flags, magic, size uint32
	for _, k := range s.Key {
		magic, size = magic<<6|k.magic, size+(k.size+3)/4*4 // TYPE_BITS of datatype.h; registers of 4 bytes
	}
	if len(s.Key) == 1 {
		size = s.Key[0].size
	} else {
		flags |= nftSetConcat
	}
	if s.Interval {
		flags |= unix.NFT_SET_INTERVAL
	}
	if s.Learned {
		flags |= unix.NFT_SET_EVAL | unix.NFT_SET_TIMEOUT
	}
	if s.Data != (Kind{}) {
		flags |= unix.NFT_SET_MAP
	}
	b.put(unix.NFT_MSG_NEWSET, netlink.Create, func(ae *netlink.AttributeEncoder) {
		ae.String(unix.NFTA_SET_TABLE, b.table.Name)
		ae.String(unix.NFTA_SET_NAME, s.Name)
		ae.Uint32(unix.NFTA_SET_FLAGS, flags)
		ae.Uint32(unix.NFTA_SET_KEY_TYPE, magic)
		ae.Uint32(unix.NFTA_SET_KEY_LEN, size)
		ae.Uint32(unix.NFTA_SET_ID, b.sets)
		if s.Data != (Kind{}) {
			ae.Uint32(unix.NFTA_SET_DATA_TYPE, s.Data.magic)
			ae.Uint32(unix.NFTA_SET_DATA_LEN, s.Data.size)
		}
		if len(s.Key) > 1 {
			nested(ae, unix.NFTA_SET_DESC, func(desc *netlink.AttributeEncoder) {
				nested(desc, nftaSetDescConcat, func(list *netlink.AttributeEncoder) {
					for _, k := range s.Key {
						nested(list, unix.NFTA_LIST_ELEM, func(field *netlink.AttributeEncoder) {
							field.Uint32(nftaSetFieldLen, k.size)
						})
					}
				})
			})
		}
		// The order of bytes in keys, for nft(8) to print: NFTNL_UDATA_SET_KEYBYTEORDER is
		// type 0; 1 is the host's, 2 that of the network.
		order := uint32(2)
		if s.Key[0] == LinkName() {
			order = 1
		}
		text := binary.NativeEndian.AppendUint32([]byte{0, 4}, order)
		if s.Data == Class() { // NFTNL_UDATA_SET_DATABYTEORDER
			text = binary.NativeEndian.AppendUint32(append(text, 1, 4), 1)
		}
		ae.Bytes(unix.NFTA_SET_USERDATA, text)
	})
}

// DelSet removes a set with its elements.
func (b *Batch) DelSet(name string) {
	b.put(unix.NFT_MSG_DELSET, 0, func(ae *netlink.AttributeEncoder) {
		ae.String(unix.NFTA_SET_TABLE, b.table.Name)
		ae.String(unix.NFTA_SET_NAME, name)
	})
}

// AddElements adds elements to a set. One that is there must have the same data.
func (b *Batch) AddElements(set string, list ...Element) {
	b.elements(unix.NFT_MSG_NEWSETELEM, netlink.Create, set, list)
}

// DelElements takes elements out of a set. They must be there.
func (b *Batch) DelElements(set string, list ...Element) {
	b.elements(unix.NFT_MSG_DELSETELEM, 0, set, list)
}

// elements are put by the hundred: an attribute has no more than 64 KiB.
func (b *Batch) elements(kind int, flags netlink.HeaderFlags, set string, list []Element) {
	const most = 100
	for len(list) > 0 {
		some := list[:min(most, len(list))]
		list = list[len(some):]
		b.put(kind, flags, func(ae *netlink.AttributeEncoder) {
			ae.String(unix.NFTA_SET_ELEM_LIST_TABLE, b.table.Name)
			ae.String(unix.NFTA_SET_ELEM_LIST_SET, set)
			nested(ae, unix.NFTA_SET_ELEM_LIST_ELEMENTS, func(all *netlink.AttributeEncoder) {
				for _, e := range some {
					nested(all, unix.NFTA_LIST_ELEM, e.encode)
				}
			})
		})
	}
}

func (e Element) encode(ae *netlink.AttributeEncoder) {
	value := func(kind uint16, data []byte) {
		nested(ae, kind, func(v *netlink.AttributeEncoder) { v.Bytes(unix.NFTA_DATA_VALUE, data) })
	}
	if e.End {
		ae.Uint32(unix.NFTA_SET_ELEM_FLAGS, unix.NFT_SET_ELEM_INTERVAL_END)
	}
	value(unix.NFTA_SET_ELEM_KEY, e.Key)
	if e.KeyEnd != nil {
		value(nftaSetElemKeyEnd, e.KeyEnd)
	}
	switch {
	case e.Chain != "":
		nested(ae, unix.NFTA_SET_ELEM_DATA, func(data *netlink.AttributeEncoder) {
			nested(data, unix.NFTA_DATA_VERDICT, func(v *netlink.AttributeEncoder) {
				v.Int32(unix.NFTA_VERDICT_CODE, unix.NFT_JUMP)
				v.String(unix.NFTA_VERDICT_CHAIN, e.Chain)
			})
		})
	case e.Data != nil:
		value(unix.NFTA_SET_ELEM_DATA, e.Data)
	}
}
