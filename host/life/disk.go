package life

import (
	"context"

	"vserver/host/disk"
	"vserver/quota/sized"
	"vserver/rootfs"
	"vserver/step"
)

// diskStep has the limits of the disk hold, for a guest that has some or a host that keeps
// a part of it; else there is no such step.
func (r *Run) diskStep() []step.Step {
	if !disk.Limited(&r.spec.Limits) && !disk.Reserves(r.dirs) {
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
