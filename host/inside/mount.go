package inside

import (
	"fmt"
	"os"
	"syscall"

	"vserver/guest"
	"vserver/host/state"
	"vserver/kernel/ns"
	"vserver/rootfs"
	"vserver/spawn"
	"vserver/vcontext"
)

// Mount gives a guest that runs one more of what a spec's mounts are, until it ends. The
// place must be there. The error is guest.ErrInvalid for what a spec could not have, and
// guest.ErrStopped when the guest does not run.
func Mount(d guest.Dirs, n guest.Name, m guest.Mount) error {
	in, err := Enter(d, n)
	if err != nil {
		return err
	}
	defer in.Close()
	spec, err := state.Load(d, n)
	if err != nil {
		return err
	}
	spec.Mounts = []guest.Mount{m}
	if wrong := spec.Validate(); len(wrong) > 0 {
		return wrong[0].Err
	}
	volumes, err := rootfs.Volumes(spec, d.Volumes())
	if err != nil || len(volumes) == 0 {
		return err
	}
	owner := rootfs.Owner{Base: in.Note.Base, Userns: -1}
	if in.Note.Userns {
		users, err := ns.Open(in.Note.PID, "user")
		if err != nil {
			return err
		}
		defer users.Close()
		owner.Userns = int(users.Fd())
	}
	fd, err := volumes[0].Make(owner)
	if err != nil {
		return err
	}
	defer syscall.Close(fd)
	return in.deliver(fd, vcontext.Place{Path: m.Target, File: volumes[0].File})
}

// deliver has a process of ours attach the mount.
func (in *Guest) deliver(fd int, p vcontext.Place) error {
	c, err := spawn.Start(vcontext.Deliver(p, in.pidfd, in.Note.Userns), spawn.Options{Flags: spawn.NewMount, Cgroup: -1})
	if err != nil {
		return err
	}
	defer c.Close()
	if err = c.Send([]int{fd}); err == nil {
		err = c.Finish()
	}
	if err != nil {
		c.Kill()
		return err
	}
	ws, err := c.Wait()
	if err == nil && ws.ExitStatus() != 0 {
		err = fmt.Errorf("mount %s: %w", p.Path, os.ErrProcessDone)
	}
	return err
}
