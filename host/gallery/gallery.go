// Package gallery is what is done with images: taken in, shown, named, written out,
// looked after, and changed beneath a guest. The pool keeps them; package making builds
// guests upon them.
package gallery

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"vserver/archive"
	"vserver/build"
	"vserver/fault"
	"vserver/guest"
	"vserver/host/files"
	"vserver/host/making"
	"vserver/image"
	"vserver/kernel/file"
	"vserver/layer"
	"vserver/pool"
)

// Image is an image, the guests whose roots lie over it, and the tags that mean it.
type Image struct {
	making.Image
	Tags []string
}

// List gives the images, sorted by name.
func List(d guest.Dirs) ([]Image, error) {
	all, err := making.Images(d)
	if err != nil {
		return nil, err
	}
	tags, err := pool.Open(d.Pool()).Tags()
	if err != nil {
		return nil, err
	}
	out := make([]Image, len(all))
	for i, im := range all {
		out[i].Image = im
		for word, to := range tags {
			if to == im.Name {
				out[i].Tags = append(out[i].Tags, word)
			}
		}
		slices.Sort(out[i].Tags)
	}
	return out, nil
}

// Show gives the image that a word means, as pool.Pool.Resolve has it.
func Show(d guest.Dirs, word string) (Image, error) {
	name, err := pool.Open(d.Pool()).Resolve(word)
	if err != nil {
		return Image{}, err
	}
	all, err := List(d)
	if err != nil {
		return Image{}, err
	}
	for _, im := range all {
		if im.Name == name {
			return im, nil
		}
	}
	return Image{}, fmt.Errorf("image %s: %w", name, pool.ErrNoImage)
}

// ImportOptions are the ways to take in an image.
type ImportOptions struct {
	// Arch is the machine that the image is for, as pool.Meta has it; "" is what its
	// shell says.
	Arch string
	// Progress gets a line for each thing that is done; nil discards them.
	Progress io.Writer
}

// Import makes an image called word, NAME or NAME@VERSION, of what src gives, and tells
// its full name: without a version it gets one made of the day. Nothing is there when it
// fails or is killed; what a killed one left is swept by the next operation.
func Import(ctx context.Context, d guest.Dirs, word string, src build.Source, o ImportOptions) (name string, err error) {
	if len(src.Shared) > 0 {
		return "", fault.Hint(fmt.Errorf("method %s: its guests share directories of the host: %w", src.Method, guest.ErrInvalid),
			"vserver image build NAME --debian SUITE makes an image that is whole")
	}
	p, say := pool.Open(d.Pool()), build.Lines(o.Progress)
	if _, err := p.Version(word, time.Now()); err != nil {
		return "", err // before any work is done for it
	}
	meta, err := making.MetaOf(ctx, src)
	if err != nil {
		return "", err
	}
	meta.Arch, meta.Cache = o.Arch, false
	for {
		if name, err = p.Version(word, time.Now()); err != nil {
			return "", err
		}
		say.Say("make image %s from %s", name, src.Text)
		err = p.Add(ctx, name, meta, func(ctx context.Context, dir string) error {
			return making.FillImage(ctx, d, src, dir, meta, guest.Limits{}, say)
		})
		if !errors.Is(err, guest.ErrExists) || strings.Contains(word, "@") { // else somebody was faster
			return name, files.HintFull(err, d.Data)
		}
	}
}

// Tag makes word mean the image that to means now; for to "" word means nothing any more.
func Tag(ctx context.Context, d guest.Dirs, to, word string) error {
	if to == "" {
		return pool.Open(d.Pool()).Untag(word)
	}
	return pool.Open(d.Pool()).Tag(ctx, to, word)
}

