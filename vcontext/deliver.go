package vcontext

import "vserver/spawn"

// Deliver is the table of a process that attaches a detached mount in a guest that runs,
// where p says. It is sent the mount. init is the pidfd of the guest's first process; the
// process begins in a mount namespace of the host's own (spawn.NewMount).
//
// A guest with a user namespace gets the mount by way of the anteroom, and of a mount
// namespace that belongs to its user namespace: what is copied into that keeps its
// attributes, as with the mounts of a start.
func Deliver(p Place, init int, userns bool) *spawn.Table {
	t := &spawn.Table{}
	m := t.Receive("mount", 1)[0]
	if userns {
		s := &Start{Places: []Place{p}}
		s.lock(t, []spawn.Reg{m})
		t.Setns(init, spawn.NewUser)
		t.Unshare("leave the host's mounts", spawn.NewMount)
		m = t.CloneAll(anteroomOf(0))
	}
	t.Setns(init, spawn.NewMount)
	t.Attach(m, p.Path)
	t.End()
	return t
}

// Move is the table of a process that moves what is mounted at one place of a guest that
// runs to another. init is as for Deliver. Guests have shared mounts, below which the kernel
// moves nothing: it is mounted there anew.
func Move(from, to string, init int) *spawn.Table {
	t := &spawn.Table{}
	t.Setns(init, spawn.NewMount)
	m := t.CloneAll(from)
	t.Unmount(from)
	t.Attach(m, to)
	t.End()
	return t
}
