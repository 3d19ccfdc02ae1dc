package bpf

import (
	"syscall"

	"vserver/kernel/ebpf"
)

// Connect4 is connect(2) to an IPv4 address:
//
//	0.0.0.0, 127.N.N.N   the guest's own loopback, from its own
//	one's own            stays, from itself
//	multicast, broadcast stay when allowed, else EACCES
//	another              stays; a socket that is bound to nothing is bound to the
//	                     guest's address for it (choose4)
//
// A guest without an address reaches nothing but itself: ENETUNREACH.
func Connect4(p Parts) []ebpf.Instruction {
	t := write(p)
	t.guest("shut")
	t.load(addr, ctx, saAddr4)
	t.connect4(saAddr4, syscall.AF_INET)
	return t.end(1)
}

// Connect6 is connect(2) to an IPv6 address, as Connect4; ::ffff:A is treated as A is
// there, :: as ::1.
func Connect6(p Parts) []ebpf.Instruction {
	t := write(p)
	t.guest("shut")
	t.copyIn(saAddr6)
	t.mapped("mapped")
	t.load8(r1, fp, stackAddr)
	t.load8(r2, fp, stackAddr+8)
	t.add(ebpf.OrReg(r1, r2))
	t.null(r1, "loop6")
	t.loopback6("loop6")
	t.own6("own6")
	t.lback6("loop6")
	t.kind6("other6", t.refusal(syscall.EACCES))

	t.here("own6")
	t.sixth()
	t.unbound(syscall.AF_INET6)
	t.load8(r1, fp, stackAddr)
	t.load8(r2, fp, stackAddr+8)
	t.bindTo6(r1, r2)

	t.here("other6")
	t.connections()
	t.sixth()
	t.unbound(syscall.AF_INET6)
	t.choose6()
	t.load8(r1, r5, 0)
	t.null(r1, t.refusal(syscall.ENETUNREACH))
	t.load8(r2, r5, 8)
	t.bindTo6(r1, r2)

	t.here("loop6")
	t.remap6("pass")
	t.udp6()
	t.copyOut(saAddr6)
	t.sixth()
	t.unbound(syscall.AF_INET6)
	t.load8(r1, entry, entryLback6)
	t.load8(r2, entry, entryLback6+8)
	t.bindTo6(r1, r2)

	t.here("mapped")
	t.load(addr, ctx, saAddr6+12)
	t.connect4(saAddr6+12, syscall.AF_INET6)
	return t.end(1)
}

// connect4 decides about addr, which is at an offset of the context.
func (t *text) connect4(at int16, family int32) {
	t.is(addr, 0, "loop4")
	t.masked(r1, addr, net(0xff000000))
	t.is(r1, net(0x7f000000), "loop4")
	t.own4("own4")
	t.kind4("other4", t.refusal(syscall.EACCES))
	t.here("other4")
	t.connections()
	t.unbound(family)
	t.choose4()
	t.is(r5, 0, t.refusal(syscall.ENETUNREACH))
	t.bindTo4(r5, family)

	t.here("own4") // from itself: the kernel could take the first of its subnet
	t.unbound(family)
	t.bindTo4(addr, family)

	t.here("loop4")
	t.flag(Remap, "remap4")
	t.flag(LbackAllow, "pass")
	t.refuse(syscall.EPERM)
	t.here("remap4")
	t.nameless4()
	t.remap4(t.refusal(syscall.EPERM))
	t.udp4()
	t.store(ctx, at, addr)
	t.unbound(family)
	t.load(r5, entry, entryLback4)
	t.bindTo4(r5, family)
}

// nameless4 makes 0.0.0.0 in addr 127.0.0.1.
func (t *text) nameless4() {
	named := t.label("named")
	t.isnt(addr, 0, named)
	t.add(ebpf.MovImm32(addr, net(0x7f000001)))
	t.here(named)
}

// connections goes on when the guest may have another connection.
func (t *text) connections() {
	more := t.label("more")
	t.load(r1, entry, entryConnections)
	t.is(r1, 0, more)
	t.load(r2, ctx, saType)
	t.isnt(r2, syscall.SOCK_STREAM, more)
	t.lookup(t.Counts, stackID)
	t.null(r0, "shut")
	t.load(r1, entry, entryConnections)
	t.few(r0, countConnections, r1, more)
	t.refuse(syscall.ENOBUFS)
	t.here(more)
}

