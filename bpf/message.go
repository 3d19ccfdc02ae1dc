package bpf

import (
	"syscall"

	"vserver/kernel/ebpf"
)

// Sendmsg4 is a datagram sent to an IPv4 address that the socket is not connected to.
// Destinations are treated as by Connect4. The source is the one that the program asks
// for or is bound to, when it is the guest's, else EADDRNOTAVAIL; a program that does
// not care gets the one that Connect4 would bind to, and so does one that is bound to an
// address in place of the wildcard. Sockets of IPv6 come here too,
// with what they send to ::ffff:A.
//
// What was decided for a destination the socket's note remembers, for as long as no
// guest is changed.
func Sendmsg4(p Parts) []ebpf.Instruction {
	t := write(p)
	t.mov(ctx, r1)
	t.recall4()
	t.mov(r1, ctx)
	t.then()
	t.guest("shut")
	t.known()
	t.load(addr, ctx, saAddr4)
	t.is(addr, 0, "loop4")
	t.masked(r1, addr, net(0xff000000))
	t.is(r1, net(0x7f000000), "loop4")
	t.kind4("other4", t.refusal(syscall.EACCES))
	t.here("other4")
	t.load(r1, ctx, saSource4)
	t.store(fp, stackBind, r1)
	t.is(r1, 0, "choose")
	t.store(fp, stackSaved, addr)
	t.mov(addr, r1)
	t.own4("own4")
	t.lback4(addr, "fromloop") // to the guest's own address alone
	t.masked(r1, addr, net(0xff000000))
	t.isnt(r1, net(0x7f000000), t.refusal(syscall.EADDRNOTAVAIL))
	t.load(addr, fp, stackSaved) // a socket of IPv6 that is bound has 127.0.0.6
	t.jump("choose")
	t.here("own4")
	t.mov(r5, addr)
	t.anySource("chosen4")
	t.load(addr, fp, stackSaved)
	t.here("choose")
	t.choose4()
	t.is(r5, 0, t.refusal(syscall.ENETUNREACH))
	t.here("chosen4")
	t.store(ctx, saSource4, r5)
	t.keep4()
	t.jump("pass")
	t.here("fromloop")
	t.load(addr, fp, stackSaved)
	t.own4("pass")
	t.refuse(syscall.EINVAL)

	t.loop4()
	return t.end(1)
}

// loop4 is where a datagram to loopback, in addr, goes and comes from.
func (t *text) loop4() {
	t.here("loop4")
	t.flag(Remap, "remap4")
	t.flag(LbackAllow, "pass")
	t.refuse(syscall.EPERM)
	t.here("remap4")
	t.nameless4()
	t.remap4(t.refusal(syscall.EPERM))
	t.udp4()
	t.store(ctx, saAddr4, addr)
	t.load(addr, ctx, saSource4)
	t.is(addr, 0, "fromlback")
	t.own4("pass")
	t.lback4(addr, "pass")
	t.masked(r1, addr, net(0xff000000))
	t.isnt(r1, net(0x7f000000), t.refusal(syscall.EADDRNOTAVAIL))
	t.here("fromlback")
	t.load(r1, entry, entryLback4)
	t.store(ctx, saSource4, r1)
}

// recall4 does as was done for the last datagram of the socket, when this one is like it,
// and goes on when it is not. Whose socket it is counts, not who sends: to ask for that
// takes longer than all else.
func (t *text) recall4() {
	t.load8(addr, ctx, saSock)
	t.null(addr, "slow")
	t.mov(r2, addr)
	t.note(0)
	t.null(r0, "slow")
	t.load8(r1, r0, noteStamp)
	t.null(r1, "slow")
	t.change(r2)
	t.add(ebpf.JumpIfReg(r1, ebpf.Differs, r2, "slow"))
	for _, same := range []struct {
		at, as int16
		in     ebpf.Register
	}{{notePort, skPort, addr}, {noteDestination, saAddr4, ctx}, {noteSource, saSource4, ctx}} {
		t.load(r1, r0, same.at)
		t.load(r2, same.in, same.as)
		t.add(ebpf.JumpIfReg(r1, ebpf.Differs, r2, "slow"))
	}
	t.load(r1, r0, noteChosen)
	t.store(ctx, saSource4, r1)
	t.jump("pass")
	t.here("slow")
}

