package disk

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"syscall"

	"vserver/fault"
	"vserver/guest"
	"vserver/host/files"
	"vserver/layer"
	"vserver/quota"
	"vserver/quota/sized"
)

// Imaged tells whether a guest with files in this area gets an image for its limits. A
// plain directory does not, which may be large, and be anywhere.
func Imaged(a *quota.Area, spec *guest.Spec) bool {
	return spec.Limits.Disk > 0 && spec.Root.Kind == guest.RootOverlay && a.Imageable()
}

// changeable tells whether a guest can have the limits of a spec now.
func changeable(a *quota.Area, n guest.Name, spec *guest.Spec, running bool) error {
	if !Imaged(a, spec) {
		return a.Check(spec.Limits)
	}
	if running {
		return fault.Hint(fmt.Errorf("limits.disk: its files have to move to an image of that size: %w", guest.ErrRunning), "vserver "+string(n)+" stop")
	}
	return nil
}

// settle gives a guest that does not run the limits of a spec. Where that takes an image,
// its files are copied there.
func settle(d guest.Dirs, n guest.Name, spec *guest.Spec, a *quota.Area) error {
	if !Imaged(a, spec) {
		return a.Set(spec.Limits)
	}
	dir := d.Guest(n)
	ctx := context.Background()
	err := sized.Make(ctx, dir, spec.Limits.Disk, spec.Limits.Inodes, func(at string) error {
		if err := files.MakeOwnAt(at, spec.FirstID(), spec.Root.Shared, nil); err != nil {
			return err
		}
		for _, own := range files.Own(spec.Root) {
			c := layer.Copy{Shift: layer.Shift{From: spec.FirstID(), To: spec.FirstID()}, Devices: true}
			if err := c.Paths(ctx, filepath.Join(dir, own), filepath.Join(at, own)); err != nil {
				return tooSmall(err, n, spec.Limits.Disk, filepath.Join(dir, own))
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	return sized.Sweep(dir)
}

// tooSmall says of a copy into an image, whose path is nobody's to look at, that there was no
// room for it.
func tooSmall(err error, n guest.Name, size guest.Bytes, from string) error {
	if !errors.Is(err, syscall.ENOSPC) {
		return err
	}
	return fault.Hint(fmt.Errorf("limits.disk: its files do not fit into an image of %s: %w", size, syscall.ENOSPC),
		"vserver "+string(n)+" set limits.disk=SIZE with more than `du -sh "+from+"` says")
}
