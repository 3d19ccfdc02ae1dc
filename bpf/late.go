package bpf

import (
	"syscall"

	"vserver/kernel/ebpf"
)

// A socket of TCP for both families that is bound to [::] without a port may listen, or
// connect to either family. What it will do is not known when it is bound, and one that has
// a port by then keeps the wildcard: the kernel would have it leave by an address that the
// host's routes choose. Where the kernel finds the port later, Connect6 can bind it as it does a
// socket that was never bound. The option that has it do so can be set while another is: nearly all
// who want both families ask for them, which is what they have already.

// ipBindAddressNoPort is IP_BIND_ADDRESS_NO_PORT of linux/in.h.
const ipBindAddressNoPort = 24

// late makes IPV6_V6ONLY, switched off for a socket of TCP where it is off, the
// option IP_BIND_ADDRESS_NO_PORT, switched on. The offsets are those of the option.
func (t *text) late(level, name, length int16) {
	const value, end = 8, 16 // in struct bpf_sockopt
	done := t.label("early")
	if t.State == 0 {
		return
	}
	t.load(r1, ctx, level)
	t.isnt(r1, solIPv6, done)
	t.load(r1, ctx, name)
	t.isnt(r1, syscall.IPV6_V6ONLY, done)
	t.load8(r2, ctx, 0) // sk
	t.load(r1, r2, skType)
	t.isnt(r1, syscall.SOCK_STREAM, done)
	t.load(r1, r2, skPort)
	t.isnt(r1, 0, done)
	t.option(value, end, done)
	t.load(r1, r1, 0)
	t.isnt(r1, 0, done)
	t.alone6(0, done)
	t.load8(r2, ctx, 0)
	t.note(1)
	t.null(r0, done)
	t.load(r1, r0, noteFlags)
	t.add(ebpf.Or(r1, noteLate))
	t.store(r0, noteFlags, r1)
	t.option(value, end, done)
	t.put(r1, 0, 1)
	t.put(ctx, level, solIP)
	t.put(ctx, name, ipBindAddressNoPort)
	t.put(ctx, length, 4)
	t.jump("pass")
	t.here(done)
}

// option is r1 = where the option's value is, of four bytes.
func (t *text) option(value, end int16, none string) {
	t.load8(r1, ctx, value)
	t.load8(r2, ctx, end)
	t.mov(r3, r1)
	t.add(ebpf.AddImm(r3, 4), ebpf.JumpIfReg(r3, ebpf.Above, r2, none))
}

// promise gives a socket of TCP that is late, and is bound to the wildcard of IPv6, a port to be seen and heard at should it
// listen, as a parked one has, in addr and in its note: a program may tell others the port before it
// listens. It goes to none when the kernel finds one at once.
func (t *text) promise(none string) {
	const first, some = 49152, 0x3fff
	free := t.label("free")
	t.load8(r2, ctx, saSock)
	t.null(r2, none)
	t.load(r1, r2, skPort)
	t.isnt(r1, 0, none)
	t.note(0)
	t.null(r0, none)
	t.load(r1, r0, noteFlags)
	t.masked(r2, r1, noteLate|noteBound)
	t.isnt(r2, noteLate, none)
	for i := int16(0); i < portValue; i += 8 {
		t.put8(fp, stackBind+i, 0)
	}
	t.put(fp, stackBind+portSockets, 1)
	t.take(countPorts, none)
	for range 3 {
		t.call(ebpf.Random)
		t.mov(addr, r0)
		t.add(ebpf.And32(addr, some), ebpf.AddImm(addr, first), ebpf.Swap16(addr))
		t.load8(r1, fp, stackID)
		t.set(r3, 0)
		t.portKey(r1, addr, r3)
		t.add(ebpf.Map(r1, t.Ports)...)
		t.stack(r2, stackKey)
		t.stack(r3, stackBind)
		t.set(r4, 1) // BPF_NOEXIST
		t.call(ebpf.MapUpdate)
		t.is(r0, 0, free)
	}
	t.give(countPorts)
	t.jump(none)
	t.here(free)
	t.noteOf(0, none)
	t.store(r0, noteAsked, addr)
	t.load8(r1, fp, stackID)
	t.store8(r0, noteID, r1)
	t.load(r1, r0, noteFlags)
	t.add(ebpf.Or(r1, noteParked|noteBound))
	t.store(r0, noteFlags, r1)
	t.jump("pass")
}

// chosen is a hidden port, in r1, for a socket of TCP that is late, and 0 for another: the
// kernel would find it one when it listens, and whoever asks for its port before that would
// not be refused. It is one that clients get nowhere by default.
func (t *text) chosen() {
	const low, some = 0xf000, 0x0fff
	free, none, chosen := t.label("free"), t.label("none"), t.label("chosen")
	t.load(r1, ctx, saType)
	t.isnt(r1, syscall.SOCK_STREAM, none)
	t.noteOf(0, none)
	t.load(r1, r0, noteFlags)
	t.masked(r2, r1, noteLate)
	t.is(r2, 0, none)
	for range 4 {
		t.call(ebpf.Random)
		t.add(ebpf.And32(r0, some), ebpf.AddImm(r0, low), ebpf.Swap16(r0))
		t.store(fp, stackBind, r0)
		t.secretKey(stackBind)
		t.call(ebpf.MapLookup)
		t.null(r0, free)
	}
	t.here(none)
	t.set(r1, 0)
	t.jump(chosen)
	t.here(free)
	t.load(r1, fp, stackBind)
	t.here(chosen)
}

// promised goes to real when the socket of the context, whose note has the flags in r1, has
// connected with a port of the kernel's in place of the promised one. It keeps r1 and r2.
func (t *text) promised(real string) {
	kept := t.label("kept")
	t.masked(r3, r1, noteLate)
	t.is(r3, 0, kept)
	t.load8(r3, ctx, saSock)
	t.null(r3, real)
	t.add(ebpf.Load(r4, r3, skPeerPort, ebpf.Half))
	t.isnt(r4, 0, real)
	t.here(kept)
}
