package bpf

import "vserver/kernel/ebpf"

// Most packets are from or to the first address of a guest, and neither loopback nor
// groups have to do with them. These need one look into a hash and not two: the account
// remembers the address, for as long as no guest is changed.

// ordinary counts such a packet of the guest in r0 and lets it pass; it goes on with any
// other. The addresses are at these offsets of a header of IPv4.
func (t *text) ordinary(own, other int16, out bool) {
	t.store8(fp, stackID, r0)
	t.put8(fp, stackThen, 0)
	t.put(fp, stackKey, 0)
	t.lookup(t.Change, stackKey)
	t.null(r0, "slow")
	t.load8(r1, r0, 0)
	t.store8(fp, stackThen, r1)
	t.load(r1, ctx, skbProtocol)
	t.isnt(r1, ethernet(0x0800), "slow")
	t.load(r2, ctx, skbData)
	t.load(r3, ctx, skbDataEnd)
	t.mov(r1, r2)
	t.add(ebpf.AddImm(r1, 20), ebpf.JumpIfReg(r1, ebpf.Above, r3, "slow"))
	t.load(addr, r2, own)
	t.load(r3, r2, other)
	t.masked(r1, r3, net(0xff000000))
	t.is(r1, net(0x7f000000), "slow")
	if out {
		t.masked(r1, r3, net(0xe0000000))
		t.is(r1, net(0xe0000000), "slow")
	}
	t.lookup(t.Accounts, stackID)
	t.null(r0, "slow")
	t.load8(r1, r0, rememberedAt)
	t.load8(r2, fp, stackThen)
	t.add(ebpf.JumpIfReg(r1, ebpf.Differs, r2, "slow"))
	t.load(r1, r0, rememberedAddress)
	t.add(ebpf.JumpIfReg(r1, ebpf.Differs, addr, "slow"))
	t.is(addr, 0, "slow")
	t.load(r2, ctx, skbLength)
	bytes, packets := int16(BytesIn), int16(PacketsIn)
	if out {
		bytes, packets = BytesOut, PacketsOut
	}
	t.load8(r1, r0, bytes)
	t.add(ebpf.Add(r1, r2))
	t.store8(r0, bytes, r1)
	t.load8(r1, r0, packets)
	t.add(ebpf.AddImm(r1, 1))
	t.store8(r0, packets, r1)
	t.jump("pass")
	t.here("slow")
}

// remember has the account of the guest remember addr, if it is its first address. What
// change was before the guest's entry was read is remembered with it: had the entry been
// changed since, it would be forgotten at once.
func (t *text) remember() {
	done := t.label("remembered")
	t.load(r1, entry, entryV4)
	t.add(ebpf.JumpIfReg(r1, ebpf.Differs, addr, done))
	t.lookup(t.Accounts, stackID)
	t.null(r0, done)
	t.store(r0, rememberedAddress, addr)
	t.load8(r1, fp, stackThen)
	t.store8(r0, rememberedAt, r1)
	t.here(done)
}
