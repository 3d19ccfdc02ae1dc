package host

import (
	"context"

	"vserver/host/carry"
)

// Volume is a directory that guests mount by its name.
type Volume = carry.Volume

// Volumes lists the volumes, sorted by name; with sizes each is walked through.
func Volumes(ctx context.Context, h *Host, sizes bool) ([]Volume, error) {
	return carry.Volumes(ctx, h.Dirs, sizes)
}

// ShowVolume gives one volume, its size told.
func ShowVolume(ctx context.Context, h *Host, name string) (Volume, error) {
	return carry.ShowVolume(ctx, h.Dirs, name)
}

// CreateVolume makes an empty volume.
func CreateVolume(h *Host, name string) error { return carry.CreateVolume(h.Dirs, name) }

// DeleteVolume removes a volume that no guest has: else it is guest.ErrBusy.
func DeleteVolume(h *Host, name string) error { return carry.DeleteVolume(h.Dirs, name) }
