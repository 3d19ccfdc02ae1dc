package parcel

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"vserver/archive"
	"vserver/guest"
	"vserver/host/files"
	"vserver/host/snapshot"
	"vserver/image"
	"vserver/kernel/file"
	"vserver/pool"
	"vserver/quota/sized"
	"vserver/stack"
)

// got is what the trees of a parcel brought.
type got = archive.Report

// base is the layers that a guest is about to lie on.
type base struct {
	release func() // of the hold on all layers
	layers  []stack.Layer
}

// tree unpacks the next tree of the stream into a directory, its id 0 becoming base.
func (u *unpacking) tree(ctx context.Context, dir string, base uint32, devices, over bool) error {
	d, err := file.OpenDir(dir) //house:allow a root or layer itself, which no guest can exchange
	if err != nil {
		return err
	}
	defer d.Close()
	a := image.NewUnpacker(image.Tool{Start: u.group.Start}, d)
	a.Options = archive.Options{Limits: limits(), Whole: true, Devices: devices, Over: over, Base: base}
	a.Packed = u.z.Packed
	err = a.Tar(ctx, u.in)
	r := a.Report()
	u.got.Entries += r.Entries
	u.got.Bytes += r.Bytes
	u.got.Devices += r.Devices
	u.got.IDs += r.IDs
	u.got.Xattrs += r.Xattrs
	return err
}

// have gives the image of this host that is the same as one of a parcel, protected until
// release is called; "" when there is none.
func have(ctx context.Context, d guest.Dirs, im Image) (name string, release func(), err error) {
	p := pool.Open(d.Pool())
	all, err := p.List()
	if err != nil {
		return "", nil, err
	}
	// Of several the one of the same name.
	slices.SortStableFunc(all, func(a, b pool.Image) int { return rank(b, im) - rank(a, im) })
	for _, own := range all {
		if own.Digest != im.Meta.Digest {
			continue
		}
		if release, err := p.Use(own.Name); err == nil {
			return own.Name, release, nil
		}
	}
	return "", nil, ctx.Err()
}

func rank(own pool.Image, im Image) int {
	if own.Name == im.Name {
		return 1
	}
	return 0
}

// images takes in those that are not here, and has the guest lie over them all.
func (u *unpacking) images(ctx context.Context) error {
	names := map[string]string{}
	for _, im := range u.is.Images {
		name, release, err := have(ctx, u.dirs, im)
		switch {
		case err != nil:
			return err
		case name == "" && !im.Sent:
			return fmt.Errorf("image %s: %w", im.Name, errNoImage) // gone since lacks
		case name != "" && im.Sent:
			u.say.Say("image %s is here", name)
			err = skip(ctx, u.in)
		case name == "":
			name, release, err = u.image(ctx, im)
		}
		if release != nil {
			u.site.Lie(u.spec.Root.Lower, release)
		}
		if err != nil {
			return err
		}
		names[im.Name] = name
	}
	var lower []string
	for _, l := range u.spec.Root.Lower {
		if name, ok := names[l]; ok {
			l = name
		} else if !filepath.IsAbs(l) {
			return fmt.Errorf("image %s: the stream says nothing of it: %w", l, ErrForeign)
		}
		lower = append(lower, l)
	}
	u.site.Lie(lower, func() {})
	return nil
}

// image makes an image, which goes with the guest as long as no other one has it.
func (u *unpacking) image(ctx context.Context, im Image) (name string, release func(), err error) {
	p, meta, name := pool.Open(u.dirs.Pool()), im.Meta, im.Name
	meta.Guest, meta.Cache = string(u.n), false
	for i := 2; ; i++ {
		if _, err := p.Tree(name); errors.Is(err, pool.ErrNoImage) {
			break
		}
		name = fmt.Sprintf("%s-%d", im.Name, i)
	}
	u.say.Say("take in image %s", name)
	err = p.Add(ctx, name, meta, func(ctx context.Context, dir string) error {
		return u.tree(ctx, dir, 0, true, false) // as images may have them: its digest tells if it is right
	})
	if err != nil {
		return "", nil, err
	}
	if release, err = p.Use(name); err != nil {
		return "", nil, err
	}
	if now := p.Meta(name).Digest; now != im.Meta.Digest {
		err = fmt.Errorf("image %s: has the digest %s, not %s: %w", im.Name, now, im.Meta.Digest, ErrForeign)
	}
	return name, release, err
}

