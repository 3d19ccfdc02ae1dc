package bpf

import (
	"syscall"

	"vserver/kernel/ebpf"
)

// port decides about the port. One below 1024 wants CAP_NET_BIND_SERVICE of the guest,
// as the kernel does not ask when the verdict is 3: it would ask for the host's. One of
// TCP is replaced by a hidden one, the same for all sockets of the guest that ask for
// this port, so that the kernel finds among them, and among them alone, who is in whose
// way: nothing of the host or of another guest has that port. The first gets the one
// that the kernel finds free; see PostBind. One of UDP is, where crowded says so.
func (t *text) port(six bool) {
	done, high, find, first, park := t.label("noted"), t.label("high"), t.label("find"), t.label("first"), t.label("park")
	t.load(addr, ctx, saPort)
	t.is(addr, 0, done)
	t.mov(r1, addr)
	t.add(ebpf.Swap16(r1), ebpf.JumpIf(r1, ebpf.AtLeast, unprivileged, high))
	t.privileged()
	t.here(high)
	t.load(r1, ctx, saType)
	t.is(r1, syscall.SOCK_STREAM, park)
	t.crowded(six, done)
	t.here(park)
	t.load(r1, fp, stackNote)
	t.add(ebpf.Or(r1, noteParked))
	t.store(fp, stackNote, r1)
	t.mov(r3, r1)
	t.load8(r1, fp, stackID)
	t.portKey(r1, addr, r3)
	t.lookup(t.Ports, stackKey)
	t.set(r1, 0)
	t.null(r0, first)
	t.add(ebpf.Load(r1, r0, 0, ebpf.Half))
	t.mixed(find)
	t.jump(find)
	t.here(first)
	if six {
		t.chosen()
	}
	t.here(find)
	t.store(ctx, saPort, r1)
	t.here(done)

	// A note of an earlier try that failed is overwritten.
	t.load(r1, fp, stackNote)
	t.load(r2, ctx, saType)
	t.set(r4, 1)
	t.isnt(r1, 0, "old")
	t.is(r2, syscall.SOCK_DGRAM, "old")
	t.set(r4, 0)
	t.here("old")
	t.load8(r2, ctx, saSock)
	t.null(r2, "pass")
	t.add(ebpf.Map(r1, t.Notes)...)
	t.set(r3, 0)
	t.call(ebpf.SkStorageGet)
	t.load(r2, fp, stackNote)
	t.null(r0, "unnoted")
	t.load(r3, r0, noteFlags)
	t.others(r3)
	t.masked(r1, r3, noteCounted|noteKnown|noteNames|noteLate)
	t.add(ebpf.OrReg(r1, r2))
	t.store(r0, noteFlags, r1)
	t.store(r0, noteAsked, addr)
	t.load8(r1, fp, stackID)
	t.store8(r0, noteID, r1)
	t.marks(six)
	t.jump("pass")
	t.here("unnoted")
	t.isnt(r2, 0, t.refusal(syscall.ENOBUFS))
}

// mixed goes to fine unless the socket, of TCP, is to be at the wildcard of IPv4 and
// others, of the same port in r0, are at addresses but the first, or the other way round;
// or the like of IPv6, whatever the address, or at the wildcard for IPv6 alone and others for
// both families, which are at an address of IPv4: the kernel does not see these meet.
func (t *text) mixed(fine string) {
	inUse := t.refusal(syscall.EADDRINUSE)
	t.load(r3, fp, stackNote)
	t.add(ebpf.JumpIf(r3, ebpf.Any, noteDatagram, fine))
	for _, c := range []struct {
		bit   int32
		meets int16
	}{{noteFirst, portOther}, {noteOther, portFirst}, {noteSix, portAt6}, {noteAt6, portWild6}} {
		no := t.label("not")
		t.masked(r2, r3, c.bit)
		t.is(r2, 0, no)
		t.load(r2, r0, c.meets)
		t.isnt(r2, 0, inUse)
		t.here(no)
	}
	t.masked(r2, r3, noteSix)
	t.is(r2, 0, fine)
	t.load(r2, r0, portWild6)
	t.mov(r4, r2)
	t.add(ebpf.ShiftRight(r4, 16))
	both := t.label("both")
	t.add(ebpf.JumpIf(r3, ebpf.Any, noteFirst, both))
	t.isnt(r4, 0, inUse)
	t.jump(fine)
	t.here(both)
	t.add(ebpf.And32(r2, 0xffff), ebpf.JumpIfReg(r2, ebpf.Differs, r4, inUse))
}

