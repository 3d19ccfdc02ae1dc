package bpf

import (
	"syscall"

	"vserver/kernel/ebpf"
)

// Offsets in struct bpf_sk_lookup.
const (
	lookupFamily   = 8
	lookupProtocol = 12
	lookupRemote4  = 16
	lookupRemote6  = 20
	lookupFrom     = 36 // the remote port, 16 bits in network order
	lookupLocal4   = 40
	lookupLocal6   = 44
	lookupPort     = 60 // the machine's order
)

// Lookup is which socket an incoming connection belongs to, in the network namespace
// that guests share. One for an address of a guest is for the guest's listener at the
// address, or at a wildcard, whatever port that is hidden at; when there is none it
// is refused, unless the host has the address too. So a service of the host never
// answers on a guest's address. For datagrams see udp.
func Lookup(p Parts) []ebpf.Instruction {
	t := write(p)
	t.mov(ctx, r1)
	t.load(r2, ctx, lookupFamily)
	t.isnt(r2, familyFour, "six")
	t.directly("pass")
	t.load(r1, ctx, lookupLocal4)
	t.mappedKey(stackAddr, r1)
	t.jump("owner")
	t.here("six")
	t.copyIn(lookupLocal6)
	t.here("owner")
	t.loopbackKey(stackAddr)
	t.lookup(t.Owners, stackAddr)
	t.null(r0, "pass")
	t.load8(r1, r0, 0)
	t.load(flags, r0, 8)
	t.store8(fp, stackID, r1)
	t.load(r1, ctx, lookupProtocol)
	t.isnt(r1, syscall.IPPROTO_TCP, "udp")
	t.set(entry, 0)
	t.add(ebpf.JumpIf(flags, ebpf.Any, int32(Counted|Single), "guest"))
	t.load(r1, fp, stackAddr+12)
	t.add(ebpf.And32(r1, net(0xff000000)))
	t.isnt(r1, net(0x7f000000), "listeners") // nor does its entry say anything to others
	t.here("guest")
	t.lookup(t.Guests, stackID)
	t.null(r0, "shut")
	t.mov(entry, r0)
	t.full()
	t.stranger()
	t.here("listeners")
	t.load8(r1, fp, stackID)
	t.store8(fp, stackKey, r1)
	t.put(fp, stackKey+28, syscall.IPPROTO_TCP)
	t.load(addr, ctx, lookupPort)
	t.add(ebpf.Swap16(addr))
	for slot := range int32(listenerSlots) {
		t.slot(slot)
		if slot == 0 {
			t.shared()
		}
	}
	t.jump("none")
	t.here("udp")
	t.udp()
	t.here("none")
	t.add(ebpf.JumpIf(flags, ebpf.Any, int32(OfHost), "host's"))
	t.load(r1, ctx, lookupProtocol)
	t.isnt(r1, protocolUDP, "shut")
	t.toClient()
	t.jump("shut")
	t.here("host's")
	t.secret()
	return t.end(lookupPass)
}

// secret ends with a refusal when the port is one that a socket of the guest's is hidden at:
// rules of a firewall know it by the one that was asked for.
func (t *text) secret() {
	t.load(r1, ctx, lookupPort)
	t.add(ebpf.Swap16(r1))
	t.store8(fp, stackBind, r1)
	t.load8(r1, fp, stackID)
	t.store8(fp, stackKey, r1)
	t.put(fp, stackKey+12, 0)
	t.load(r1, ctx, lookupProtocol)
	stream := t.label("stream")
	t.isnt(r1, protocolUDP, stream)
	t.put(fp, stackKey+12, noteDatagram)
	t.here(stream)
	t.secretKey(stackBind)
	t.call(ebpf.MapLookup)
	t.null(r0, "pass")
	t.jump("shut")
}

// hide notes the hidden port that stackBind begins with. At another address it may be that of
// another port already. It goes to full when there is no room.
func (t *text) hide(full string) {
	first, hidden := t.label("first"), t.label("hidden")
	t.secretKey(stackBind)
	t.call(ebpf.MapLookup)
	t.null(r0, first)
	t.set(r1, 1)
	t.add(ebpf.AtomicAdd(r0, portSockets, r1, ebpf.Word))
	t.jump(hidden)
	t.here(first)
	t.put(fp, stackBind+portSockets, 1)
	t.secretKey(stackBind)
	t.stack(r3, stackBind)
	t.set(r4, 0)
	t.call(ebpf.MapUpdate)
	t.isnt(r0, 0, full)
	t.here(hidden)
}

