package bpf

import (
	"syscall"

	"vserver/kernel/ebpf"
)

// own4 goes to yes when addr is one of the guest's addresses, its loopback not among
// them: the listed ones first, then those that owners knows.
func (t *text) own4(yes string) {
	no := t.label("foreign")
	for i := range int16(Listed) {
		t.load(r1, entry, entryV4+8*i)
		t.add(ebpf.JumpIfReg(r1, ebpf.Equal, addr, yes))
		t.is(r1, 0, no)
	}
	t.mappedKey(stackKey, addr)
	t.owned(stackKey, yes, no)
	t.here(no)
}

// own6 is own4 for the address on the stack.
func (t *text) own6(yes string) {
	no := t.label("foreign")
	t.load8(r3, fp, stackAddr)
	t.load8(r4, fp, stackAddr+8)
	for i := range int16(Listed) {
		next := t.label("next")
		t.load8(r1, entry, entryV6+32*i)
		t.load8(r2, entry, entryV6+32*i+8)
		t.add(ebpf.JumpIfReg(r1, ebpf.Differs, r3, next))
		t.add(ebpf.JumpIfReg(r2, ebpf.Equal, r4, yes))
		t.here(next)
		t.add(ebpf.JumpIfZero(r1, no))
	}
	t.owned(stackAddr, yes, no)
	t.here(no)
}

// owned goes to yes when the guest owns the key on the stack, else to no.
func (t *text) owned(key int32, yes, no string) {
	t.lookup(t.Owners, key)
	t.null(r0, no)
	t.load8(r1, r0, 0)
	t.load8(r2, fp, stackID)
	t.add(ebpf.JumpIfReg(r1, ebpf.Equal, r2, yes))
}

// mappedKey writes an IPv4 address in the form of IPv6 to the stack.
func (t *text) mappedKey(at int16, a ebpf.Register) {
	t.put8(fp, at, 0)
	t.put(fp, at+8, net(0xffff))
	t.store(fp, at+12, a)
}

// lback4 goes to yes when a is in the /24 of the guest's loopback. It uses r1.
func (t *text) lback4(a ebpf.Register, yes string) {
	no := t.label("other")
	t.load(r1, entry, entryLback4)
	t.is(r1, 0, no)
	t.add(ebpf.XorReg(r1, a), ebpf.And32(r1, net(0xffffff00)))
	t.is(r1, 0, yes)
	t.here(no)
}

// lback6 goes to yes when the address on the stack is what ::1 is to the guest.
func (t *text) lback6(yes string) {
	no := t.label("other")
	t.load8(r1, fp, stackAddr)
	t.load8(r2, entry, entryLback6)
	t.add(ebpf.JumpIfReg(r1, ebpf.Differs, r2, no))
	t.load8(r1, fp, stackAddr+8)
	t.load8(r2, entry, entryLback6+8)
	t.add(ebpf.JumpIfReg(r1, ebpf.Differs, r2, no))
	t.add(ebpf.JumpIfZero(r2, no))
	t.jump(yes)
	t.here(no)
}

// remap4 turns addr, of 127.0.0.0/8, into what it is to the guest: 127.0.0.1 into
// lback, another into the one of the same last number, the guest's own into itself.
func (t *text) remap4(none string) {
	done, first := t.label("remapped"), t.label("first")
	t.lback4(addr, done)
	t.load(r1, entry, entryLback4)
	t.is(r1, 0, none)
	t.is(addr, net(0x7f000001), first)
	t.add(ebpf.And32(r1, net(0xffffff00)), ebpf.And32(addr, net(0xff)), ebpf.OrReg(addr, r1))
	t.jump(done)
	t.here(first)
	t.mov(addr, r1)
	t.here(done)
}

// unmap4 is remap4 backward, for what is shown: addr, in the guest's /24, becomes
// 127.0.0.N.
func (t *text) unmap4() {
	done, first := t.label("shown"), t.label("first")
	t.load(r1, entry, entryLback4)
	t.add(ebpf.JumpIfReg(r1, ebpf.Equal, addr, first))
	t.add(ebpf.And32(addr, net(0xff)), ebpf.Or32(addr, net(0x7f000000)))
	t.jump(done)
	t.here(first)
	t.add(ebpf.MovImm32(addr, net(0x7f000001)))
	t.here(done)
}

// choose4 is r5 = the guest's address for the destination addr: the first listed one
// that shares its prefix, or else the first; 0 when there is none.
func (t *text) choose4() {
	done := t.label("chosen")
	t.load(r5, entry, entryV4)
	for i := range int16(Listed) {
		next := t.label("next")
		t.load(r4, entry, entryV4+8*i)
		t.is(r4, 0, done)
		t.load(r2, entry, entryV4+8*i+4)
		t.mov(r1, r4)
		t.add(ebpf.XorReg(r1, addr), ebpf.AndReg(r1, r2))
		t.isnt(r1, 0, next)
		t.mov(r5, r4)
		t.jump(done)
		t.here(next)
	}
	t.here(done)
}

