package bpf

import "vserver/kernel/ebpf"

// Steer is called for every socket of UDP in the namespace of who reads the iterator.
// One that wanted the wildcard, and got an address or is not alone there, and one that is parked, are entered
// into the map of listeners, so that Lookup finds them:
//
//	if the socket's note says so, and has a port:
//		listeners[guest, its address or the wildcard of its family, port, UDP] = socket,
//		unless another is there
//
// It leaves the map when it is closed or connected, and another may come. TCP needs nothing of that sort, as a socket that
// begins to listen passes SockOps; for UDP no hook may enter a socket.
func Steer(p Parts) []ebpf.Instruction {
	const udpSock = 8 // in struct bpf_iter__udp
	t := write(p)
	t.load8(r2, r1, udpSock)
	t.null(r2, "shut")
	t.mov(ctx, r2)
	t.note(0)
	t.null(r0, "shut")
	t.mov(entry, r0) // the note
	t.load(flags, entry, noteFlags)
	t.add(ebpf.JumpIf(flags, ebpf.Any, noteParked, "parked"), ebpf.JumpIf(flags, ebpf.Any, noteWild|noteOpen, "asked"))
	t.jump("shut")
	t.here("parked")
	t.masked(r1, flags, noteBound|noteDatagram)
	t.isnt(r1, noteBound|noteDatagram, "shut")
	t.here("asked")
	t.load(r1, entry, noteAsked)
	t.is(r1, 0, "shut")
	t.store(fp, stackKey+24, r1)
	t.put(fp, stackKey+28, protocolUDP)
	t.load8(r1, entry, noteID)
	t.store8(fp, stackID, r1)
	t.store8(fp, stackKey, r1)
	t.add(ebpf.JumpIf(flags, ebpf.Any, noteWild|noteOpen, "wild"))
	for i := int16(0); i < 16; i += 8 {
		t.load8(r1, entry, noteAddress+i)
		t.store8(fp, stackKey+8+i, r1)
	}
	t.jump("enter")
	t.here("wild")
	t.put8(fp, stackKey+8, 0)
	t.put8(fp, stackKey+16, 0)
	t.add(ebpf.JumpIf(flags, ebpf.Any, noteSix, "enter"))
	t.put(fp, stackKey+16, net(0xffff))
	t.here("enter")
	t.add(ebpf.Load(r1, ctx, int16(t.State), ebpf.Byte))
	t.is(r1, tcpEstablished, "connected")
	t.take(countListeners, "shut")
	t.add(ebpf.Map(r1, t.Listeners)...)
	t.stack(r2, stackKey)
	t.mov(r3, ctx)
	t.set(r4, 1) // BPF_NOEXIST
	t.call(ebpf.MapUpdate)
	t.is(r0, 0, "entered")
	t.give(countListeners)
	t.jump("shut")
	t.here("entered")
	t.load(r1, entry, noteTimes) // it may be there at another port already, that it had before
	t.add(ebpf.AddImm(r1, 1))
	t.store(entry, noteTimes, r1)
	t.add(ebpf.Or(flags, noteEntered))
	t.store(entry, noteFlags, flags)
	t.jump("shut")
	t.left()
	return t.end(0)
}

// left is Steer for a socket that is connected, with the key on the stack: it is taken out.
func (t *text) left() {
	t.here("connected")
	t.masked(r1, flags, noteEntered)
	t.is(r1, 0, "shut")
	t.add(ebpf.And(flags, ^noteEntered))
	t.store(entry, noteFlags, flags)
	t.add(ebpf.Map(r1, t.Listeners)...)
	t.stack(r2, stackKey)
	t.call(ebpf.MapDelete)
	t.isnt(r0, 0, "shut")
	t.load(r1, entry, noteTimes)
	t.add(ebpf.AddImm(r1, -1))
	t.store(entry, noteTimes, r1)
	t.give(countListeners)
	t.event()
}