// unhide undoes hide.
func (t *text) unhide() {
	done := t.label("done")
	t.secretKey(stackBind)
	t.call(ebpf.MapLookup)
	t.null(r0, done)
	t.last(portSockets, ebpf.Word, done)
	t.keyOfTuple()
	t.call(ebpf.MapDelete)
	t.here(done)
}

// secretKey is r1 and r2 for a call about the map of ports, with the key of the hidden port that
// is at a place of the stack. What else makes it is that of the key on the stack for a port that was asked for.
func (t *text) secretKey(port int16) {
	t.load8(r1, fp, stackKey)
	t.store8(fp, stackTuple, r1)
	t.load(r1, fp, port)
	t.store(fp, stackTuple+8, r1)
	t.load(r1, fp, stackKey+12)
	t.add(ebpf.Or(r1, noteParked))
	t.store(fp, stackTuple+12, r1)
	t.keyOfTuple()
}

func (t *text) keyOfTuple() {
	t.add(ebpf.Map(r1, t.Ports)...)
	t.stack(r2, stackTuple)
}

// full ends with a refusal when the guest has all the connections that it may have.
func (t *text) full() {
	free := t.label("free")
	t.load(addr, entry, entryConnections)
	t.is(addr, 0, free)
	t.lookup(t.Counts, stackID)
	t.null(r0, "shut")
	t.few(r0, countConnections, addr, free)
	t.jump("shut")
	t.here(free)
}

// stranger ends with a refusal when somebody else asks for the guest's loopback.
func (t *text) stranger() {
	own := t.label("own")
	t.load(r1, ctx, lookupFamily)
	t.isnt(r1, familyFour, own)
	t.load(r1, ctx, lookupLocal4)
	t.add(ebpf.And32(r1, net(0xff000000)))
	t.isnt(r1, net(0x7f000000), own)
	t.load(addr, ctx, lookupRemote4)
	t.lback4(addr, own)
	t.own4(own)
	t.jump("shut")
	t.here(own)
}

// slot looks for a listener in one slot: of the address, of the wildcard of its family
// and, for IPv4, of that of IPv6. With SingleIP a wildcard is but the first address.
func (t *text) slot(slot int32) {
	t.mov(r1, addr)
	t.add(ebpf.Or(r1, slot<<16))
	t.store(fp, stackKey+24, r1)
	six, any, done := t.label("six"), t.label("any"), t.label("done")
	t.load(r1, ctx, lookupFamily)
	t.isnt(r1, familyFour, six)
	t.load(r1, ctx, lookupLocal4)
	t.mappedKey(stackKey+8, r1)
	t.try()
	t.single(done, entryV4, lookupLocal4, 4)
	t.put(fp, stackKey+20, 0)
	t.try()
	t.jump(any)
	t.here(six)
	for i := int16(0); i < 16; i += 4 {
		t.load(r1, ctx, lookupLocal6+i)
		t.store(fp, stackKey+8+i, r1)
	}
	t.try()
	t.single(done, entryV6, lookupLocal6, 16)
	t.here(any)
	t.put8(fp, stackKey+8, 0)
	t.put8(fp, stackKey+16, 0)
	t.try()
	t.here(done)
}

// try takes the listener of the key on the stack, if there is one that can have the
// connection: one for IPv6 alone cannot have IPv4. Nor can one of UDP that is connected; the kernel finds it.
func (t *text) try() {
	none := t.label("none")
	t.lookup(t.Listeners, stackKey)
	t.null(r0, none)
	t.store8(fp, stackSaved, r0)
	t.mov(r1, ctx)
	t.mov(r2, r0)
	t.set(r3, 0)
	t.call(ebpf.SkAssign)
	t.load8(r1, fp, stackSaved)
	t.store8(fp, stackSaved, r0)
	t.call(ebpf.SkRelease)
	t.load8(r0, fp, stackSaved)
	t.is(r0, 0, "pass")
	t.here(none)
}

// shared goes on when several sockets have the port: only then can a slot behind the
// first one hold a listener.
func (t *text) shared() {
	t.load8(r1, fp, stackKey)
	t.store8(fp, stackBind, r1)
	t.store(fp, stackBind+8, addr)
	t.put(fp, stackBind+12, 0)
	t.lookup(t.Ports, stackBind)
	t.null(r0, "none")
	t.load(r1, r0, 4)
	t.add(ebpf.JumpIf(r1, ebpf.Below, 1, "none"))
}
