package inside

import (
	"vserver/kernel/ns"
	"vserver/rootfs"
	"vserver/vcontext"
)

// tools gives a plan a root with the host's programs, and what lets go of it.
func (in *Guest) tools(plan *vcontext.Enter) (release func(), err error) {
	mounts, err := ns.Open(in.Note.PID, "mnt")
	if err != nil {
		return nil, err
	}
	x, err := rootfs.MakeTools(in.Note.Base)
	if err != nil {
		mounts.Close()
		return nil, err
	}
	plan.Tools = &vcontext.Tools{Root: x.Root, Mounts: x.Mounts, Guest: rootfs.GuestAt[1:], Mntns: int(mounts.Fd())}
	for _, p := range x.Paths {
		plan.Tools.Places = append(plan.Tools.Places, vcontext.Place{Path: p})
	}
	return func() {
		x.Close()
		mounts.Close()
	}, nil
}
