package bpf

import (
	"syscall"

	"vserver/kernel/ebpf"
)

// Guests share the tables of ports, of listeners and of bound sockets. One may have a quarter of
// such a table, and less as others fill it: a third of what is left. So there is room for
// whoever comes, however many have conspired. The map counts tells how much a guest has, and under
// the id 0 how much all have.

// Offsets in what the map counts holds, of u32.
const (
	countPorts     = 16 // ports that sockets were parked in place of
	countListeners = 20
	countBound     = 24
)

const tableSize = 65536

// room is for how many there is room in the table that is counted at this offset.
func room(at int16) int32 {
	switch at {
	case countPorts:
		return tableSize / 2 // the hidden port has a place as well
	case countBound:
		return 2 * tableSize
	}
	return tableSize
}

// take counts one that the guest in stackID is to have in a table, and goes to full when there is no
// room for it.
func (t *text) take(at int16, full string) {
	t.put8(fp, stackAll, 0)
	t.lookup(t.Counts, stackAll)
	t.null(r0, full)
	t.store8(fp, stackSaved, r0)
	t.lookup(t.Counts, stackID)
	t.null(r0, full)
	t.load8(r1, fp, stackSaved)
	t.load(r2, r1, at)
	t.load(r3, r0, at)
	t.add(ebpf.MulImm(r3, 3), ebpf.Add(r3, r2), ebpf.JumpIf(r3, ebpf.AtLeast, room(at), full))
	t.set(r2, 1)
	t.add(ebpf.AtomicAdd(r0, at, r2, ebpf.Word), ebpf.AtomicAdd(r1, at, r2, ebpf.Word))
}

// give undoes take. A guest that is gone has no count.
func (t *text) give(at int16) {
	t.put8(fp, stackSaved, 1)
	t.giveSaved(at)
}

// giveSaved is give for as many as stackSaved says.
func (t *text) giveSaved(at int16) {
	t.put8(fp, stackAll, 0)
	for _, of := range []int32{stackAll, stackID} {
		none := t.label("none")
		t.lookup(t.Counts, of)
		t.null(r0, none)
		t.load(r1, r0, at)
		t.load8(r2, fp, stackSaved)
		t.add(ebpf.JumpIfReg(r2, ebpf.Above, r1, none))
		t.set(r1, 0)
		t.add(ebpf.Sub(r1, r2), ebpf.AtomicAdd(r0, at, r1, ebpf.Word))
		t.here(none)
	}
}

// last takes one from what is counted behind r0, and goes to more unless that was the last.
func (t *text) last(at int16, size ebpf.Size, more string) {
	t.set(r1, -1)
	t.add(ebpf.AtomicFetch(r0, at, r1, size))
	t.isnt(r1, 1, more)
}

// others ends with EINVAL when the socket with the note in r0, whose flags are these, has a port,
// though connect(AF_UNSPEC) may have taken the hidden one, or is counted as another guest's, which has
// handed it over. It keeps r0, r2 and r3.
func (t *text) others(noted ebpf.Register) {
	own := t.label("own")
	t.add(ebpf.JumpIf(noted, ebpf.Any, noteBound, t.refusal(syscall.EINVAL)))
	t.masked(r1, noted, noteCounted|noteKnown)
	t.load(r4, r0, noteTimes)
	t.add(ebpf.OrReg(r1, r4))
	t.is(r1, 0, own)
	t.load8(r1, r0, noteID)
	t.load8(r4, fp, stackID)
	t.add(ebpf.JumpIfReg(r1, ebpf.Differs, r4, t.refusal(syscall.EINVAL)))
	t.here(own)
}
