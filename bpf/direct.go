package bpf

import (
	"syscall"

	"vserver/kernel/ebpf"
)

// Lookup is asked for each datagram to a socket that is not connected, of the host's as
// well. Most go to a socket that is bound to the address, or got its port by sending: for
// IPv4 these are in the map direct too, which is an array, and a look into that takes a
// few instructions. An address with its port has one place there, and whoever came there
// last has it; who is not there is found by the hashes.

// directBits is how many bits the number of a place has.
const directBits = 13

// directKey writes the key of direct to the stack for the address in r1 and the port in
// r2, of 16 bits; r3 is what stands there for both. It uses up r1 and r2.
func (t *text) directKey() {
	t.mov(r3, r1)
	t.add(ebpf.ShiftLeft(r3, 32), ebpf.OrReg(r3, r2), ebpf.Or(r3, 1<<16))
	t.add(ebpf.MulImm(r1, 0x61c88647), ebpf.MulImm(r2, 0x2545f491), ebpf.Add(r1, r2))
	t.add(ebpf.ShiftLeft(r1, 32), ebpf.ShiftRight(r1, 64-directBits))
	t.store(fp, stackTuple, r1)
	t.store8(fp, stackTuple+8, r3)
}

// directly goes to yes with a datagram of IPv4 when direct has whom it is for.
func (t *text) directly(yes string) {
	no := t.label("indirect")
	t.load(r1, ctx, lookupProtocol)
	t.isnt(r1, protocolUDP, no)
	t.load(r1, ctx, lookupLocal4)
	t.load(r2, ctx, lookupPort)
	t.directKey()
	t.lookup(t.Direct, stackTuple)
	t.null(r0, no)
	t.load8(r1, r0, 0)
	t.load8(r2, fp, stackTuple+8)
	t.add(ebpf.JumpIfReg(r1, ebpf.Equal, r2, yes))
	t.here(no)
}

// direct puts a socket that know has entered into direct, when that is at an address of
// IPv4; one at the wildcard at the guest's first address, where family is 0 and so its
// entry there.
func (t *text) direct(note ebpf.Register, family int32) {
	if family == familySix {
		return
	}
	done, four, at := t.label("undirected"), t.label("four"), t.label("at")
	t.load8(r1, fp, stackKey+8)
	t.set(r2, 0)
	t.add(ebpf.JumpIfReg(r1, ebpf.Differs, r2, done))
	t.load(r1, fp, stackKey+16)
	t.is(r1, net(0xffff), four)
	if family != 0 {
		t.jump(done)
	} else {
		t.isnt(r1, 0, done)
		t.load(r1, fp, stackKey+20)
		t.isnt(r1, 0, done)
		t.load(r1, entry, entryV4)
		t.is(r1, 0, done)
		t.jump(at)
	}
	t.here(four)
	t.load(r1, fp, stackKey+20)
	t.here(at)
	t.load(r2, note, notePort)
	t.directKey()
	t.store8(note, noteDirect, r3)
	t.lookup(t.Direct, stackTuple)
	t.null(r0, done)
	t.load8(r1, fp, stackTuple+8)
	t.store8(r0, 0, r1)
	t.here(done)
}

// undirect takes out of direct what the socket with this note has put there, unless
// another has the place now.
func (t *text) undirect(note ebpf.Register) {
	done := t.label("undirect")
	t.load8(r1, note, noteDirect)
	t.null(r1, done)
	t.mov(r2, r1)
	t.put8(note, noteDirect, 0)
	t.add(ebpf.ShiftRight(r1, 32), ebpf.And(r2, 0xffff))
	t.directKey()
	t.lookup(t.Direct, stackTuple)
	t.null(r0, done)
	t.load8(r1, fp, stackTuple+8)
	t.load8(r2, r0, 0)
	t.add(ebpf.JumpIfReg(r1, ebpf.Differs, r2, done))
	t.put8(r0, 0, 0)
	t.here(done)
}

// ephemeral is the first port that the kernel gives to clients by default.
const ephemeral = 32768

// steeredTo goes to pass when Steer has entered a socket under the key on the stack: it is bound
// to another address than it is heard at.
func (t *text) steeredTo() {
	none := t.label("none")
	t.lookup(t.Listeners, stackKey)
	t.null(r0, none)
	t.mov(r1, r0)
	t.call(ebpf.SkRelease)
	t.jump("pass")
	t.here(none)
}

// toClient goes to pass with a datagram from the guest's own address to that, to which
// none of its sockets is bound, when one is bound to where it comes from: what a client of
// the host's sends to an address on lo has that as its source too, by the kernel's choice,
// and so the answer comes there. It uses stackID.
func (t *text) toClient() {
	no, six, keyed := t.label("stranger"), t.label("six"), t.label("keyed")
	t.load(r1, ctx, lookupPort)
	t.add(ebpf.JumpIf(r1, ebpf.Below, ephemeral, no))
	t.load(r1, ctx, lookupFamily)
	t.isnt(r1, familyFour, six)
	t.load(r1, ctx, lookupLocal4)
	t.load(r2, ctx, lookupRemote4)
	t.add(ebpf.JumpIfReg(r1, ebpf.Differs, r2, no))
	t.mappedKey(stackKey+8, r1)
	t.jump(keyed)
	t.here(six)
	for i := int16(0); i < 16; i += 4 {
		t.load(r1, ctx, lookupLocal6+i)
		t.load(r2, ctx, lookupRemote6+i)
		t.add(ebpf.JumpIfReg(r1, ebpf.Differs, r2, no))
		t.store(fp, stackKey+8+i, r1)
	}
	t.here(keyed)
	t.add(ebpf.Load(r1, ctx, lookupFrom, ebpf.Half))
	t.store(fp, stackKey+24, r1)
	t.put(fp, stackKey+28, syscall.IPPROTO_UDP)
	for _, wild := range []bool{false, true} {
		if wild {
			t.put8(fp, stackKey+8, 0)
			t.put8(fp, stackKey+16, 0)
		}
		entered := t.label("entered")
		t.lookup(t.Bound, stackKey)
		t.null(r0, entered)
		t.jump("pass")
		t.here(entered)
		t.steeredTo()
	}
	t.put(fp, stackKey+16, net(0xffff))
	t.steeredTo()
	t.load8(r1, fp, stackID) // one that is parked
	t.load(r2, fp, stackKey+24)
	t.set(r3, noteDatagram)
	t.portKey(r1, r2, r3)
	t.lookup(t.Ports, stackKey)
	t.null(r0, no)
	t.jump("pass")
	t.here(no)
}