// keep4 has the socket's note remember that r5 was chosen in place of the source that is
// kept on the stack, if it is the guest's own socket, not one that it was handed. What
// change was is from before anything was looked up.
func (t *text) keep4() {
	t.store(fp, stackSaved, r5)
	t.noteOf(0, "pass")
	t.load8(r1, r0, noteID)
	t.load8(r2, fp, stackID)
	t.add(ebpf.JumpIfReg(r1, ebpf.Differs, r2, "pass"))
	t.load(r1, ctx, saAddr4)
	t.store(r0, noteDestination, r1)
	t.load(r1, fp, stackBind)
	t.store(r0, noteSource, r1)
	t.load(r1, fp, stackSaved)
	t.store(r0, noteChosen, r1)
	t.load8(r1, fp, stackThen)
	t.store8(r0, noteStamp, r1)
}

// Sendmsg6 is Sendmsg4 for IPv6, without a memory.
func Sendmsg6(p Parts) []ebpf.Instruction {
	t := write(p)
	t.guest("shut")
	t.known()
	t.copyIn(saAddr6)
	t.mapped("pass") // goes on to Sendmsg4
	t.load8(r1, fp, stackAddr)
	t.load8(r2, fp, stackAddr+8)
	t.add(ebpf.OrReg(r1, r2))
	t.null(r1, "loop6")
	t.loopback6("loop6")
	t.lback6("loop6")
	t.kind6("other6", t.refusal(syscall.EACCES))
	t.here("other6")
	t.choose6()
	t.load8(r1, r5, 0)
	t.load8(r2, r5, 8)
	t.source6(r1, r2)
	t.here("loop6")
	t.remap6("pass")
	t.udp6()
	t.copyOut(saAddr6)
	t.load8(r1, entry, entryLback6)
	t.load8(r2, entry, entryLback6+8)
	t.source6(r1, r2)
	return t.end(1)
}

// source6 ends the program: a source that is the guest's stays, none becomes the one
// in upper and lower, which are the halves of an IPv6 address.
func (t *text) source6(upper, lower ebpf.Register) {
	none := t.label("none")
	t.store8(fp, stackBind, upper)
	t.store8(fp, stackBind+8, lower)
	t.copyIn(saSource6)
	t.load8(r1, fp, stackAddr)
	t.load8(r2, fp, stackAddr+8)
	t.add(ebpf.OrReg(r1, r2))
	t.null(r1, none)
	t.mapped(none) // of a socket for both families
	own := t.label("own")
	t.own6(own)
	t.lback6("pass")
	t.refuse(syscall.EADDRNOTAVAIL)
	t.here(own)
	t.anySource("pass")
	t.here(none)
	t.load8(r1, fp, stackBind+8)
	t.null(r1, t.refusal(syscall.ENETUNREACH))
	for i := int16(0); i < 16; i += 4 {
		t.load(r1, fp, stackBind+i)
		t.store(ctx, saSource6+i, r1)
	}
	t.jump("pass")
}

// anySource goes on when the socket is bound to an address in place of the wildcard, of
// several that could have stood there, and the program does not name sources itself.
// stackNote has the flags of its note.
func (t *text) anySource(no string) {
	t.flag(SingleIP, no)
	t.load(r1, fp, stackNote)
	t.add(ebpf.And32(r1, noteWild|noteNames))
	t.isnt(r1, noteWild, no)
}

// Shown4 is an address that a program is shown, of recvmsg(2) and getpeername(2): the
// guest's loopback is 127.0.0.N when it is hidden, and so is its first address to who
// sends to loopback what is for a socket there, and to who is bound to loopback: a client
// that was bound to the wildcard comes there from that address.
func Shown4(p Parts) []ebpf.Instruction {
	t := write(p)
	t.mov(ctx, r1)
	t.load(addr, ctx, saAddr4)
	t.masked(r1, addr, net(0xff000000))
	t.is(r1, net(0x7f000000), "ours")
	t.load8(r2, ctx, saSock)
	t.null(r2, "pass")
	t.load(r1, r2, skSource4)
	t.add(ebpf.And32(r1, net(0xff000000)))
	t.is(r1, net(0x7f000000), "ours")
	t.wasLooped() // most others are nobody's business
	t.here("ours")
	t.mov(r1, ctx)
	t.guest("pass")
	t.load(addr, ctx, saAddr4)
	t.shown4(saAddr4, true)
	return t.end(1)
}

// Shown6 is Shown4 for IPv6.
func Shown6(p Parts) []ebpf.Instruction {
	t := write(p)
	t.mov(ctx, r1)
	t.load(r1, ctx, saAddr6)
	t.add(ebpf.And32(r1, net(0xff000000)))
	t.is(r1, 0, "ours") // IPv4, too
	t.add(ebpf.JumpIf(r1, ebpf.Equal, net(0xfc000000), "ours"), ebpf.JumpIf(r1, ebpf.Equal, net(0xfd000000), "ours"))
	t.load8(r2, ctx, saSock)
	t.null(r2, "pass")
	t.load(r1, r2, skSource6)
	t.add(ebpf.And32(r1, net(0xff000000)))
	t.is(r1, net(0xfd000000), "ours")
	t.wasLooped()
	t.here("ours")
	t.mov(r1, ctx)
	t.guest("pass")
	t.shown6(true)
	return t.end(1)
}

