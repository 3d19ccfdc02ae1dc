package bpf

import (
	"encoding/binary"
	"fmt"
	"net/netip"

	"vserver/guest"
)

// Flags of an Entry.
const (
	Open       uint32 = 1 << iota // let all pass: not a guest of the host's stack
	SingleIP                      // the wildcard is the primary address
	Remap                         // 127.0.0.1 and ::1 are Lback4 and Lback6
	LbackAllow                    // without Remap, they are the host's
	HideLback                     // Lback4 is shown as 127.0.0.1
	RawICMP                       // ICMP sockets
	Multicast                     // destinations and memberships
	Broadcast                     // destinations
	Limited                       // sockets or connections have a limit
	More                          // there are more addresses than those listed
)

// Flags of an owned address.
const (
	OfHost  uint32 = 1 << iota // the host has it too
	Counted                    // its guest's connections are counted, as they have a limit
	Single                     // its guest has SingleIP
)

// Listed is how many addresses of each family an Entry lists. Others are the guest's
// by the map of owners alone.
const Listed = 8

// Entry is a guest's network context as the programs read it. Addresses and masks are
// in network order.
type Entry struct {
	Flags                uint32
	Lback4               uint32
	Sockets, Connections uint32 // limits; 0 is none
	Lback6               [16]byte
	V4                   [Listed][2]uint32   // address, mask; 0 where there is none
	V6                   [Listed][2][16]byte // likewise
}

// Offsets in an Entry.
const (
	entryFlags       = 0
	entryLback4      = 4
	entrySockets     = 8
	entryConnections = 12
	entryLback6      = 16
	entryV4          = 32
	entryV6          = entryV4 + Listed*8
	EntrySize        = entryV6 + Listed*32 // EntrySize is the size of an encoded Entry
)

// Add appends an address with its prefix; those beyond Listed are left out.
func (e *Entry) Add(p netip.Prefix) error {
	a := p.Addr()
	if a.IsUnspecified() || a.IsMulticast() || a.IsLoopback() {
		return fmt.Errorf("address %v: not one that a guest can have: %w", a, guest.ErrInvalid)
	}
	if a.Is4() {
		for i := range e.V4 {
			if e.V4[i][0] == 0 {
				mask := make([]byte, 4)
				prefixMask(mask, p.Bits())
				e.V4[i] = [2]uint32{binary.NativeEndian.Uint32(a.AsSlice()), binary.NativeEndian.Uint32(mask)}
				return nil
			}
		}
	}
	for i := range e.V6 {
		if a.Is6() && e.V6[i][0] == [16]byte{} {
			e.V6[i][0] = a.As16()
			prefixMask(e.V6[i][1][:], p.Bits())
			return nil
		}
	}
	e.Flags |= More
	return nil
}

func prefixMask(mask []byte, bits int) {
	for i := range mask {
		n := min(max(bits-8*i, 0), 8)
		mask[i] = ^byte(0xff >> n)
	}
}

// Owned gives the keys under which the map of owners has what the entry lists.
func (e *Entry) Owned() (out [][16]byte) {
	four := func(a uint32) (k [16]byte) {
		k[10], k[11] = 0xff, 0xff
		binary.NativeEndian.PutUint32(k[12:], a)
		return k
	}
	if e.Flags&Open != 0 {
		return nil
	}
	if e.Lback4 != 0 {
		out = append(out, four(e.Lback4&uint32(net(0xffffff00))))
	}
	if e.Lback6 != [16]byte{} {
		out = append(out, e.Lback6)
	}
	for _, a := range e.V4 {
		if a[0] != 0 {
			out = append(out, four(a[0]))
		}
	}
	for _, a := range e.V6 {
		if a[0] != [16]byte{} {
			out = append(out, a[0])
		}
	}
	return out
}

// Decode reads what Encode wrote.
func Decode(b []byte) (e Entry) {
	word := func(at int) uint32 { return binary.NativeEndian.Uint32(b[at:]) }
	e.Flags, e.Lback4 = word(entryFlags), word(entryLback4)
	e.Sockets, e.Connections = word(entrySockets), word(entryConnections)
	copy(e.Lback6[:], b[entryLback6:])
	for i := range e.V4 {
		e.V4[i] = [2]uint32{word(entryV4 + 8*i), word(entryV4 + 8*i + 4)}
	}
	for i := range e.V6 {
		copy(e.V6[i][0][:], b[entryV6+32*i:])
		copy(e.V6[i][1][:], b[entryV6+32*i+16:])
	}
	return e
}

// Encode writes the entry as the map has it.
func (e *Entry) Encode() []byte {
	b := make([]byte, 0, EntrySize)
	for _, w := range []uint32{e.Flags, e.Lback4, e.Sockets, e.Connections} {
		b = binary.NativeEndian.AppendUint32(b, w)
	}
	b = append(b, e.Lback6[:]...)
	for _, a := range e.V4 {
		b = binary.NativeEndian.AppendUint32(binary.NativeEndian.AppendUint32(b, a[0]), a[1])
	}
	for _, a := range e.V6 {
		b = append(append(b, a[0][:]...), a[1][:]...)
	}
	return b
}
