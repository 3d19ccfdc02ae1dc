package bpf

import (
	"syscall"

	"vserver/kernel/ebpf"
)

// A socket may be bound to the link lo, the only one that is a guest's as much as the host's, as
// systemd-resolved's stub is: it is to be heard by nobody but the machine. All that a guest's
// socket can have of lo it has without that as well, so what it may send and get is decided as ever. But the kernel's
// way of keeping others out is not Lookup's, so such a socket may be bound to loopback alone, and be in nobody's
// way at a wildcard.

// skDevice is the offset in struct bpf_sock of the link that the socket is bound to.
const skDevice = 0

// linkLoopback is the number of lo in every network namespace.
const linkLoopback = 1

// inward lets SO_BINDTOIFINDEX pass that names lo, for a socket that is bound to nothing yet. The kernel
// is given what was looked at, not what the program may have written there since.
func (t *text) inward(level, name, length int16) {
	const value, end = 8, 16 // in struct bpf_sockopt
	done, four, given := t.label("outward"), t.label("four"), t.label("given")
	t.load(r1, ctx, level)
	t.isnt(r1, solSocket, done)
	t.load(r1, ctx, name)
	t.isnt(r1, soBindToIfindex, done)
	t.option(value, end, done)
	t.load(r1, r1, 0)
	t.isnt(r1, linkLoopback, done)
	t.load8(r2, ctx, 0) // sk
	t.load(r1, r2, skPort)
	t.isnt(r1, 0, done)
	t.load(r1, r2, skFamily)
	t.is(r1, familyFour, four)
	for i := int16(0); i < 16; i += 4 {
		t.load(r1, r2, skSource6+i)
		t.isnt(r1, 0, done)
	}
	t.jump(given)
	t.here(four)
	t.load(r1, r2, skSource4)
	t.isnt(r1, 0, done)
	t.here(given)
	t.put(ctx, length, 4)
	t.jump("pass")
	t.here(done)
}

// inside refuses an address but of loopback to a socket that is bound to a link. That of IPv6 is on the stack.
func (t *text) inside(six bool) {
	fine, four := t.label("inside"), t.label("four")
	t.load8(r2, ctx, saSock)
	t.null(r2, fine)
	t.load(r1, r2, skDevice)
	t.is(r1, 0, fine)
	at := int16(saAddr4)
	if six {
		at = saAddr6 + 12
		t.mapped(four)
		t.loopback6(fine)
		t.lback6(fine)
		t.refuse(syscall.EADDRNOTAVAIL)
	}
	t.here(four)
	t.load(r1, ctx, at)
	t.add(ebpf.And32(r1, net(0xff000000)))
	t.isnt(r1, net(0x7f000000), t.refusal(syscall.EADDRNOTAVAIL))
	t.here(fine)
}

// unlisted ends SockOps for a socket that listens at a wildcard, whose key is on the stack, and is bound to a
// link: Lookup would lead to it whoever asks.
func (t *text) unlisted() {
	fine := t.label("fine")
	t.load8(r2, ctx, opsSock)
	t.null(r2, "pass")
	t.load(r1, r2, skDevice)
	t.is(r1, 0, fine)
	t.load(r1, fp, stackKey+20) // where neither wildcard has anything
	t.is(r1, 0, "pass")
	t.here(fine)
}
