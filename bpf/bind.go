package bpf

import (
	"syscall"

	"vserver/kernel/ebpf"
)

// Offsets in struct bpf_sock_addr.
const (
	saAddr4   = 4
	saAddr6   = 8
	saPort    = 24
	saType    = 32
	saSource4 = 40
	saSource6 = 44
	saSock    = 64
)

// Offsets in struct bpf_sock.
const (
	skFamily   = 4
	skType     = 8
	skProtocol = 12
	skMark     = 16
	skSource4  = 24
	skSource6  = 28
	skPort     = 44 // the machine's order
	skPeerPort = 48 // 16 bits: not 0 when it is connected
)

// unprivileged is the first port that any user of a guest may bind: what the sysctl
// net.ipv4.ip_unprivileged_port_start is by default.
const unprivileged = 1024

// Bind4 is bind(2) of an IPv4 address:
//
//	the wildcard   see wild4
//	127.N.N.N      the guest's own of its /24
//	one's own      stays
//	multicast, broadcast  stay when allowed
//	another        EADDRNOTAVAIL
//
// Then the port; see port.
func Bind4(p Parts) []ebpf.Instruction {
	t := write(p)
	t.guest("shut")
	t.put(fp, stackNote, 0)
	t.inside(false)
	t.load(addr, ctx, saAddr4)
	t.bind4(saAddr4)
	t.port(false)
	return t.end(3)
}

// Bind6 is bind(2) of an IPv6 address, as Bind4; ::ffff:A is treated as A is there.
func Bind6(p Parts) []ebpf.Instruction {
	t := write(p)
	t.guest("shut")
	t.put(fp, stackNote, 0)
	t.copyIn(saAddr6)
	t.inside(true)
	t.mapped("mapped")
	t.load8(r1, fp, stackAddr)
	t.load8(r2, fp, stackAddr+8)
	t.add(ebpf.OrReg(r1, r2))
	t.null(r1, "wild6")
	t.loopback6("loop6")
	t.own6("at6")
	t.lback6("at6")
	t.load(r1, fp, stackAddr)
	t.add(ebpf.And32(r1, net(0xff000000)))
	t.isnt(r1, net(0xff000000), t.refusal(syscall.EADDRNOTAVAIL))
	t.flag(Multicast, "port")
	t.refuse(syscall.EADDRNOTAVAIL)

	t.here("loop6")
	t.remap6("port")
	t.copyOut(saAddr6)
	t.here("at6")
	t.put(fp, stackNote, noteAt6)
	t.jump("port")

	t.here("wild6")
	t.wild6()

	t.here("mapped")
	t.load(addr, ctx, saAddr6+12)
	t.bind4(saAddr6 + 12)

	t.here("port")
	t.port(true)
	return t.end(3)
}

// bind4 decides about addr, which is at an offset of the context, and goes on behind
// itself.
func (t *text) bind4(at int16) {
	set, bad := t.label("bound"), t.refusal(syscall.EADDRNOTAVAIL)
	t.is(addr, 0, "wild4")
	t.masked(r1, addr, net(0xff000000))
	t.is(r1, net(0x7f000000), "loop4")
	t.own4(set)
	t.kind4(set, bad)
	t.jump(bad)

	t.here("loop4")
	allowed := t.label("allowed")
	t.flag(Remap, allowed)
	t.flag(LbackAllow, set)
	t.jump(bad)
	t.here(allowed)
	t.remap4(bad)
	t.jump(set)

	t.here("wild4")
	t.wild4(set)
	t.here(set)
	t.store(ctx, at, addr)
	first := t.label("first")
	t.is(addr, 0, first)
	t.load(r1, entry, entryV4)
	t.add(ebpf.JumpIfReg(r1, ebpf.Equal, addr, first))
	t.load(r1, fp, stackNote)
	t.isnt(r1, 0, first)
	t.put(fp, stackNote, noteOther)
	t.here(first)
}

// kind4 goes to yes when addr is a group or a broadcast and the guest may use these,
// to no when it may not, and on when it is neither.
func (t *text) kind4(yes, no string) {
	not, all, lan := t.label("unicast"), t.label("all"), t.label("lan")
	t.masked(r1, addr, net(0xf0000000))
	t.isnt(r1, net(0xe0000000), all)
	t.flag(Multicast, yes)
	t.jump(no)
	t.here(all)
	t.isnt(addr, net(0xffffffff), lan)
	t.flag(Broadcast, yes)
	t.jump(no)
	t.here(lan)
	for i := range int16(Listed) {
		next := t.label("next")
		t.load(r1, entry, entryV4+8*i)
		t.is(r1, 0, not)
		t.load(r2, entry, entryV4+8*i+4)
		t.masked(r3, r2, net(2)) // prefixes of 31 and 32 have no broadcast
		t.isnt(r3, 0, next)
		t.add(ebpf.MovImm32(r3, -1), ebpf.XorReg(r2, r3), ebpf.OrReg(r1, r2))
		t.add(ebpf.JumpIfReg(r1, ebpf.Differs, addr, next))
		t.flag(Broadcast, yes)
		t.jump(no)
		t.here(next)
	}
	t.here(not)
}

