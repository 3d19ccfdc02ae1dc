package bpf

import (
	"syscall"

	"vserver/kernel/ebpf"
)

// listener enters the socket into the map of listeners, in the first free slot: there
// are several only for sockets that share a port with SO_REUSEPORT, any of which stands
// for all.
func (t *text) listener() {
	port, entered := t.label("port"), t.label("enter")
	t.load8(r1, fp, stackID)
	t.store8(fp, stackKey, r1)
	t.localKey(stackKey + 8)
	t.put(fp, stackKey+28, syscall.IPPROTO_TCP)
	t.load(addr, ctx, opsPort)
	t.add(ebpf.Swap16(addr))
	t.load8(r2, ctx, opsSock)
	t.null(r2, "pass")
	t.note(1)
	t.null(r0, "pass")
	t.mov(entry, r0)
	t.unlisted()
	t.load(flags, entry, noteFlags)
	t.listed()
	t.add(ebpf.JumpIf(flags, ebpf.Any, noteParked, port))
	t.jump("wild")
	t.here(port)
	t.load(addr, entry, noteAsked)
	t.here("wild")
	t.add(ebpf.And32(flags, noteWild))
	t.is(flags, 0, entered)
	t.load(r1, ctx, opsFamily)
	t.is(r1, familyFour, "wild4")
	t.put8(fp, stackKey+8, 0)
	t.put8(fp, stackKey+16, 0)
	t.jump(entered)
	t.here("wild4")
	t.put(fp, stackKey+20, 0)
	t.here(entered)
	for slot := range int32(listenerSlots) {
		t.mov(r1, addr)
		t.add(ebpf.Or(r1, slot<<16))
		t.store(fp, stackKey+24, r1)
		t.mov(r1, ctx)
		t.add(ebpf.Map(r2, t.Listeners)...)
		t.stack(r3, stackKey)
		t.set(r4, 1) // BPF_NOEXIST
		t.call(ebpf.SockHashUpdate)
		t.is(r0, 0, "pass")
		t.isnt(r0, alreadyThere, "unlisted")
	}
	t.here("unlisted")
	t.give(countListeners)
	t.put(entry, noteTimes, 0)
	t.jump("pass")
}

// listed counts the socket, whose note is in entry, as one of its guest's listeners. One that was shut
// down has left the table, but is counted until it is closed.
func (t *text) listed() {
	made, whose, listed := t.label("made"), t.label("whose"), t.label("listed")
	t.load8(r1, entry, noteID)
	t.null(r1, made)
	t.store8(fp, stackID, r1)
	t.jump(whose)
	t.here(made)
	t.load8(r1, fp, stackID)
	t.store8(entry, noteID, r1)
	t.here(whose)
	t.load(r1, entry, noteTimes)
	t.isnt(r1, 0, listed)
	t.take(countListeners, "pass")
	t.put(entry, noteTimes, 1)
	t.here(listed)
}
