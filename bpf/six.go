package bpf

import (
	"syscall"

	"vserver/kernel/ebpf"
)

// copyIn copies an IPv6 address from an offset of the context to the stack.
func (t *text) copyIn(at int16) {
	for i := int16(0); i < 16; i += 4 {
		t.load(r1, ctx, at+i)
		t.store(fp, stackAddr+i, r1)
	}
}

// copyOut is copyIn backward.
func (t *text) copyOut(at int16) {
	for i := int16(0); i < 16; i += 4 {
		t.load(r1, fp, stackAddr+i)
		t.store(ctx, at+i, r1)
	}
}

// copyEntry copies an address of the entry to the context and the stack.
func (t *text) copyEntry(from int16) {
	for i := int16(0); i < 16; i += 4 {
		t.load(r1, entry, from+i)
		t.store(ctx, saAddr6+i, r1)
		t.store(fp, stackAddr+i, r1)
	}
}

// mapped goes to yes when the address on the stack is an IPv4 one in IPv6's form.
func (t *text) mapped(yes string) {
	no := t.label("six")
	t.load8(r1, fp, stackAddr)
	t.set(r2, 0)
	t.add(ebpf.JumpIfReg(r1, ebpf.Differs, r2, no))
	t.load(r1, fp, stackAddr+8)
	t.is(r1, net(0xffff), yes)
	t.here(no)
}

// loopback6 goes to yes when the address on the stack is ::1.
func (t *text) loopback6(yes string) {
	no := t.label("other")
	t.load8(r1, fp, stackAddr)
	t.set(r2, 0)
	t.add(ebpf.JumpIfReg(r1, ebpf.Differs, r2, no))
	t.load(r1, fp, stackAddr+8)
	t.isnt(r1, 0, no)
	t.load(r1, fp, stackAddr+12)
	t.is(r1, net(1), yes)
	t.here(no)
}

// remap6 turns ::1 on the stack into what it is to the guest; where it is the host's,
// it goes to real.
func (t *text) remap6(real string) {
	bad, allowed := t.refusal(syscall.EADDRNOTAVAIL), t.label("allowed")
	t.flag(Remap, allowed)
	t.flag(LbackAllow, real)
	t.jump(bad)
	t.here(allowed)
	t.load8(r1, entry, entryLback6)
	t.load8(r2, entry, entryLback6+8)
	t.null(r2, bad)
	t.store8(fp, stackAddr, r1)
	t.store8(fp, stackAddr+8, r2)
}

// alone6 goes to yes when the socket, which is at an offset of the context, is for IPv6
// alone, or that cannot be known.
func (t *text) alone6(sock int16, yes string) {
	const only = 1 << 5 // behind skc_reuse and skc_reuseport in a byte of bits
	if t.State == 0 {
		t.jump(yes)
		return
	}
	t.load8(r1, ctx, sock)
	t.null(r1, yes)
	t.store8(fp, stackKey, r1)
	t.stack(r3, stackKey)
	for _, size := range []int32{8, 1} { // the socket's address, what is in it
		t.stack(r1, stackSaved)
		t.set(r2, size)
		t.call(ebpf.ProbeReadKernel)
		t.load8(r3, fp, stackSaved)
		t.add(ebpf.AddImm(r3, t.State+1))
	}
	t.add(ebpf.Load(r1, fp, stackSaved, ebpf.Byte), ebpf.And32(r1, only))
	t.isnt(r1, 0, yes)
}