// wild4 is what the wildcard becomes, in addr:
//
//	TCP: the first address, or what 127.0.0.1 is when there is none, so that the socket
//	    may connect as well; what the program asked for is noted. With a port Lookup
//	    steers there what comes for any address of the guest.
//	UDP: the wildcard where the guest may get groups and broadcasts, which reach no
//	    other socket, and it asks for a port; Steer enters it, as the kernel does not know whose of those at a port
//	    is who an address is asked for. Else as TCP, without a port too: one that is connected later leaves
//	    by the address that it is bound to, or by one of the host's.
func (t *text) wild4(set string) {
	one := t.label("one")
	t.flag(SingleIP, one)
	t.load(r1, ctx, saType)
	t.is(r1, syscall.SOCK_STREAM, one)
	t.load(r2, ctx, saPort)
	t.is(r2, 0, one+"found")
	t.flag(Multicast|Broadcast, one+"open")
	t.jump(one)
	t.here(one + "open")
	t.put(fp, stackNote, noteOpen)
	t.jump(set)
	t.here(one + "found")
	t.load(r1, entry, entryV4+8)
	t.is(r1, 0, one)
	t.put(fp, stackNote, noteWild|noteFirst|noteSteer)
	t.jump(one + "noted")
	t.here(one)
	t.put(fp, stackNote, noteWild|noteFirst)
	t.here(one + "noted")
	t.load(addr, entry, entryV4)
	t.isnt(addr, 0, set)
	t.load(addr, entry, entryLback4)
	t.is(addr, 0, t.refusal(syscall.EADDRNOTAVAIL))
}

// wild6 is wild4 for IPv6. A socket that the kernel finds a port for keeps the
// wildcard, as it may be one for IPv4 too, unless it is not. One that is for both gets the address
// of IPv4: the kernel makes one that is bound to an address of IPv6 a socket for IPv6
// alone. So one of TCP keeps the wildcard when there is no address of IPv4, as it may
// listen for loopback.
func (t *text) wild6() {
	four, udp, loop, six, both := t.label("four"), t.label("udp"), t.label("loop"), t.label("six"), t.label("both")
	t.load(r2, ctx, saPort)
	t.is(r2, 0, "found")
	t.load(r1, ctx, saType)
	t.isnt(r1, syscall.SOCK_STREAM, udp)
	if t.State == 0 {
		t.jump("port")
	}
	t.alone6(saSock, six+"alone")
	t.load(addr, entry, entryV4)
	t.is(addr, 0, "port")
	t.put(fp, stackNote, noteWild|noteSix|noteFirst)
	t.jump(both)
	t.found6(six, six+"alone", both)
	t.here(six + "alone")
	t.load8(r1, entry, entryV6)
	t.null(r1, "port")
	t.put(fp, stackNote, noteWild|noteSix)
	t.jump(six)
	t.here(udp)
	t.put(fp, stackNote, noteOpen|noteSix)
	t.flag(Multicast|Broadcast, "port")
	t.put(fp, stackNote, noteWild|noteSix)
	t.load8(r1, entry, entryV6)
	t.null(r1, "no6")
	t.load(r1, entry, entryV4)
	t.is(r1, 0, six)
	t.alone6(saSock, six)
	t.jump(four)
	t.here("no6")
	if t.State != 0 {
		t.alone6(saSock, loop)
	}
	t.jump(four)
	t.here(six)
	t.copyEntry(entryV6)
	t.jump("port")
	t.here(four)
	t.load(addr, entry, entryV4)
	t.is(addr, 0, loop)
	t.here(both)
	t.put(ctx, saAddr6+8, net(0xffff))
	t.store(ctx, saAddr6+12, addr)
	t.jump("port")
	t.here(loop)
	t.copyEntry(entryLback6)
	t.jump("port")
}

