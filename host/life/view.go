package life

import (
	"context"
	"fmt"
	"slices"

	"vserver/daemon/proto"
	"vserver/fault"
	"vserver/guest"
	"vserver/rootfs"
	"vserver/step"
	"vserver/vcontext"
	"vserver/view"
)

// planView decides what the guest sees of the machine. A host that has no FUSE is a reason
// not to start a guest only when a view was asked for.
func (r *Run) planView() error {
	flags, err := r.spec.Views()
	if err != nil {
		return err
	}
	if flags.Has(guest.HostTime) {
		r.plan.Offsets = ""
	}
	disks := slices.ContainsFunc(r.spec.Rights.Devices, isDisk)
	binds := view.Binds(flags, disks)
	if len(binds) == 0 {
		return nil
	}
	if !view.Ready() {
		err := fmt.Errorf("view: /dev/fuse: %w", guest.ErrUnsupported)
		if len(r.spec.View.Flags) > 0 {
			return fault.Hint(err, "vserver set "+string(r.name)+" view.flags='[]'")
		}
		return r.complain(err)
	}
	for _, b := range binds {
		r.plan.Views = append(r.plan.Views, vcontext.View{Name: b.Name, Target: b.Target})
	}
	r.plan.HiddenFiles, r.plan.Hidden = view.Hidden(flags, disks)
	r.plan.Targets = append(r.plan.Targets, vcontext.ViewAt)
	r.fds = append(r.fds, -1)
	return nil
}

// isDisk tells whether a device is a block device of this host. One that is gone refuses a
// start, and no stop.
func isDisk(d guest.Device) bool {
	nodes, err := rootfs.Nodes([]guest.Device{d})
	return err == nil && nodes[0].Block
}

// viewStep makes the guest's view, if it has one. Its mount is the last of the mounts.
func (r *Run) viewStep() []step.Step {
	if len(r.plan.Views) == 0 {
		return nil
	}
	return []step.Step{{Name: fmt.Sprintf("make view of %d files", len(r.plan.Views)), Do: func(context.Context) error {
		m, err := view.Make(r.plan.Base, r.ownView)
		if err != nil {
			return err
		}
		r.fds[len(r.fds)-1], r.view = m.FD, m
		m.FD = -1 // closed with the other mounts
		return nil
	}}}
}

// ownView opens the guest for its view, which is vserverd's to do but for the moments in
// which the guest runs and vserverd does not answer yet.
func (r *Run) ownView() (*view.Guest, error) {
	pid, err := r.child.Forked()
	if err != nil {
		return nil, err
	}
	m, err := view.OpenMachine()
	if err != nil {
		return nil, err
	}
	return m.NewGuest(r.dirs.Group(r.name), pid)
}

// tellView hands the view to vserverd. Nobody else would answer for it: a guest whose
// vserverd cannot be had is not started with one.
func (r *Run) tellView() []step.Step {
	if len(r.plan.Views) == 0 {
		return nil
	}
	return []step.Step{{Name: "hand the view to vserverd", Do: func(context.Context) error {
		pid, err := r.child.Forked()
		if err != nil {
			return err
		}
		r.viewed, err = proto.TellView(r.dirs, r.name, pid, r.view.Device)
		return err
	}}}
}

// closeView releases what this process has of the view.
func (r *Run) closeView() {
	if r.viewed != nil {
		r.viewed.Close()
		r.viewed = nil
	}
	if r.view != nil {
		r.view.Close()
		r.view = nil
	}
}
