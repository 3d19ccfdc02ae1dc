package making

import (
	"context"
	"errors"

	"vserver/fault"
	"vserver/guest"
	"vserver/layer"
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

// copyImage copies the files of an image that is there, for a plain directory.
func (b *builder) copyImage(ctx context.Context, dir string) error {
	p := pool.Open(b.dirs.Pool())
	name, err := p.Resolve(b.src.Image)
	if err != nil {
		return hintImages(err)
	}
	release, err := p.Use(name)
	if err != nil {
		return err
	}
	defer release()
	tree, err := p.Tree(name)
	if err != nil {
		return err
	}
	b.say.Say("copy image %s", name)
	return new(layer.Copy).Paths(ctx, tree, dir)
}

// hintImages says where the images are to be seen.
func hintImages(err error) error { return fault.Hint(err, "vserver image list shows the images") }

// Settle finishes what killed operations left, of guests and of images, and removes
// images that nobody needs.
func Settle(d guest.Dirs) error { return errors.Join(settle(d), prune(d)) }