// layers takes in the layers. Each gets a name of its own here: a stranger's words must not
// give him what others have.
func (u *unpacking) layers(ctx context.Context) (err error) {
	if u.base.release, err = stack.Hold(u.dirs); err != nil {
		return err
	}
	u.base.layers = make([]stack.Layer, len(u.is.Layers))
	for i := range slices.Backward(u.is.Layers) {
		u.say.Say("take in layer %s", u.is.Layers[i])
		if u.base.layers[i], err = u.layer(ctx, files.Own(u.site.Spec().Root), stack.Layer{}); err != nil {
			return err
		}
	}
	return nil
}

// layer takes in one layer of these trees, which is what changed of the layer old when that
// is one.
func (u *unpacking) layer(ctx context.Context, trees []string, old stack.Layer) (stack.Layer, error) {
	l, changes := stack.Layer{ID: stack.NewID()}, old.ID != ""
	if err := stack.Mark(u.dirs, l); err != nil {
		return l, err
	}
	for _, own := range trees {
		at := filepath.Join(l.Dir(u.dirs), own)
		if err := os.MkdirAll(at, 0o700); err != nil {
			return l, err
		}
		if changes {
			if err := snapshot.CopyTree(ctx, filepath.Join(old.Dir(u.dirs), own), at, old.Base, 0); err != nil {
				return l, err
			}
		}
		if err := u.tree(ctx, at, 0, u.bare(), changes); err != nil {
			return l, err
		}
	}
	return l, os.Chmod(l.Dir(u.dirs), 0o700)
}

// bare tells whether the guest is one that may have devices.
func (u *unpacking) bare() bool { return u.spec.Userns == guest.UsernsNone }

// drop lets go of the layers: those that nobody lists are swept.
func (u *unpacking) drop() error {
	if u.base.release != nil {
		u.base.release()
		u.base.release = nil
	}
	return nil
}

// own makes the guest's own files.
func (u *unpacking) own(ctx context.Context) error {
	spec, dir := u.site.Spec(), u.site.Dir()
	if spec.Root.Kind == guest.RootDir {
		if err := files.MakeDir(filepath.Join(dir, "root"), 0o755, spec.FirstID()); err != nil {
			return err
		}
	} else if u.is.Own {
		if err := files.MakeOwn(dir, spec.FirstID(), spec.Root.Shared, nil); err != nil {
			return err
		}
	}
	if u.is.Own {
		u.say.Say("take in its own files")
		at, release, err := sized.At(dir)
		if err != nil {
			return err
		}
		for _, own := range files.Own(spec.Root) {
			if err := u.tree(ctx, filepath.Join(at, own), spec.FirstID(), u.bare(), false); err != nil {
				return errors.Join(err, release())
			}
		}
		return release()
	}
	if len(u.base.layers) == 0 {
		return fmt.Errorf("%s: neither layers nor files: %w", labelName, ErrForeign)
	}
	top := u.base.layers[0]
	if spec.Root.Kind == guest.RootDir {
		return snapshot.CopyTree(ctx, filepath.Join(top.Dir(u.dirs), "root"), filepath.Join(dir, "root"), 0, spec.FirstID())
	}
	return snapshot.Empty(dir, spec, u.base.layers, top.Dir(u.dirs), 0)
}

// list has the guest lie on its layers, and gives it its snapshots.
func (u *unpacking) list(context.Context) error {
	dir, local := u.site.Dir(), map[string]stack.Layer{}
	for i, id := range u.is.Layers {
		local[id] = u.base.layers[i]
	}
	if u.site.Spec().Root.Kind == guest.RootOverlay && len(u.base.layers) > 0 {
		if err := stack.Write(dir, u.base.layers); err != nil {
			return err
		}
	}
	for _, s := range u.is.Snapshots {
		layers, err := s.Layers()
		if err != nil {
			return err
		}
		s.Stack, s.Lower = nil, u.site.Spec().Root.Lower
		for _, l := range layers {
			s.Stack = append(s.Stack, local[l.ID].Text())
		}
		if err := stack.Add(dir, s); err != nil {
			return err
		}
	}
	for _, l := range u.base.layers {
		if err := stack.Unmark(u.dirs, l); err != nil {
			return err
		}
	}
	return u.drop()
}