// choose6 is r5 = the place of the guest's address for the destination on the stack,
// as choose4; that place holds zeros when there is none.
func (t *text) choose6() {
	done := t.label("chosen")
	for i := range int16(Listed) {
		next := t.label("next")
		t.mov(r5, entry)
		t.add(ebpf.AddImm(r5, int32(entryV6+32*i)))
		for half := int16(0); half <= 8; half += 8 {
			t.load8(r1, r5, half)
			t.load8(r2, fp, stackAddr+half)
			t.load8(r3, r5, 16+half)
			t.add(ebpf.XorReg(r1, r2), ebpf.AndReg(r1, r3))
			t.set(r2, 0)
			t.add(ebpf.JumpIfReg(r1, ebpf.Differs, r2, next))
		}
		t.load8(r1, r5, 0)
		t.add(ebpf.JumpIfReg(r1, ebpf.Differs, r2, done))
		t.here(next)
	}
	t.mov(r5, entry)
	t.add(ebpf.AddImm(r5, entryV6))
	t.here(done)
}

// account adds to the guest's account: each offset gets what is in its register. It
// keeps r6 to r9.
func (t *text) account(adds map[int16]ebpf.Register, words ...int16) {
	none := t.label("unaccounted")
	t.theAccount(none)
	for _, at := range words {
		t.load8(r1, r0, at)
		if r, ok := adds[at]; ok {
			t.add(ebpf.Add(r1, r))
		} else {
			t.add(ebpf.AddImm(r1, 1))
		}
		t.store8(r0, at, r1)
	}
	t.here(none)
}

// bound4 goes to yes when the socket that sends is bound to an address of the guest's,
// or is one of UDP that is bound to none: what that sends has passed Sendmsg4, which saw
// to the source. So did package firewall for a ping that does not bear the mark any more
// which Create gave its socket.
func (t *text) bound4(yes string) {
	no, bound := t.label("unbound"), t.label("bound")
	t.sender(no)
	t.load(addr, r0, skSource4)
	t.isnt(addr, 0, bound)
	t.unmarked(syscall.IPPROTO_ICMP, entryV4, yes, no)
	t.here(bound)
	t.own4(yes)
	t.here(no)
}

// bound6 is bound4 for IPv6.
func (t *text) bound6(yes string) {
	no, bound := t.label("unbound"), t.label("bound")
	t.sender(no)
	for i := int16(0); i < 16; i += 4 {
		t.load(r1, r0, skSource6+i)
		t.store(fp, stackAddr+i, r1)
	}
	t.load8(r1, fp, stackAddr)
	t.load8(r2, fp, stackAddr+8)
	t.add(ebpf.OrReg(r1, r2))
	t.set(r2, 0)
	t.add(ebpf.JumpIfReg(r1, ebpf.Differs, r2, bound))
	t.unmarked(protocolICMP6, entryLback4, yes, no)
	t.here(bound)
	t.own6(yes)
	t.here(no)
}

// unmarked goes to yes when the sender in r0 is one of UDP, or one for pings and its
// packet has not the mark that is at this offset of the entry; else to no.
func (t *text) unmarked(ping int32, mark int16, yes, no string) {
	t.load(r1, r0, skProtocol)
	t.is(r1, syscall.IPPROTO_UDP, yes)
	t.isnt(r1, ping, no)
	t.load(r1, ctx, skbMark)
	t.load(r2, entry, mark)
	t.add(ebpf.JumpIfReg(r1, ebpf.Differs, r2, yes))
	t.jump(no)
}

// sender is r0 = the socket that sends the packet, or goes to none.
func (t *text) sender(none string) {
	t.load8(r1, ctx, skbSocket)
	t.null(r1, none)
	t.call(ebpf.SkFullsock)
	t.null(r0, none)
}

// protocol notes on the stack the packet's protocol, which is at this offset.
func (t *text) protocol(at int16) {
	t.add(ebpf.Load(r1, r2, at, ebpf.Byte))
	t.store(fp, stackNote+4, r1)
}

// ping goes to count when the packet, from or to the host's loopback, is a ping between
// such addresses: no hook could lead it to the guest's own, and the kernel answers it.
func (t *text) ping(six bool) {
	no := t.label("other")
	t.load(r1, fp, stackNote+4)
	if !six {
		t.isnt(r1, syscall.IPPROTO_ICMP, no)
		t.load(r1, fp, stackSaved)
		t.add(ebpf.And32(r1, net(0xff000000)))
		t.isnt(r1, net(0x7f000000), no)
	} else {
		t.isnt(r1, protocolICMP6, no)
		t.load8(r1, fp, stackBind)
		t.set(r2, 0)
		t.add(ebpf.JumpIfReg(r1, ebpf.Differs, r2, no))
		t.load(r1, fp, stackBind+8)
		t.isnt(r1, 0, no)
		t.load(r1, fp, stackBind+12)
		t.isnt(r1, net(1), no)
	}
	t.flag(RawICMP, "count")
	t.here(no)
}
