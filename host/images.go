package host

import (
	"vserver/guest"
	"vserver/pool"
)

// Image is an image of the pool, and whose roots lie over it.
type Image struct {
	pool.Image
	Guests []guest.Name
}

// Images lists the images, sorted by name.
func Images(h *Host) ([]Image, error) {
	list, err := h.pool().List()
	if err != nil {
		return nil, err
	}
	refs, err := h.referers()
	if err != nil {
		return nil, err
	}
	out := make([]Image, len(list))
	for i, im := range list {
		out[i] = Image{im, refs[im.Name]}
	}
	return out, nil
}

// RemoveImage removes an image that no guest has: else it is guest.ErrBusy.
func RemoveImage(h *Host, name string) error {
	refs, err := h.referers()
	if err != nil {
		return err
	}
	return h.pool().Remove(name, refs[name])
}