// unbound goes to pass when the socket has an address, and on when it has none. TCP
// with a port and no address is parked on a hidden one: it cannot be bound any more,
// and the kernel would take an address of the host: EADDRNOTAVAIL. What is parked at an
// address gets its port otherwise; see ported.
func (t *text) unbound(family int32) {
	free, bound := t.label("free"), t.label("bound")
	t.load8(r2, ctx, saSock)
	t.null(r2, "pass")
	if family == syscall.AF_INET {
		t.load(r1, r2, skSource4)
		t.isnt(r1, 0, bound)
	} else {
		for i := int16(0); i < 16; i += 4 {
			t.load(r1, r2, skSource6+i)
			t.isnt(r1, 0, bound)
		}
	}
	t.load(r1, r2, skPort)
	t.is(r1, 0, free)
	t.load(r1, ctx, saType)
	t.is(r1, syscall.SOCK_STREAM, t.refusal(syscall.EADDRNOTAVAIL))
	t.jump("pass")
	t.here(bound)
	t.note(0)
	t.null(r0, "pass")
	t.ported()
	t.here(free)
}

// sixth goes on unless the socket of IPv6 is bound to an address of IPv4, as one for both is
// that was bound to the wildcard: the kernel gets no other for it any more.
func (t *text) sixth() {
	fine := t.label("sixth")
	t.load8(r2, ctx, saSock)
	t.null(r2, "pass")
	t.load(r1, r2, skSource6+8)
	t.isnt(r1, net(0xffff), fine)
	for i := int16(0); i < 8; i += 4 {
		t.load(r1, r2, skSource6+i)
		t.isnt(r1, 0, fine)
	}
	t.refuse(syscall.EADDRNOTAVAIL)
	t.here(fine)
}

// bindTo4 binds the socket to an IPv4 address without a port, and ends the program.
func (t *text) bindTo4(a ebpf.Register, family int32) {
	if family == syscall.AF_INET6 {
		t.mov(r2, a)
		t.add(ebpf.ShiftLeft(r2, 32), ebpf.MovImm32(r3, net(0xffff)), ebpf.OrReg(r2, r3))
		t.set(r1, 0)
		t.bindTo6(r1, r2)
		return
	}
	t.put8(fp, stackBind, int32(family))
	t.store(fp, stackBind+4, a)
	t.put8(fp, stackBind+8, 0)
	t.bindCall(16)
}

// bindTo6 is bindTo4 for the halves of an IPv6 address.
func (t *text) bindTo6(upper, lower ebpf.Register) {
	t.put8(fp, stackBind, syscall.AF_INET6)
	t.store8(fp, stackBind+8, upper)
	t.store8(fp, stackBind+16, lower)
	t.put(fp, stackBind+24, 0)
	t.bindCall(28)
}

func (t *text) bindCall(size int32) {
	t.mov(r1, ctx)
	t.stack(r2, stackBind)
	t.set(r3, size)
	t.call(ebpf.Bind)
	t.is(r0, 0, "pass")
	t.refuse(syscall.EADDRNOTAVAIL)
}

// kind6 goes to no when the address on the stack is a group that the guest may not
// use, else to yes.
func (t *text) kind6(yes, no string) {
	t.load(r1, fp, stackAddr)
	t.add(ebpf.And32(r1, net(0xff000000)))
	t.isnt(r1, net(0xff000000), yes)
	t.flag(Multicast, yes)
	t.jump(no)
}

// udp4 looks for where a datagram to the guest's loopback in addr belongs: to that, or
// to the first address, when a wildcard socket was bound to it and none is there. Sockets
// of TCP are found by Lookup.
func (t *text) udp4() {
	done := t.label("found")
	t.load(r1, ctx, saType)
	t.isnt(r1, syscall.SOCK_DGRAM, done)
	t.load(r1, entry, entryV4)
	t.is(r1, 0, done)
	t.sockAt4(addr, done)
	first := t.label("first")
	t.load(r1, entry, entryV4)
	t.sockAt4(r1, first)
	t.jump(done)
	t.here(first)
	t.looped()
	t.load(addr, entry, entryV4)
	t.here(done)
}

// looped notes that the guest's first address stands for its loopback to the socket of
// the context, which is to see that one as the sender of answers.
func (t *text) looped() {
	none := t.label("unnoted")
	t.noteOf(1, none)
	t.load(r1, r0, noteFlags)
	t.add(ebpf.Or(r1, noteLooped))
	t.store(r0, noteFlags, r1)
	t.add(ebpf.Value(r1, t.Manifest)...)
	t.load(r2, r1, Looping)
	t.isnt(r2, 0, none)
	t.put(r1, Looping, 1)
	t.event() // answers may want to be led back
	t.here(none)
}

