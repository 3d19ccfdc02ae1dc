package bpf

import (
	"syscall"

	"vserver/kernel/ebpf"
)

// Offsets in struct __sk_buff.
const (
	skbLength   = 0
	skbMark     = 8
	skbProtocol = 16
	skbData     = 76
	skbDataEnd  = 80
	skbSocket   = 168
)

// LoopMark is on packets that guests send to their own loopback: "vslo" in ASCII.
const LoopMark = 0x76736c6f

// Egress is every packet that a socket of a guest sends, whatever hook it passed or
// did not pass: it is dropped unless its source is the guest's; one to or from a loopback
// address stays among the guest's own addresses, and one to it bears LoopMark. What ends a
// connection is let out from an address that the guest has no more. The host
// may have put another source into it on the way (NAT, which comes before): then the
// address counts that the socket is bound to; see bound4. One with a routing header, which
// sendmsg(2) takes from anybody, is dropped: it is for another than it says.
func Egress(p Parts) []ebpf.Instruction { return packet(p, true) }

// Ingress is every packet that comes to a socket of a guest: it is dropped unless its
// destination is the guest's, or a group or broadcast that the guest may get. What comes
// to its loopback must be marked, or at least not begin anything: any user of the host
// can bind to an address of the host's, and would else be taken for one of the guest.
func Ingress(p Parts) []ebpf.Instruction { return packet(p, false) }

// packet is Egress or Ingress. What is the guest's in it, and what is somebody's, are
// in addr and stackSaved.
func packet(p Parts, out bool) []ebpf.Instruction {
	own, other := int16(16), int16(12) // destination and source in an IPv4 header
	own6, other6 := int16(24), int16(8)
	if out {
		own, other, own6, other6 = other, own, other6, own6
	}
	t := write(p)
	t.mov(ctx, r1)
	t.set(r2, t.Level)
	t.call(ebpf.SkbAncestorCgroup)
	if out {
		t.nameless()
	}
	t.ordinary(own, other, own6, other6, out)
	t.load8(r0, fp, stackID)
	t.entry("shut")
	t.load(r2, ctx, skbData)
	t.load(r3, ctx, skbDataEnd)
	t.load(r1, ctx, skbProtocol)
	t.is(r1, ethernet(0x0800), "four")
	t.isnt(r1, ethernet(0x86dd), "drop")

	t.header(40)
	t.protocol6(out)
	for half := int16(0); half < 16; half += 8 {
		t.load8(r1, r2, own6+half)
		t.store8(fp, stackAddr+half, r1)
		t.load8(r1, r2, other6+half)
		t.store8(fp, stackBind+half, r1)
	}
	t.packet6(out)

	t.here("four")
	t.header(20)
	t.protocol(9)
	if !out {
		t.first(9, 20+13)
	}
	t.load(addr, r2, own)
	t.load(r1, r2, other)
	t.store(fp, stackSaved, r1)
	t.packet4(out)

	t.loop(out)
	t.here("drop")
	t.account(nil, Dropped)
	t.jump("shut")
	t.here("count")
	t.load(addr, ctx, skbLength)
	if out {
		t.account(map[int16]ebpf.Register{BytesOut: addr}, BytesOut, PacketsOut)
	} else {
		t.account(map[int16]ebpf.Register{BytesIn: addr}, BytesIn, PacketsIn)
	}
	return t.end(1)
}

// protocol6 notes of a packet of IPv6 what protocol does, and first when it comes in; one that
// goes out with a routing header is dropped.
func (t *text) protocol6(out bool) {
	t.protocol(6)
	if out {
		t.is(r1, syscall.IPPROTO_ROUTING, "drop")
		return
	}
	t.first(6, 40+13)
}

// loop marks a packet among the guest's own addresses, one of which is loopback, or
// wants it marked.
func (t *text) loop(out bool) {
	t.here("loop")
	t.remember()
	if out {
		t.put(ctx, skbMark, LoopMark)
	} else {
		t.load(r1, ctx, skbMark)
		t.is(r1, LoopMark, "count")
		t.load(r1, fp, stackNote)
		t.isnt(r1, 0, "drop")
	}
	t.jump("count")
}

// ethernet is a protocol as an skb has it.
func ethernet(n uint32) int32 { return net(n << 16) }

// header goes on when so many bytes of the packet, between r2 and r3, can be read.
func (t *text) header(size int32) {
	t.mov(r1, r2)
	t.add(ebpf.AddImm(r1, size))
	t.add(ebpf.JumpIfReg(r1, ebpf.Above, r3, "drop"))
}