// countAt adds what is in a register, which is used up, to what a value of ports, in r0, counts
// of the socket whose note has these flags.
func (t *text) countAt(n ebpf.Register) {
	t.add(ebpf.AtomicAdd(r0, portSockets, n, ebpf.Word))
	t.countWhere(n)
}

// countWhere is countAt for where such sockets are, without how many there are.
func (t *text) countWhere(n ebpf.Register) {
	for _, c := range []struct {
		bit int32
		at  int16
	}{{noteFirst, portFirst}, {noteOther, portOther}, {noteSix, portWild6}, {noteAt6, portAt6}} {
		no := t.label("not")
		t.masked(r2, flags, c.bit)
		t.is(r2, 0, no)
		t.add(ebpf.AtomicAdd(r0, c.at, n, ebpf.Word))
		t.here(no)
	}
	one := t.label("one")
	t.masked(r2, flags, noteSix|noteFirst)
	t.isnt(r2, noteSix|noteFirst, one)
	t.add(ebpf.ShiftLeft(n, 16), ebpf.AtomicAdd(r0, portWild6, n, ebpf.Word))
	t.here(one)
}

// portKey writes a key of ports to the stack, for a socket whose note will have, or has,
// the flags in a register, which is used up.
func (t *text) portKey(id, port, noted ebpf.Register) {
	t.store8(fp, stackKey, id)
	t.store(fp, stackKey+8, port)
	t.add(ebpf.And32(noted, noteDatagram))
	t.store(fp, stackKey+12, noted)
}

// privileged goes on when the process may bind ports below 1024 in its guest.
func (t *text) privileged() {
	const bindService = 1 << 10 // CAP_NET_BIND_SERVICE
	if t.Cred == 0 {
		t.call(ebpf.CurrentUIDGID)
		t.add(ebpf.And32(r0, 0xffff))
		t.isnt(r0, 0, t.refusal(syscall.EACCES))
		return
	}
	t.chase(t.Cred, t.Effective)
	t.add(ebpf.And32(r0, bindService))
	t.is(r0, 0, t.refusal(syscall.EACCES))
}

// services is the first port that is nobody's alone: from 512 on clients take ports for
// themselves as well, who want an answer at once (rresvport(3)). A socket that is parked
// there may be such a one, and gets the mark of a connected one, which has answers led to it
// before Steer knows it. From unprivileged on that would be too dear: resolvers take such a
// port for each question.
const services = 512

// parkMark is in the upper half of the mark of a parked socket of UDP: "uv" in ASCII.
// The lower half is the port that was asked for, which package firewall puts into what
// the socket sends.
const parkMark = 0x7675

// connectMark is there instead of parkMark when the socket was connected; of TCP no others
// are marked.
const connectMark = 0x7674