// found6 is wild6 for a socket that the kernel is to find a port for. One of UDP for both
// families keeps the wildcard only where the guest has addresses of IPv6 to send from: at that
// of IPv4 it can be connected.
func (t *text) found6(six, alone, both string) {
	several := t.label("several")
	t.here("found")
	if t.State == 0 {
		t.jump("port")
		return
	}
	datagram := t.label("datagram")
	t.load(r1, ctx, saType)
	t.is(r1, syscall.SOCK_DGRAM, datagram)
	t.alone6(saSock, alone)
	t.promise("port")
	t.here(datagram)
	t.alone6(saSock, several)
	t.load8(r1, entry, entryV6)
	t.set(r2, 0)
	t.add(ebpf.JumpIfReg(r1, ebpf.Differs, r2, "port"))
	t.load(addr, entry, entryV4)
	t.is(addr, 0, "port")
	t.put(fp, stackNote, noteWild|noteSix)
	t.load(r1, entry, entryV4+8)
	t.is(r1, 0, both)
	t.put(fp, stackNote, noteWild|noteSix|noteSteer)
	t.jump(both)
	t.here(several)
	t.load8(r1, entry, entryV6)
	t.null(r1, "port")
	t.put(fp, stackNote, noteWild|noteSix)
	t.load8(r1, entry, entryV6+32)
	t.null(r1, six)
	t.put(fp, stackNote, noteWild|noteSix|noteSteer)
	t.jump(six)
}

// PostBind4 is the end of a bind that succeeded, of a socket of IPv4. A parked socket is counted at its
// hidden port, which the first one makes known. One of UDP is entered into bound, and one
// that wanted the wildcard is an event for Steer.
func PostBind4(p Parts) []ebpf.Instruction { return postBind(p, familyFour) }

// PostBind6 is PostBind4 for a socket of IPv6.
func PostBind6(p Parts) []ebpf.Instruction { return postBind(p, familySix) }

func postBind(p Parts, family int32) []ebpf.Instruction {
	t := write(p)
	t.mov(ctx, r1)
	t.mov(r2, ctx)
	t.note(0)
	t.null(r0, "pass")
	t.mov(entry, r0) // the note
	t.load(flags, entry, noteFlags)
	t.load8(r1, entry, noteID)
	t.store8(fp, stackID, r1)
	t.masked(r1, flags, noteParked|noteBound)
	t.is(r1, noteParked, "parked")
	t.isnt(r1, 0, "pass")
	t.load(r1, ctx, skType)
	t.isnt(r1, syscall.SOCK_DGRAM, "pass")
	t.know(ctx, entry, family)
	t.load(r1, entry, notePort)
	t.is(r1, 0, t.refusal(syscall.EADDRINUSE))
	t.steered()

	t.here("parked")
	t.load8(r1, entry, noteID)
	t.load(r2, entry, noteAsked)
	t.mov(r3, flags)
	t.portKey(r1, r2, r3)
	t.load(addr, ctx, skPort)
	t.add(ebpf.Swap16(addr))
	t.lookup(t.Ports, stackKey)
	t.null(r0, "first")
	t.add(ebpf.Load(r1, r0, 0, ebpf.Half))
	t.add(ebpf.JumpIfReg(r1, ebpf.Differs, addr, t.refusal(syscall.EADDRINUSE)))
	t.set(r1, 1)
	t.countAt(r1)
	t.jump("bound")
	t.here("first")
	t.hides()
	t.here("bound")
	t.add(ebpf.Or(flags, noteBound))
	t.store(entry, noteFlags, flags)
	t.add(ebpf.And32(flags, noteDatagram))
	t.is(flags, 0, "pass")
	t.load(addr, entry, noteAsked)
	t.client("event")
	t.know(ctx, entry, family) // at the hidden port, where its answers are led to
	t.here("event")
	t.event()
	return t.end(1)
}

// steered goes to event when Steer is to enter a socket that is not parked, under the port
// that was asked for, or that the kernel has found, else to pass.
func (t *text) steered() {
	t.masked(r1, flags, noteWild|noteOpen)
	t.is(r1, 0, "pass")
	t.load(r1, entry, noteAsked)
	t.isnt(r1, 0, "event")
	t.masked(r1, flags, noteSteer)
	t.is(r1, 0, "pass")
	t.load(r1, ctx, skPort)
	t.add(ebpf.Swap16(r1))
	t.store(entry, noteAsked, r1)
	t.jump("event")
}

// hides enters the hidden port in addr, of the first socket that asks for the port of the key on
// the stack.
func (t *text) hides() {
	for i := int16(0); i < portValue; i += 8 {
		t.put8(fp, stackBind+i, 0)
	}
	t.store(fp, stackBind, addr)
	t.take(countPorts, t.refusal(syscall.EADDRINUSE))
	t.hide("full")
	t.put(fp, stackBind+portSockets, 0)
	t.stack(r0, stackBind)
	t.set(r1, 1)
	t.countAt(r1)
	t.add(ebpf.Map(r1, t.Ports)...)
	t.stack(r2, stackKey)
	t.stack(r3, stackBind)
	t.set(r4, 1) // BPF_NOEXIST
	t.call(ebpf.MapUpdate)
	entered := t.label("entered")
	t.is(r0, 0, entered)
	t.unhide()
	t.here("full")
	t.give(countPorts)
	t.refuse(syscall.EADDRINUSE)
	t.here(entered)
}
