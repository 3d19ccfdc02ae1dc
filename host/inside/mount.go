package inside

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"

	"vserver/guest"
	"vserver/host/state"
	"vserver/kernel/file"
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
	p := vcontext.Place{Path: m.Target, File: volumes[0].File}
	return in.work(vcontext.Deliver(p, in.pidfd, in.Note.Userns), "mount "+p.Path, fd)
}

// work has a process of ours do what a table says about a mount, with the descriptors fds.
func (in *Guest) work(t *spawn.Table, what string, fds ...int) error {
	c, err := spawn.Start(t, spawn.Options{Flags: spawn.NewMount, Cgroup: -1})
	if err != nil {
		return err
	}
	defer c.Close()
	if len(fds) > 0 {
		err = c.Send(fds)
	}
	if err == nil {
		err = c.Finish()
	}
	if err != nil {
		c.Kill()
		return err
	}
	ws, err := c.Wait()
	if err == nil && ws.ExitStatus() != 0 {
		err = fmt.Errorf("%s: %w", what, os.ErrProcessDone)
	}
	return err
}

// Unmounted gives those mounts of a running guest's spec that are not at their places:
// they came into the spec since it was started, or were taken away.
func Unmounted(d guest.Dirs, n guest.Name) (list []guest.Mount, err error) {
	in, err := Enter(d, n)
	if err != nil {
		return nil, err
	}
	defer in.Close()
	spec, err := state.Load(d, n)
	if err != nil {
		return nil, err
	}
	for _, m := range spec.Mounts {
		if !in.mounted(m, d.Volumes()) {
			list = append(list, m)
		}
	}
	return list, nil
}

// mounted tells whether a mount is at its place. What cannot be looked at is not: who
// mounts it then says why.
func (in *Guest) mounted(m guest.Mount, volumes string) bool {
	there, err := in.stat(m.Target)
	if err != nil || !there.MountRoot {
		return false
	}
	var what syscall.Stat_t
	switch m.Type {
	case guest.MountTmpfs:
		return true
	case guest.MountVolume:
		err = syscall.Stat(filepath.Join(volumes, m.Source), &what)
	case guest.MountBind:
		err = syscall.Stat(m.Source, &what)
	default:
		return syscall.Stat(m.Source, &what) == nil && what.Rdev == there.Dev
	}
	return err == nil && what.Dev == there.Dev && what.Ino == there.Ino
}

// Move has what is mounted at one place of a running guest be mounted at another.
func Move(d guest.Dirs, n guest.Name, from, to string) error {
	in, err := Enter(d, n)
	if err != nil {
		return err
	}
	defer in.Close()
	// What is found wrong only after it was taken from the one place is lost.
	st, err := in.stat(from)
	if err == nil && !st.MountRoot {
		err = &os.PathError{Op: "move", Path: from, Err: syscall.EINVAL}
	}
	if err != nil {
		return err
	}
	there, err := in.stat(to)
	if err == nil && (st.Type() == file.TypeDir) != (there.Type() == file.TypeDir) {
		err = &os.PathError{Op: "move", Path: to, Err: syscall.ENOTDIR}
	}
	if err != nil {
		return err
	}
	return in.work(vcontext.Move(from, to, in.pidfd), "move "+from)
}

// stat looks at what a path of the guest's leads to.
func (in *Guest) stat(path string) (st file.Stat, err error) {
	root, err := in.Root()
	if err != nil {
		return st, err
	}
	defer root.Close()
	at, err := root.Entry(path)
	if err != nil {
		return st, err
	}
	defer at.Close()
	return at.Stat()
}
