package config

import (
	"errors"
	"syscall"

	"vserver/guest"
	"vserver/host/state"
	"vserver/kernel/cgroup"
	"vserver/kernel/pidfd"
	"vserver/rootfs"
	"vserver/sysctl"
	"vserver/vcontext"
)

// righted tells the rights that a running guest gets at once.
func righted(path string) bool { return path == "rights.devices" || path == "rights.sysctls" }

// rerights gives a running guest the devices and the settings of its spec, and says what
// it gets only when it is started again: what a setting was before, when it is wanted no
// more, and settings of a network that is another than the spec says.
func rerights(d guest.Dirs, n guest.Name, old *guest.Spec, paths []string) (wait []string, err error) {
	spec, err := state.Load(d, n)
	if err != nil {
		return nil, err
	}
	was, err := state.ReadNote(d, n)
	if err != nil || was == nil {
		return nil, err
	}
	if old == nil {
		old = new(guest.Spec)
	}
	init, err := pidfd.Open(was.PID)
	if err != nil {
		return nil, err
	}
	defer syscall.Close(init)
	if began, err := state.Born(was.PID); err != nil || began != was.Began {
		return nil, errors.Join(err, guest.ErrStopped)
	}
	for _, p := range paths {
		switch p {
		case "rights.devices":
			err = redevice(d, n, was, old, spec)
		case "rights.sysctls":
			for name := range old.Rights.Sysctls {
				if _, kept := spec.Rights.Sysctls[name]; !kept {
					wait = []string{p}
				}
			}
			if was.Mode != spec.Network.Mode {
				return append(wait, p), nil
			}
			err = sysctl.Give(init, was.Base, spec.Rights.Sysctls, was.OwnNet && !was.Hidden)
		}
		if err != nil {
			return wait, err
		}
	}
	return wait, nil
}

func redevice(d guest.Dirs, n guest.Name, was *state.Note, old, now *guest.Spec) error {
	g, err := groupOf(d, n)
	if err != nil {
		return err
	}
	defer g.Close()
	return vcontext.ChangeDevices(g, was.PID, was.Base, old.Rights.Devices, now)
}

// groupOf opens the control group of a guest that runs.
func groupOf(d guest.Dirs, n guest.Name) (*cgroup.Group, error) {
	cg, err := cgroup.Find()
	if err != nil {
		return nil, err
	}
	return cg.Open(d.Group(n))
}

// Makes gives what tells whether a guest may make nodes of a device, by what its spec
// says then.
func Makes(d guest.Dirs) func(n guest.Name, block bool, major, minor int) bool {
	return func(n guest.Name, block bool, major, minor int) bool {
		if vcontext.Makes(nil, block, major, minor) {
			return true
		}
		spec, err := state.Load(d, n)
		if err != nil {
			return false
		}
		nodes, err := rootfs.Nodes(spec.Rights.Devices)
		return err == nil && vcontext.Makes(nodes, block, major, minor)
	}
}