// reset goes to yes when the packet ends a connection of TCP: one on an address that was
// taken from the guest is closed, and whom it was with should hear of it. The offsets are
// those of first.
func (t *text) reset(protocol, tcpFlags int16, yes string) {
	const rst = 4
	no := t.label("goes_on")
	t.load(r2, ctx, skbData)
	t.load(r3, ctx, skbDataEnd)
	t.header(int32(tcpFlags) + 1)
	t.add(ebpf.Load(r1, r2, protocol, ebpf.Byte))
	t.isnt(r1, syscall.IPPROTO_TCP, no)
	if protocol == 9 {
		t.add(ebpf.Load(r1, r2, 0, ebpf.Byte))
		t.isnt(r1, 0x45, no) // options
	}
	t.add(ebpf.Load(r1, r2, tcpFlags, ebpf.Byte), ebpf.And32(r1, rst))
	t.isnt(r1, 0, yes)
	t.here(no)
}

// first notes on the stack whether the packet in r2 can be the first that its receiver
// hears of its sender: all but TCP whose header says that it goes on. The protocol and,
// without options of IP, TCP's flags are at these offsets.
func (t *text) first(protocol, tcpFlags int16) {
	const syn, ack = 2, 16
	done := t.label("first")
	t.put(fp, stackNote, 1)
	t.add(ebpf.Load(r1, r2, protocol, ebpf.Byte))
	t.isnt(r1, syscall.IPPROTO_TCP, done)
	if protocol == 9 {
		t.add(ebpf.Load(r1, r2, 0, ebpf.Byte))
		t.isnt(r1, 0x45, done) // options
	}
	t.mov(r1, r2)
	t.add(ebpf.AddImm(r1, int32(tcpFlags)+1), ebpf.JumpIfReg(r1, ebpf.Above, r3, done))
	t.add(ebpf.Load(r1, r2, tcpFlags, ebpf.Byte), ebpf.And32(r1, syn|ack))
	t.is(r1, syn, done)
	t.put(fp, stackNote, 0)
	t.here(done)
}

// packet4 judges the packet: to count or to drop.
func (t *text) packet4(out bool) {
	t.own4("own4")
	t.lback4(addr, "lback4")
	if out {
		t.masked(r1, addr, net(0xff000000))
		t.is(r1, net(0x7f000000), "hosts4")
		t.bound4("own4")
		t.reset(9, 20+13, "count")
	} else {
		t.kind4("count", "drop")
		t.masked(r1, addr, net(0xff000000))
		t.is(r1, net(0x7f000000), "hosts4")
	}
	t.jump("drop")

	// From or to an address of the guest: the other may be anybody's but for loopback.
	t.here("own4")
	t.load(r2, fp, stackSaved)
	t.masked(r1, r2, net(0xff000000))
	t.isnt(r1, net(0x7f000000), "other4")
	t.lback4(r2, "loop")
	t.flag(LbackAllow, "count")
	t.jump("drop")
	t.here("other4")
	t.rememberFirst()
	if out {
		t.load(addr, fp, stackSaved)
		t.masked(r1, addr, net(0xe0000000))
		t.isnt(r1, net(0xe0000000), "count") // no group and no broadcast
		t.kind4("count", "drop")
	}
	t.jump("count")

	// From or to the guest's loopback: the other is the guest's.
	t.here("lback4")
	t.load(addr, fp, stackSaved)
	t.lback4(addr, "loop")
	t.own4("loop")
	t.jump("drop")

	// The host's loopback, where that is allowed, and pings.
	t.here("hosts4")
	t.ping(false)
	t.flag(Remap, "drop")
	t.flag(LbackAllow, "count")
	t.jump("drop")
}

// packet6 is packet4 for the addresses on the stack.
func (t *text) packet6(out bool) {
	t.own6("own6")
	t.lback6("lback6")
	if !out {
		t.kind6("unicast6", "drop")
		t.load(r1, fp, stackAddr)
		t.add(ebpf.And32(r1, net(0xff000000)))
		t.is(r1, net(0xff000000), "count")
		t.here("unicast6")
	}
	t.loopback6("hosts6")
	if out {
		t.bound6("own6")
		t.reset(6, 40+13, "count")
	}
	t.jump("drop")

	t.here("own6")
	for half := int16(0); half < 16; half += 8 {
		t.load8(r1, fp, stackAddr+half)
		t.load8(r2, entry, entryV6+half)
		t.add(ebpf.JumpIfReg(r1, ebpf.Differs, r2, "later6"))
	}
	t.remember()
	t.here("later6")
	t.other6()
	t.lback6("loop")
	t.loopback6("hosts6")
	if out {
		t.kind6("count", "drop")
	}
	t.jump("count")

	t.here("lback6")
	t.other6()
	t.lback6("loop")
	t.own6("loop")
	t.jump("drop")

	t.here("hosts6")
	t.ping(true)
	t.flag(Remap, "drop")
	t.flag(LbackAllow, "count")
	t.jump("drop")
}

// other6 puts the other address where the first was.
func (t *text) other6() {
	for half := int16(0); half < 16; half += 8 {
		t.load8(r1, fp, stackBind+half)
		t.store8(fp, stackAddr+half, r1)
	}
}