// Export writes the files of the image that word means as a tar archive to w, packed by
// kind, "zstd" or "gzip", or plain for "".
func Export(ctx context.Context, d guest.Dirs, word, kind string, w io.Writer, progress io.Writer) error {
	p, say := pool.Open(d.Pool()), build.Lines(progress)
	name, err := p.Resolve(word)
	if err != nil {
		return err
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
	at, err := file.OpenDir(tree)
	if err != nil {
		return err
	}
	defer at.Close()
	packer := archive.Packer{Tell: every(say, "write", p.Meta(name).Bytes)}
	fill := func(w io.Writer) error { return packer.Run(ctx, w, at) }
	if kind == "" {
		return fill(w)
	}
	return image.Zip(ctx, image.Tool{}, kind, 0, w, fill)
}

// every gives what tells of each 64 MiB that are done of so many bytes.
func every(say build.Progress, what string, of int64) func(files, bytes int64) {
	const step = 64 << 20
	next := int64(step)
	return func(_, bytes int64) {
		if bytes >= next {
			say.Say("%s %d of %d MiB", what, bytes>>20, max(of, bytes)>>20)
			next = bytes/step*step + step
		}
	}
}

// Finding is what Verify found of an image that is not what it was.
type Finding struct {
	Image  string
	Guests []guest.Name // whose roots lie over it
	Err    error        // what is wrong
}

// ErrChanged says that an image's files are not those that were taken in.
var ErrChanged = errors.New("is not what it was when it was made")

// Verify reads the images that the words mean, all when there are none, and gives those
// that were changed or cannot be read. One that was made without a digest is left out.
func Verify(ctx context.Context, d guest.Dirs, words []string, progress io.Writer) ([]Finding, error) {
	all, err := List(d)
	if err != nil {
		return nil, err
	}
	want := map[string]bool{}
	for _, w := range words {
		name, err := pool.Open(d.Pool()).Resolve(w)
		if err != nil {
			return nil, err
		}
		want[name] = true
	}
	var out []Finding
	for _, im := range all {
		if len(words) > 0 && !want[im.Name] {
			continue
		}
		err := verify(ctx, d, im, build.Lines(progress))
		if ctx.Err() != nil {
			return out, ctx.Err()
		}
		if err != nil && !errors.Is(err, pool.ErrNoImage) { // removed meanwhile
			out = append(out, Finding{im.Name, im.Guests, err})
		}
	}
	return out, nil
}

func verify(ctx context.Context, d guest.Dirs, im Image, say build.Progress) error {
	if im.Digest == "" {
		say.Say("%s: made without a digest", im.Name)
		return nil
	}
	p := pool.Open(d.Pool())
	release, err := p.Use(im.Name)
	if err != nil {
		return err
	}
	defer release()
	tree, err := p.Tree(im.Name)
	if err != nil {
		return err
	}
	at, err := file.OpenDir(tree)
	if err != nil {
		return err
	}
	defer at.Close()
	say.Say("%s: read %d files", im.Name, im.Files)
	sum, err := layer.Digest(ctx, at, every(say, im.Name+": read", im.Bytes))
	if err == nil && sum.Digest != im.Digest {
		is, was := fmt.Sprintf("%d files and %d bytes", sum.Files, sum.Bytes), fmt.Sprintf("%d and %d", im.Files, im.Bytes)
		if sum.Files == im.Files && sum.Bytes == im.Bytes {
			was = "as many"
		}
		err = fault.Hint(fmt.Errorf("%s: %w (%s, was %s)", tree, ErrChanged, is, was),
			"vserver pool verify names the files, if the image was unified; vserver rebase gives a guest another image")
	}
	return err
}

// CollectOptions are the ways to collect garbage.
type CollectOptions struct {
	// Unused takes away old versions too: those that no guest uses and no tag means,
	// when the same name has a newer one.
	Unused bool
	// DryRun only tells.
	DryRun bool
}

// Collect sweeps what killed operations left and, as said, removes images. It gives the
// names of these.
func Collect(d guest.Dirs, o CollectOptions) (removed []string, err error) {
	if !o.DryRun {
		if err := making.Settle(d); err != nil {
			return nil, err
		}
	}
	if !o.Unused {
		return nil, nil
	}
	all, err := List(d)
	if err != nil {
		return nil, err
	}
	newest := map[string]pool.Image{}
	for _, im := range all {
		at := pool.Plain(im.Name) + " " + im.Arch
		if last, ok := newest[at]; !ok || im.Newer(last) {
			newest[at] = im.Image.Image
		}
	}
	for _, im := range all {
		plain := pool.Plain(im.Name)
		if plain == im.Name || len(im.Guests) > 0 || len(im.Tags) > 0 || newest[plain+" "+im.Arch].Name == im.Name {
			continue
		}
		if !o.DryRun {
			switch err := making.RemoveImage(d, im.Name); {
			case errors.Is(err, guest.ErrBusy), errors.Is(err, pool.ErrNoImage):
				continue // taken into use, or gone
			case err != nil:
				return removed, err
			}
		}
		removed = append(removed, im.Name)
	}
	return removed, nil
}
