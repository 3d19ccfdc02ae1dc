package bpf

import (
	"encoding/binary"

	"vserver/kernel/ebpf"
)

// Offsets in what the map counts holds of a guest, and how far behind each is how often there
// were as many as its limit says.
const (
	countSockets     = 0
	countConnections = 8
	countRefused     = 4
)

// Count is what the map counts holds of a guest's sockets, or of its connections.
type Count struct {
	Now, Refused uint32
}

// DecodeCounts reads a value of the map counts.
func DecodeCounts(b []byte) (sockets, connections Count) {
	at := func(i int) Count {
		return Count{binary.NativeEndian.Uint32(b[i:]), binary.NativeEndian.Uint32(b[i+countRefused:])}
	}
	return at(countSockets), at(countConnections)
}

// few goes to yes when of what counts has at this offset there are less than most says. Else it
// counts that there were not. It keeps all but r1 and r2.
func (t *text) few(counts ebpf.Register, at int16, most ebpf.Register, yes string) {
	t.load(r2, counts, at)
	t.add(ebpf.JumpIfReg(r2, ebpf.Below, most, yes))
	t.set(r1, 1)
	t.add(ebpf.AtomicAdd(counts, at+countRefused, r1, ebpf.Word))
}
