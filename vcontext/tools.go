package vcontext

import "vserver/spawn"

// Tools is a root for one command in a guest, with programs of the host's: what the
// guest has is a directory of it. Only that command and its children see it.
type Tools struct {
	Root   int     // the mount of the root
	Places []Place // in it, of the mounts, in their order
	Mounts []int
	Guest  string // the directory with the guest's own root, without a slash
	Mntns  int    // the guest's mount namespace, which its init's pidfd does not give to a process in the guest's user namespace
}

// show makes it the root of the process, which begins in a mount namespace of its own and
// is in the guest's user namespace and among its mounts afterwards. In the way of
// Deliver what is the host's is attached outside of the guest's user namespace first, so
// that the guest's root cannot make it writable.
func (x *Tools) show(t *spawn.Table, pidfd int, userns bool) {
	t.Private()
	attach := func(fd int, at string) {
		m := t.Keep("mount for "+at, fd)
		t.Attach(m, at)
	}
	attach(x.Root, anteroom)
	for i, p := range x.Places {
		attach(x.Mounts[i], anteroom+p.Path)
	}
	if userns {
		t.Setns(pidfd, spawn.NewUser)
		t.Unshare("leave the host's mounts", spawn.NewMount)
	}
	tree := t.CloneAll(anteroom)
	t.Setns(x.Mntns, spawn.NewMount)
	t.Unshare("leave the guest's mounts", spawn.NewMount)
	t.Private()
	t.RootOver(tree, x.Guest)
}