// Named4 is what getsockname(2) tells: Shown4, and what the program asked for in bind,
// when it got something else; the address that stands for a wildcard once it is connected.
func Named4(p Parts) []ebpf.Instruction {
	t := write(p)
	t.guest("pass")
	t.asked(func() {
		t.put(ctx, saAddr4, 0)
	})
	t.load(addr, ctx, saAddr4)
	t.shown4(saAddr4, false)
	return t.end(1)
}

// Named6 is Named4 for IPv6.
func Named6(p Parts) []ebpf.Instruction {
	t := write(p)
	t.guest("pass")
	t.asked(func() {
		for i := int16(0); i < 16; i += 4 {
			t.put(ctx, saAddr6+i, 0)
		}
	})
	t.shown6(false)
	return t.end(1)
}

// asked puts back what the socket's note says.
func (t *text) asked(wildcard func()) {
	port, done := t.label("port"), t.label("asked")
	t.noteOf(0, done)
	t.load(r1, r0, 8)
	t.load(r2, r0, 12)
	t.add(ebpf.JumpIf(r1, ebpf.Any, noteParked, port))
	t.add(ebpf.JumpIf(r1, ebpf.Any, noteWild, "wild"))
	t.jump(done)
	t.here(port)
	t.promised(done)
	t.store(ctx, saPort, r2)
	t.add(ebpf.And32(r1, noteWild))
	t.is(r1, 0, done)
	t.here("wild")
	t.load8(r2, ctx, saSock)
	t.null(r2, done)
	t.add(ebpf.Load(r1, r2, skPeerPort, ebpf.Half))
	t.isnt(r1, 0, done)
	wildcard()
	t.jump("pass")
	t.here(done)
}

// wasLooped goes on when the guest's first address stands for its loopback to the socket
// of the context, else to pass.
func (t *text) wasLooped() {
	looped := t.label("looped")
	t.manifest(r1, Looping)
	t.is(r1, 0, "pass")
	t.noteOf(0, "pass")
	t.load(r1, r0, noteFlags)
	t.add(ebpf.JumpIf(r1, ebpf.Any, noteLooped, looped))
	t.jump("pass")
	t.here(looped)
}

// shown4 shows the address in addr, which is at an offset of the context: of another
// socket, or of this one.
func (t *text) shown4(at int16, other bool) {
	t.flag(HideLback, "hide4")
	t.jump("pass")
	t.here("hide4")
	t.lback4(addr, "unmap4")
	if other {
		t.load(r1, entry, entryV4)
		t.add(ebpf.JumpIfReg(r1, ebpf.Differs, addr, "pass"))
		t.load8(r2, ctx, saSock)
		t.null(r2, "pass")
		t.load(r2, r2, skSource4)
		t.lback4(r2, "first4")
		t.wasLooped()
		t.here("first4")
		t.load(addr, entry, entryLback4)
	} else {
		t.jump("pass")
	}
	t.here("unmap4")
	t.unmap4()
	t.store(ctx, at, addr)
	t.jump("pass")
}

func (t *text) shown6(other bool) {
	t.flag(HideLback, "hide6")
	t.jump("pass")
	t.here("hide6")
	t.copyIn(saAddr6)
	t.mapped("mapped")
	t.lback6("loop6")
	if other {
		for i := int16(0); i < 16; i += 8 {
			t.load8(r1, fp, stackAddr+i)
			t.load8(r2, entry, entryV6+i)
			t.add(ebpf.JumpIfReg(r1, ebpf.Differs, r2, "pass"))
		}
		elsewhere := t.label("elsewhere")
		t.load8(r2, ctx, saSock)
		t.null(r2, "pass")
		for i := int16(0); i < 16; i += 4 {
			t.load(r1, r2, skSource6+i)
			t.load(r3, entry, entryLback6+i)
			t.add(ebpf.JumpIfReg(r1, ebpf.Differs, r3, elsewhere))
		}
		t.isnt(r1, 0, "loop6")
		t.here(elsewhere)
		t.wasLooped()
	} else {
		t.jump("pass")
	}
	t.here("loop6")
	for i := int16(0); i < 12; i += 4 {
		t.put(ctx, saAddr6+i, 0)
	}
	t.put(ctx, saAddr6+12, net(1))
	t.jump("pass")
	t.here("mapped")
	t.load(addr, ctx, saAddr6+12)
	t.shown4(saAddr6+12, other)
}
