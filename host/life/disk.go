package life

import (
	"context"
	"fmt"

	"vserver/fault"
	"vserver/guest"
	"vserver/host/disk"
	"vserver/quota/sized"
	"vserver/rootfs"
	"vserver/step"
)

// diskStep has the limits of the disk hold, for a guest that has some or a host that keeps
// a part of it; else there is no such step.
func (r *Run) diskStep() []step.Step {
	if !disk.Limited(&r.spec) && !disk.Reserves(r.dirs) {
		return nil
	}
	return []step.Step{{Name: "bound what it takes of the disk", Do: func(context.Context) error {
		return disk.Begin(r.dirs, r.name, &r.spec)
	}}}
}

// findImage has the overlays written to the guest's image, if its own files are in one.
func (r *Run) findImage() error {
	dir := r.dirs.Guest(r.name)
	there, err := sized.There(dir)
	if err == nil {
		err = onDevice(dir, r.spec.Root.Device)
	}
	if err != nil || !there {
		return err
	}
	for i := range r.mounts {
		if r.mounts[i].Kind == rootfs.Overlay {
			r.mounts[i].Image = dir
		}
	}
	return nil
}

// onDevice refuses a guest whose files are not on the device that its settings name: it
// would be another one.
func onDevice(dir, device string) error {
	is, err := sized.Device(dir)
	if err != nil || is == device {
		return err
	}
	where, back := "in "+dir, "root.device="
	if is != "" {
		where, back = "on "+is, "root.device="+is
	}
	return fault.Hint(fmt.Errorf("root.device: is %q, and the guest's files are %s: %w", device, where, guest.ErrInvalid),
		"vserver set NAME "+back+"; what brings files to a device is `vserver import NEW FILE --set root.device=DEVICE`")
}
