package bpf

import (
	"syscall"

	"vserver/kernel/ebpf"
)

// Which sockets of UDP a guest has, Lookup must know: what comes for an address of a
// guest and finds none of them would else reach a wildcard of the host's. PostBind
// enters those that were bound, Sendmsg4 and Sendmsg6 those that got their port by
// sending, Release takes them out. What is connected the kernel finds without asking.

// known enters the socket of the context into bound, if it is not there with its port
// and not parked. The flags of its note are in stackNote then.
func (t *text) known() {
	same, done, whose := t.label("same"), t.label("known"), t.label("whose")
	t.put(fp, stackNote, 0)
	t.load8(addr, ctx, saSock)
	t.null(addr, done)
	t.mov(r2, addr)
	t.note(1)
	t.null(r0, done)
	t.mov(flags, r0) // the note, for a while
	t.load(r1, addr, skPort)
	t.load(r2, flags, notePort)
	t.load(r3, flags, noteFlags)
	t.store(fp, stackNote, r3)
	t.add(ebpf.JumpIfReg(r1, ebpf.Equal, r2, same), ebpf.JumpIf(r3, ebpf.Any, noteParked, same))
	t.load8(r1, fp, stackID)
	t.load8(r2, flags, noteID)
	t.add(ebpf.JumpIf(r3, ebpf.Any, noteKnown, whose))
	t.mov(r2, r1)
	t.here(whose)
	t.add(ebpf.JumpIfReg(r1, ebpf.Differs, r2, same)) // another guest's, which has made it known
	t.store8(flags, noteID, r1)
	t.know(addr, flags, 0)
	t.here(same)
	t.load(flags, entry, entryFlags)
	t.here(done)
}

// know enters a socket with this note into bound, under its address and port. The hooks
// of a family, unlike those where it is 0, may read the addresses of that alone.
func (t *text) know(sock, note ebpf.Register, family int32) {
	done, fresh, first, entered := t.label("known"), t.label("fresh"), t.label("first"), t.label("entered")
	six, zero, keyed := t.label("six"), t.label("zero"), t.label("keyed")
	t.load(r1, note, noteFlags)
	t.add(ebpf.And32(r1, noteKnown))
	t.is(r1, 0, fresh)
	t.forget(note)
	t.here(fresh)
	t.load(r1, sock, skPort)
	t.is(r1, 0, done)
	if family == 0 {
		t.load(r1, sock, skFamily)
		t.isnt(r1, familyFour, six)
	}
	if family != familySix {
		t.load(r1, sock, skSource4)
		t.is(r1, 0, zero)
		t.mappedKey(stackKey+8, r1)
		t.jump(keyed)
		t.here(zero)
		t.put8(fp, stackKey+8, 0)
		t.put8(fp, stackKey+16, 0)
		t.jump(keyed)
	}
	t.here(six)
	for i := int16(0); i < 16 && family != familyFour; i += 4 {
		t.load(r1, sock, skSource6+i)
		t.store(fp, stackKey+8+i, r1)
	}
	t.here(keyed)
	for i := int16(0); i < 16; i += 8 {
		t.load8(r1, fp, stackKey+8+i)
		t.store8(note, noteAddress+i, r1)
	}
	t.load(r1, sock, skPort)
	t.store(note, notePort, r1)
	t.boundKey(note)
	t.lookup(t.Bound, stackKey)
	t.null(r0, first)
	t.set(r1, 1)
	t.add(ebpf.AtomicAdd(r0, 0, r1, ebpf.DWord))
	t.jump(entered)
	t.here(first)
	t.enterBound(entered)
	t.put(note, notePort, 0) // it is tried again
	t.jump(done)
	t.here(entered)
	t.load(r1, note, noteFlags)
	t.add(ebpf.Or(r1, noteKnown))
	t.store(note, noteFlags, r1)
	t.direct(note, family)
	t.here(done)
}

