package host

import (
	"context"
	"io"

	"vserver/fault"
	"vserver/guest"
	"vserver/host/carry"
	"vserver/host/parcel"
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

// The words of guests that travel, from the package that deals with them.
type (
	// ExportOptions are the ways to write a guest.
	ExportOptions = parcel.ExportOptions
	// GuestImport are the ways to take in a guest.
	GuestImport = parcel.ImportOptions
	// Imported is a guest that was taken in.
	Imported = parcel.Imported
)

// Export writes a guest, running or not, as one stream.
func Export(ctx context.Context, h *Host, n guest.Name, o ExportOptions, w io.Writer) error {
	return fault.New(string(n), "export", parcel.Export(ctx, h.Dirs, n, o, w))
}

// Import makes the guest that a stream has, called n or as it was for "".
func Import(ctx context.Context, h *Host, n guest.Name, r io.Reader, o GuestImport) (Imported, error) {
	made, err := parcel.Import(ctx, h.Dirs, n, r, o)
	return made, fault.New(string(made.Guest), "import", err)
}
