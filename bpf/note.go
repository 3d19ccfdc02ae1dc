package bpf

import "vserver/kernel/ebpf"

// note is r0 = the socket's note, or 0; one is made if create says so. The socket is
// in r2.
func (t *text) note(create int32) {
	t.add(ebpf.Map(r1, t.Notes)...)
	t.set(r3, 0)
	t.set(r4, create)
	t.call(ebpf.SkStorageGet)
}

// noteOf is r0 = the note of the socket of the context, of a hook about addresses, made if
// create says so. It goes to none when there is no such.
func (t *text) noteOf(create int32, none string) {
	t.load8(r2, ctx, saSock)
	t.null(r2, none)
	t.note(create)
	t.null(r0, none)
}