// enterBound enters the key on the stack, of a first socket, into bound, and goes to entered, or on
// when that cannot be.
func (t *text) enterBound(entered string) {
	full := t.label("full")
	t.take(countBound, full)
	t.put8(fp, stackAddr, 1)
	t.add(ebpf.Map(r1, t.Bound)...)
	t.stack(r2, stackKey)
	t.stack(r3, stackAddr)
	t.set(r4, 1) // BPF_NOEXIST
	t.call(ebpf.MapUpdate)
	t.is(r0, 0, entered)
	t.give(countBound)
	t.here(full)
}

// boundKey writes the key of bound to the stack that a note tells.
func (t *text) boundKey(note ebpf.Register) {
	t.load8(r1, note, noteID)
	t.store8(fp, stackKey, r1)
	for i := int16(0); i < 16; i += 8 {
		t.load8(r1, note, noteAddress+i)
		t.store8(fp, stackKey+8+i, r1)
	}
	t.load(r1, note, notePort)
	t.add(ebpf.Swap16(r1))
	t.store(fp, stackKey+24, r1)
	t.put(fp, stackKey+28, protocolUDP)
}

// forget takes the socket with this note out of bound.
func (t *text) forget(note ebpf.Register) {
	done := t.label("forgotten")
	t.undirect(note)
	t.boundKey(note)
	t.lookup(t.Bound, stackKey)
	t.null(r0, done)
	t.last(0, ebpf.DWord, done)
	t.add(ebpf.Map(r1, t.Bound)...)
	t.stack(r2, stackKey)
	t.call(ebpf.MapDelete)
	t.give(countBound)
	t.here(done)
	t.load(r1, note, noteFlags)
	t.add(ebpf.And(r1, ^noteKnown))
	t.store(note, noteFlags, r1)
	t.put(note, notePort, 0)
}

// udp is Lookup for a datagram to an address of a guest: it passes to the kernel when
// a socket of the guest's is bound there, then to those that Steer has entered, then to
// those at a wildcard. It is nobody's else.
func (t *text) udp() {
	search, wild, none := t.label("search"), t.label("wild"), "none"
	t.datagramKey()
	six, keyed := t.label("six"), t.label("keyed")
	t.load(r1, ctx, lookupFamily)
	t.isnt(r1, familyFour, six)
	t.load(r1, ctx, lookupLocal4)
	t.mappedKey(stackKey+8, r1)
	t.jump(keyed)
	t.here(six)
	for i := int16(0); i < 16; i += 4 {
		t.load(r1, ctx, lookupLocal6+i)
		t.store(fp, stackKey+8+i, r1)
	}
	t.here(keyed)
	t.lookup(t.Bound, stackKey)
	t.null(r0, search)
	t.jump("pass")
	t.here(search)
	t.manifest(r1, Steering)
	t.is(r1, 0, wild)
	t.lookup(t.Guests, stackID)
	t.null(r0, "shut")
	t.mov(entry, r0)
	t.stranger()
	t.datagramKey()
	t.slot(0)
	t.here(wild)
	t.put8(fp, stackKey+8, 0)
	t.put8(fp, stackKey+16, 0)
	t.lookup(t.Bound, stackKey)
	t.null(r0, none)
	t.jump("pass")
}

// datagramKey writes all but the address of a key of bound to the stack, and keeps the
// port in addr.
func (t *text) datagramKey() {
	t.load8(r1, fp, stackID)
	t.store8(fp, stackKey, r1)
	t.load(addr, ctx, lookupPort)
	t.add(ebpf.Swap16(addr))
	t.store(fp, stackKey+24, addr)
	t.put(fp, stackKey+28, syscall.IPPROTO_UDP)
}

// single goes to no when the guest has SingleIP and another address is asked than its first
// one, which are at these offsets of context and entry.
func (t *text) single(no string, first, asked, size int16) {
	several := t.label("several")
	t.null(entry, several)
	t.load(r1, entry, entryFlags)
	t.add(ebpf.And32(r1, int32(SingleIP)))
	t.is(r1, 0, several)
	for i := int16(0); i < size; i += 4 {
		t.load(r1, ctx, asked+i)
		t.load(r2, entry, first+i)
		t.add(ebpf.JumpIfReg(r1, ebpf.Differs, r2, no))
	}
	t.here(several)
}
