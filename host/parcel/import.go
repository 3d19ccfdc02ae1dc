package parcel

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"

	"vserver/build"
	"vserver/fault"
	"vserver/guest"
	"vserver/host/apart"
	"vserver/host/files"
	"vserver/host/making"
	"vserver/image"
	"vserver/step"
	"vserver/store/settings"
)

// ImportOptions are the ways to take in a guest.
type ImportOptions struct {
	// Change, when not nil, can alter the settings before they are used.
	Change func(*guest.Spec) error
	// XID is the number to give; 0 is the one that the guest had, or the lowest free one
	// when that is taken.
	XID guest.XID
	// NoAddresses takes away the addresses that the guest had.
	NoAddresses bool
	// Trust takes settings that give the guest more of this host than a new one has.
	Trust bool
	// Replace has changes since a snapshot of a guest that is there become its files.
	Replace bool
	// Fresh gives the guest a machine id and ssh host keys of its own.
	Fresh bool
	// Progress gets a line for each thing that is done; nil discards them.
	Progress io.Writer
}

// Imported is what Import made.
type Imported struct {
	Guest guest.Name
	Spec  guest.Spec // as it was written
	Left  string     // what was left out of the files, in a line; "" for nothing
}

// Import makes the guest that a parcel has, called n or as it was for "". Nothing in the
// stream is believed: the files go where archives go, the settings pass the checks of any
// and are refused where they ask for more of the host than a new guest has, and nothing is
// there unless all of it has arrived as it was sent. What a killed import left is swept by
// the next operation.
func Import(ctx context.Context, d guest.Dirs, n guest.Name, r io.Reader, o ImportOptions) (out Imported, err error) {
	err = making.Bounded(d, guest.Limits{}, func(g *apart.Group) error {
		out, err = bring(ctx, d, n, r, o, g)
		return err
	})
	return out, err
}

// bring is Import, with what decodes and unpacks in g.
func bring(ctx context.Context, d guest.Dirs, n guest.Name, r io.Reader, o ImportOptions, g *apart.Group) (out Imported, err error) {
	z, err := image.Unzip(ctx, image.Tool{Start: g.Start}, r)
	if err != nil {
		return out, err
	}
	u := &unpacking{dirs: d, o: o, say: build.Lines(o.Progress), z: z, group: g, sum: sha256.New()}
	u.in = image.NewStream(z, u.sum)
	err = u.run(ctx, n)
	return Imported{u.n, u.spec, u.left()}, files.HintFull(z.End(err), d.Data)
}

// unpacking is one parcel being taken in.
type unpacking struct {
	dirs  guest.Dirs
	n     guest.Name
	o     ImportOptions
	say   build.Progress
	z     *image.Unzipped
	in    *image.Stream
	group *apart.Group // of what decodes and unpacks
	sum   hash.Hash    // of what was taken of it
	is    Label
	spec  guest.Spec
	site  making.Site
	base  base
	got   got
}

// run takes in the parcel.
func (u *unpacking) run(ctx context.Context, n guest.Name) (err error) {
	if u.is, err = readLabel(u.in); err != nil {
		return err
	}
	if n == "" {
		if n, err = guest.ParseName(string(u.is.Guest)); err != nil {
			return fault.Hint(err, "vserver import NAME FILE gives it another one")
		}
	}
	u.n = n
	if u.is.Since != nil {
		return u.onto(ctx)
	}
	if err := u.settings(); err != nil {
		return err
	}
	if err := u.lacks(ctx); err != nil {
		return err
	}
	return making.Place(ctx, u.dirs, n, &u.spec, "import", u.o.XID == 0, u.o.Fresh, making.BuildOptions{Progress: u.o.Progress}, u.steps)
}

// parse reads the settings that the stream has.
func (u *unpacking) parse() (*guest.Spec, error) {
	return settings.Parse(labelName+": "+string(u.n), []byte(u.is.Spec))
}

// settings reads those of the guest and changes what must be.
func (u *unpacking) settings() error {
	spec, err := u.parse()
	if err != nil {
		return err
	}
	if u.o.NoAddresses {
		spec.Network.Addresses = nil
	}
	spec.Root.Unplace()
	if asks := Asks(spec); len(asks) > 0 && !u.o.Trust {
		return fault.Hint(fmt.Errorf("its settings ask for more of this host than a new guest has: %s: %w", asks, guest.ErrInvalid),
			"vserver import --trust, if you trust who wrote the stream")
	}
	if u.o.Change != nil {
		if err := u.o.Change(spec); err != nil {
			return err
		}
	}
	if u.o.XID != 0 {
		spec.XID, spec.IDBase = u.o.XID, 0
	}
	u.spec = *spec
	return u.group.Bound(u.spec.Limits)
}

// steps bring the files.
func (u *unpacking) steps(s making.Site) []step.Step {
	u.site = s
	list := []step.Step{{Name: "take in images", Do: u.images, Undo: s.Leave}}
	list = append(list,
		step.Step{Name: "take in layers", Do: u.layers, Undo: u.drop},
		step.Step{Name: "take in its own files", Do: u.own},
		step.Step{Name: "check the sum", Do: func(context.Context) error { return u.z.End(sealed(u.in, u.sum)) }},
		step.Step{Name: "list the layers", Do: u.list, Undo: u.drop})
	return list
}

// left tells what was left out of the files.
func (u *unpacking) left() string { return u.got.String() }

// lacks refuses a stream without an image that is not here, before anything is made.
func (u *unpacking) lacks(ctx context.Context) error {
	for _, im := range u.is.Images {
		name, release, err := have(ctx, u.dirs, im)
		if err != nil {
			return err
		}
		if name == "" && !im.Sent {
			return fault.Hint(fmt.Errorf("image %s (%s): is neither in the stream nor here: %w", im.Name, im.Meta.Digest, errNoImage),
				"export it without --without-images, or bring the image by `vserver image export` and `vserver image import`")
		}
		if name != "" {
			release()
		}
	}
	return nil
}

var errNoImage = errors.New("no such image")