// crowded goes on when a socket of UDP that is to be bound to the port in addr shall be
// parked, with noteDatagram in its note, else to real. For UDP a hidden port is dearer than the
// real one: Lookup does not know the socket before Steer has entered it, and what it
// sends gets its port on the way. So it is parked at ports that a service of the host
// could want at any time, while somebody steers, and at others when somebody has the
// wildcard there. Groups and broadcasts come to real ports alone.
func (t *text) crowded(six bool, real string) {
	park, ask := t.label("crowded"), t.label("ask")
	t.isnt(r1, syscall.SOCK_DGRAM, real)
	at, four := int16(saAddr4), t.label("four")
	if six {
		at = saAddr6 + 12
		t.load(r1, ctx, saAddr6)
		t.load(r2, ctx, saAddr6+4)
		t.add(ebpf.OrReg(r2, r1))
		t.load(r3, ctx, saAddr6+8)
		t.add(ebpf.OrReg(r3, r2))
		t.is(r3, net(0xffff), four)
		t.is(r3, 0, real)
		t.add(ebpf.And32(r1, net(0xff000000)))
		t.is(r1, net(0xff000000), real)
		t.service(park, ask+"6")
		t.here(ask + "6")
		for i := int16(0); i < 32; i += 8 {
			t.put8(fp, stackTuple+i, 0)
		}
		t.holder(36, real)
		t.jump(park)
		t.here(four)
	}
	t.flag(Broadcast, real)
	remapped := t.label("remapped")
	t.load(r1, ctx, at)
	t.is(r1, 0, real)
	t.masked(r2, r1, net(0xf0000000))
	t.is(r2, net(0xe0000000), real)
	t.add(ebpf.And32(r1, net(0xff000000)))
	t.isnt(r1, net(0x7f000000), remapped)
	t.flag(Remap, remapped)
	t.jump(real)
	t.here(remapped)
	t.service(park, ask)
	t.here(ask)
	t.put8(fp, stackTuple, 0)
	t.holder(12, real)
	t.here(park)
	t.load(r1, fp, stackNote)
	t.add(ebpf.Or(r1, noteDatagram))
	t.store(fp, stackNote, r1)
}

// service goes to park when the port in addr is one of services and somebody steers: has
// begun to, and has left no event unread. When one is unread it notes that, and goes to other.
func (t *text) service(park, other string) {
	t.mov(r1, addr)
	t.add(ebpf.Swap16(r1), ebpf.JumpIf(r1, ebpf.AtLeast, unprivileged, other))
	t.manifest(r1, Steering)
	t.is(r1, 0, other)
	t.add(ebpf.Map(r1, t.Events)...)
	t.set(r2, 0) // BPF_RB_AVAIL_DATA
	t.call(ebpf.RingBufferQuery)
	t.is(r0, 0, park)
	t.load(r1, fp, stackNote)
	t.add(ebpf.Or(r1, noteSpoken))
	t.store(fp, stackNote, r1)
}

// holder goes on when a socket of UDP has the wildcard at the port in addr, of the family
// of the tuple on the stack, whose addresses are zeros.
func (t *text) holder(size int16, none string) {
	t.mov(r1, addr)
	t.add(ebpf.ShiftLeft(r1, 16)) // behind the source's port, which is 0
	t.store(fp, stackTuple+size-4, r1)
	t.findUDP(int32(size), none)
	t.mov(r1, r0)
	t.call(ebpf.SkRelease)
}

// marks ends a bind of a socket of UDP with this note, whose flags were those in r3: one
// that is parked gets its mark, and its note the address; one that an earlier try has
// marked loses that. One with noteSpoken is marked as well where it could be a client, for what
// comes for its port may be led to the hidden one that it was: it has answers led to itself.
func (t *text) marks(six bool) {
	parked, mark, done, fresh := t.label("parked"), t.label("mark"), t.label("marked"), t.label("fresh")
	connecting, whose, silent := t.label("connecting"), t.label("whose"), t.label("silent")
	t.load(r1, ctx, saType)
	t.isnt(r1, syscall.SOCK_DGRAM, done)
	t.mov(entry, r0)
	t.mov(flags, r3)
	t.put(fp, stackKey, 0)
	t.load(r1, fp, stackNote)
	t.add(ebpf.JumpIf(r1, ebpf.Any, noteParked, parked))
	t.add(ebpf.And32(r1, noteSpoken))
	t.is(r1, 0, silent)
	t.manifest(r2, Connecting)
	t.is(r2, 0, silent)
	t.client(silent)
	t.set(flags, connectMark<<16)
	t.jump(whose)
	t.here(silent)
	t.add(ebpf.And32(flags, noteParked|noteSpoken))
	t.is(flags, 0, done)
	t.jump(mark)

	t.here(parked)
	t.add(ebpf.Value(r0, t.Manifest)...)
	t.put(r0, Parking, 1)
	t.client(connecting)
	t.put(r0, Connecting, 1)
	t.here(connecting)
	t.add(ebpf.And32(flags, noteKnown))
	t.is(flags, 0, fresh)
	t.forget(entry)
	t.here(fresh)
	if six {
		for i := int16(0); i < 16; i += 4 {
			t.load(r1, ctx, saAddr6+i)
			t.store(entry, noteAddress+i, r1)
		}
	} else {
		t.put8(entry, noteAddress, 0)
		t.put(entry, noteAddress+8, net(0xffff))
		t.load(r1, ctx, saAddr4)
		t.store(entry, noteAddress+12, r1)
	}
	t.set(flags, parkMark<<16)
	t.client(whose)
	t.set(flags, connectMark<<16)
	t.here(whose)
	t.add(ebpf.OrReg(flags, addr))
	t.store(fp, stackKey, flags)
	t.here(mark)
	t.setMark(stackKey)
	t.here(done)
}

