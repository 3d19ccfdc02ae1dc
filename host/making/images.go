package making

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
func Images(d guest.Dirs) ([]Image, error) {
	list, err := pool.Open(d.Pool()).List()
	if err != nil {
		return nil, err
	}
	refs, err := referers(d)
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
func RemoveImage(d guest.Dirs, name string) error {
	refs, err := referers(d)
	if err != nil {
		return err
	}
	return pool.Open(d.Pool()).Remove(name, refs[name])
}
