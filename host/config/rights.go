package config

import (
	"errors"
	"slices"
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
func righted(path string) bool { return path == devicesPath || path == sysctlsPath }

const devicesPath, sysctlsPath = "rights.devices", "rights.sysctls"

// rerights gives a running guest the devices and the settings of its spec, and says what
// it gets only when it is started again: what a setting was before, when it is wanted no
// more, and settings of a network that is another than the spec says. With an error all is as
// it was; undo makes it so later.
func rerights(d guest.Dirs, n guest.Name, old, spec *guest.Spec, paths []string) (wait []string, undo func() error, err error) {
	undo = func() error { return nil }
	if !slices.ContainsFunc(paths, righted) {
		return nil, undo, nil
	}
	if running, err := state.Runs(d, n); err != nil || !running {
		return nil, undo, err
	}
	was, err := state.ReadNote(d, n)
	if err != nil || was == nil {
		return nil, undo, err
	}
	if began, err := state.Born(was.PID); err != nil || began != was.Began {
		return nil, undo, errors.Join(err, guest.ErrStopped)
	}
	if old == nil {
		old = new(guest.Spec)
	}
	var before map[string]string
	if slices.Contains(paths, sysctlsPath) {
		for name := range old.Rights.Sysctls {
			if _, kept := spec.Rights.Sysctls[name]; !kept {
				wait = []string{sysctlsPath}
			}
		}
		if was.Mode != spec.Network.Mode {
			wait = []string{sysctlsPath}
		} else if before, err = tune(was, spec.Rights.Sysctls); err != nil {
			return nil, undo, err
		}
	}
	undo = func() error {
		_, err := tune(was, before)
		if slices.Contains(paths, devicesPath) {
			err = errors.Join(err, redevice(d, n, was, spec, old))
		}
		return err
	}
	if slices.Contains(paths, devicesPath) {
		if err = redevice(d, n, was, old, spec); err != nil {
			err = errors.Join(err, undo())
		}
	}
	return wait, undo, err
}

// tune sets settings of the kernel for a guest that runs, and gives what they were.
func tune(was *state.Note, values map[string]string) (before map[string]string, err error) {
	init, err := pidfd.Open(was.PID)
	if err != nil {
		return nil, err
	}
	defer syscall.Close(init)
	return sysctl.Give(init, was.Base, values, was.OwnNet && !was.Hidden)
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
