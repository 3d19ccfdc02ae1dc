package bpf

import (
	"syscall"

	"vserver/kernel/ebpf"
)

// Most packets are from or to the first address of a guest, and groups have nothing to do
// with them, or are among its own loopback. These need no look into a hash:
// the account remembers the addresses, for as long as no guest is changed.

// ordinary counts such a packet of the guest in r0 and lets it pass; it goes on with any
// other. The addresses are at these offsets of a header of IPv4, and of one of IPv6.
func (t *text) ordinary(own, other, own6, other6 int16, out bool) {
	t.store8(fp, stackID, r0)
	t.theAccount("slow")
	t.load8(r1, r0, rememberedAt)
	t.null(r1, "slow")
	t.change(r2)
	t.add(ebpf.JumpIfReg(r1, ebpf.Differs, r2, "slow"))
	t.load(r1, ctx, skbProtocol)
	t.load(r2, ctx, skbData)
	t.load(r3, ctx, skbDataEnd)
	t.isnt(r1, ethernet(ethernetFour), "usual6")
	t.mov(r1, r2)
	t.add(ebpf.AddImm(r1, 20), ebpf.JumpIfReg(r1, ebpf.Above, r3, "slow"))
	t.load(addr, r2, own)
	t.load(r3, r2, other)
	t.load(r5, r0, rememberedAddress)
	t.masked(r1, r3, net(0xff000000))
	t.is(r1, net(0x7f000000), "inner")
	t.add(ebpf.JumpIfReg(r5, ebpf.Differs, addr, "slow"))
	t.is(addr, 0, "slow")
	if out {
		t.masked(r1, r3, net(0xe0000000))
		t.is(r1, net(0xe0000000), "slow")
	}
	t.jump("usual")

	t.inner(out)
	t.usual6(own6, other6, out)
	t.here("usual")
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
	t.then()
}

// change is dst = what change is.
func (t *text) change(dst ebpf.Register) {
	t.add(ebpf.Value(dst, t.Change)...)
	t.load8(dst, dst, 0)
}

// then notes on the stack what change is, before anything is looked up.
func (t *text) then() {
	t.change(r2)
	t.store8(fp, stackThen, r2)
}

// PlaceOf is the place for the account of the guest with this id.
func PlaceOf(id uint64) uint32 { return uint32(id % Places) }

// theAccount is r0 = the account of the guest in stackID.
func (t *text) theAccount(none string) {
	found, other := t.label("account"), t.label("placeless")
	t.load(r1, fp, stackID)
	t.add(ebpf.And32(r1, Places-1))
	t.store(fp, stackPlace, r1)
	t.lookup(t.Places, stackPlace)
	t.null(r0, other)
	t.load8(r1, r0, AccountSize)
	t.load8(r2, fp, stackID)
	t.add(ebpf.JumpIfReg(r1, ebpf.Equal, r2, found))
	t.here(other)
	t.lookup(t.Accounts, stackID)
	t.null(r0, none)
	t.here(found)
}

// inner goes to usual with a packet whose other end, in r3, is of the guest's loopback, and
// its own that too or its first address, which is in r5: such are marked on the way.
func (t *text) inner(out bool) {
	t.here("inner")
	t.load(r4, r0, rememberedLback)
	t.is(r4, 0, "slow")
	t.add(ebpf.XorReg(r3, r4), ebpf.And32(r3, net(0xffffff00)))
	t.isnt(r3, 0, "slow")
	t.add(ebpf.JumpIfReg(r5, ebpf.Equal, addr, "marked"))
	t.add(ebpf.XorReg(r4, addr), ebpf.And32(r4, net(0xffffff00)))
	t.isnt(r4, 0, "slow")
	t.here("marked")
	if out {
		t.put(ctx, skbMark, LoopMark)
	} else {
		t.load(r1, ctx, skbMark)
		t.isnt(r1, LoopMark, "slow")
	}
	t.jump("usual")
}

// usual6 goes on with a packet of IPv6, of which the protocol is in r1 and the bytes are
// from r2 to r3, when it is ordinary. No loopback, of whoever, and no group begins with a
// byte between 1 and 0xfb.
func (t *text) usual6(own, other int16, out bool) {
	t.here("usual6")
	t.isnt(r1, ethernet(ethernetSix), "slow")
	t.mov(r1, r2)
	t.add(ebpf.AddImm(r1, 40), ebpf.JumpIfReg(r1, ebpf.Above, r3, "slow"))
	if out {
		t.add(ebpf.Load(r1, r2, 6, ebpf.Byte)) // what comes behind the header
		t.is(r1, syscall.IPPROTO_ROUTING, "slow")
	}
	t.add(ebpf.Load(r1, r2, other, ebpf.Byte), ebpf.JumpIf(r1, ebpf.AtLeast, 0xfc, "slow"))
	t.is(r1, 0, "slow")
	for half := int16(0); half < 16; half += 8 {
		t.load8(r1, r2, own+half)
		t.load8(r3, r0, remembered6+half)
		t.add(ebpf.JumpIfReg(r1, ebpf.Differs, r3, "slow"))
	}
	t.null(r1, "slow")
}

// remember has the account of the guest remember its first addresses and its loopback.
// What change was before the guest's entry was read is remembered with them: had the
// entry been changed since, they would be forgotten at once.
func (t *text) remember() {
	none := t.label("unremembered")
	t.theAccount(none)
	for _, c := range [][2]int16{{rememberedAddress, entryV4}, {rememberedLback, entryLback4}} {
		t.load(r1, entry, c[1])
		t.store(r0, c[0], r1)
	}
	for half := int16(0); half < 16; half += 8 {
		t.load8(r1, entry, entryV6+half)
		t.store8(r0, remembered6+half, r1)
	}
	t.load8(r1, fp, stackThen)
	t.store8(r0, rememberedAt, r1)
	t.here(none)
}

// rememberFirst is remember for a packet of the first address, which is in addr; that of
// another would do it each time, for nothing.
func (t *text) rememberFirst() {
	other := t.label("another")
	t.load(r1, entry, entryV4)
	t.add(ebpf.JumpIfReg(r1, ebpf.Differs, addr, other))
	t.remember()
	t.here(other)
}