// sockAt4 goes to yes when a socket of UDP is bound to the address and the port of the
// context, not to the wildcard, which may be the host's; it may be connected to the
// socket of the context.
func (t *text) sockAt4(a ebpf.Register, yes string) {
	no := t.label("none")
	t.store(fp, stackTuple+4, a)
	t.load8(r2, ctx, saSock)
	t.null(r2, no)
	t.load(r1, r2, skSource4)
	t.store(fp, stackTuple, r1)
	t.ports(stackTuple + 8)
	t.findUDP(12, no)
	t.load(r1, r0, skSource4)
	t.store(fp, stackSaved+4, r1)
	t.mov(r1, r0)
	t.call(ebpf.SkRelease)
	t.load(r1, fp, stackSaved+4)
	t.load(r2, fp, stackTuple+4)
	t.add(ebpf.JumpIfReg(r1, ebpf.Equal, r2, yes))
	t.here(no)
}

// ports writes the ports of a tuple to the stack: that of the socket in r2, as others see
// it, and that of the context.
func (t *text) ports(at int16) {
	real, parked := t.label("real"), t.label("parked")
	t.load(r1, r2, skPort)
	t.add(ebpf.Swap16(r1))
	t.store(fp, at, r1)
	t.note(0)
	t.null(r0, real)
	t.load(r1, r0, noteFlags)
	t.add(ebpf.JumpIf(r1, ebpf.Any, noteParked, parked))
	t.jump(real)
	t.here(parked)
	t.load(r1, r0, noteAsked)
	t.store(fp, at, r1)
	t.here(real)
	t.load(r1, fp, at)
	t.load(r2, ctx, saPort)
	t.add(ebpf.ShiftLeft(r2, 16), ebpf.OrReg(r1, r2))
	t.store(fp, at, r1)
}

// findUDP is r0 = the socket that the tuple on the stack reaches, which is to be
// released.
func (t *text) findUDP(size int32, no string) {
	t.mov(r1, ctx)
	t.stack(r2, stackTuple)
	t.set(r3, size)
	t.set(r4, -1) // BPF_F_CURRENT_NETNS
	t.set(r5, 0)
	t.call(ebpf.SkLookupUDP)
	t.null(r0, no)
}

// udp6 is udp4 for the guest's ::1 on the stack.
func (t *text) udp6() {
	done, none := t.label("found"), t.label("none")
	t.load(r1, ctx, saType)
	t.isnt(r1, syscall.SOCK_DGRAM, done)
	t.load8(r1, entry, entryV6)
	t.null(r1, done)
	t.load8(r1, fp, stackAddr)
	t.load8(r2, fp, stackAddr+8)
	t.sockAt6(r1, r2, done)
	t.load8(r1, entry, entryV6)
	t.load8(r2, entry, entryV6+8)
	first := t.label("first")
	t.sockAt6(r1, r2, first)
	t.jump(none)
	t.here(first)
	t.looped()
	t.load8(r1, entry, entryV6)
	t.load8(r2, entry, entryV6+8)
	t.store8(fp, stackAddr, r1)
	t.store8(fp, stackAddr+8, r2)
	t.here(none)
	t.here(done)
}

// sockAt6 is sockAt4 for the halves of an IPv6 address.
func (t *text) sockAt6(upper, lower ebpf.Register, yes string) {
	no := t.label("none")
	t.store8(fp, stackTuple+16, upper)
	t.store8(fp, stackTuple+24, lower)
	t.load8(r2, ctx, saSock)
	t.null(r2, no)
	for i := int16(0); i < 16; i += 4 {
		t.load(r1, r2, skSource6+i)
		t.store(fp, stackTuple+i, r1)
	}
	t.ports(stackTuple + 32)
	t.findUDP(36, no)
	t.load(r1, r0, skSource6+12)
	t.store(fp, stackSaved+4, r1)
	t.mov(r1, r0)
	t.call(ebpf.SkRelease)
	t.load(r1, fp, stackSaved+4)
	t.load(r2, fp, stackTuple+28)
	t.add(ebpf.JumpIfReg(r1, ebpf.Equal, r2, yes))
	t.here(no)
}
