package life

import (
	"context"
	"syscall"

	"vserver/rootfs"
	"vserver/step"
	"vserver/vcontext"
)

// planVolumes decides what the guest finds below its root beside its own files. Only a
// start asks: a stop must not fail because a directory of the host's has gone.
func (r *Run) planVolumes() (err error) {
	if r.volumes, err = rootfs.Volumes(&r.spec, r.dirs.Volumes()); err != nil {
		return err
	}
	for _, v := range r.volumes {
		r.plan.Places = append(r.plan.Places, vcontext.Place{Path: v.Target, File: v.File})
	}
	return nil
}

// volumeSteps make the volumes and, for a guest with a user namespace, send them ahead.
func (r *Run) volumeSteps() (list []step.Step) {
	for _, v := range r.volumes {
		list = append(list, step.Step{Name: v.String(), Do: func(context.Context) error {
			fd, err := v.Make(r.owner())
			if err == nil {
				r.placed = append(r.placed, fd)
			}
			return err
		}})
	}
	if len(r.volumes) > 0 && r.plan.Userns {
		list = append(list, step.Step{Name: "send what is mounted from outside", Do: func(context.Context) error {
			defer r.closePlaced()
			return r.child.Send(r.placed)
		}})
	}
	return list
}

func (r *Run) closePlaced() {
	for _, fd := range r.placed {
		syscall.Close(fd)
	}
	r.placed = nil
}