// ported ends a connect(2) of a socket that has an address and this note, in r0. A parked
// one is marked, for package firewall: what it sends is to bear the port that was asked for,
// and what comes for that port from whom it sends to is to reach the hidden one. Where
// nobody does that, a socket of TCP is seen at its hidden port, and one of UDP, which would
// hear nothing there, is refused.
func (t *text) ported() {
	steered, mark, known := t.label("steered"), t.label("mark"), t.label("known")
	t.mov(entry, r0)
	t.load(flags, entry, noteFlags)
	t.add(ebpf.And32(flags, noteParked))
	t.is(flags, 0, "pass")
	t.add(ebpf.Value(r0, t.Manifest)...)
	t.load(flags, ctx, saType)
	t.load(r1, r0, Steering)
	t.isnt(r1, 0, steered)
	t.is(flags, syscall.SOCK_STREAM, "pass")
	t.refuse(syscall.EADDRNOTAVAIL)
	t.here(steered)
	t.isnt(flags, syscall.SOCK_STREAM, mark) // Steer takes what is connected from listeners
	t.load(r1, r0, Connecting)
	t.is(r1, 0, mark)
	t.set(flags, 0)
	t.here(mark)
	t.put(r0, Connecting, 1)
	t.load(r1, entry, noteAsked)
	t.add(ebpf.Or32(r1, connectMark<<16))
	t.store(fp, stackBind, r1)
	t.setMark(stackBind)
	t.is(flags, 0, known)
	t.event()
	t.here(known)
	t.jump("pass")
}

// nameless goes to drop when the packet, of the guest in r0, is of a parked connection of
// TCP and still has its mark: package firewall's chain, which has the port written into it,
// is not there yet, or not any more. The connection waits for it.
func (t *text) nameless() {
	fine := t.label("fine")
	t.store8(fp, stackID, r0)
	t.load(r1, ctx, skbMark)
	t.add(ebpf.And32(r1, ^int32(0xffff)))
	t.isnt(r1, connectMark<<16, fine)
	t.sender(fine)
	t.load(r1, r0, skProtocol)
	t.is(r1, syscall.IPPROTO_TCP, "drop")
	t.here(fine)
	t.load8(r0, fp, stackID)
}

// client goes on when the port in addr may be one that a client has taken of those that want a
// right.
func (t *text) client(no string) {
	t.mov(r1, addr)
	t.add(ebpf.Swap16(r1), ebpf.JumpIf(r1, ebpf.Below, services, no), ebpf.JumpIf(r1, ebpf.AtLeast, unprivileged, no))
}

// setMark gives the socket of the context the mark on the stack.
func (t *text) setMark(at int32) {
	t.mov(r1, ctx)
	t.set(r2, syscall.SOL_SOCKET)
	t.set(r3, syscall.SO_MARK)
	t.stack(r4, at)
	t.set(r5, 4)
	t.call(ebpf.SetSockOpt)
	t.isnt(r0, 0, t.refusal(syscall.ENOBUFS))
}

// event has Steer called.
func (t *text) event() {
	t.put8(fp, stackKey, 0)
	t.add(ebpf.Map(r1, t.Events)...)
	t.stack(r2, stackKey)
	t.set(r3, 8)
	t.set(r4, 0)
	t.call(ebpf.RingBufferOutput)
}
