package carry

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"time"

	"vserver/archive"
	"vserver/build"
	"vserver/guest"
	"vserver/host/files"
	"vserver/host/snapshot"
	"vserver/image"
	"vserver/kernel/file"
	"vserver/layer"
	"vserver/pool"
	"vserver/stack"
	"vserver/store/settings"
)

// ExportOptions are the ways to write a guest.
type ExportOptions struct {
	// Snapshot is the name of one that is written instead of what the guest is now.
	Snapshot string
	// Level is how hard to pack, by zstd's numbers; 0 is its usual one.
	Level int
	// Without are the digests of images that the receiver has; None leaves out all.
	Without []string
	None    bool
	// Progress gets a line for each thing that is done; nil discards them.
	Progress io.Writer
}

// Export writes guest n, or a snapshot of it, as a parcel to w. One that runs is frozen
// while its own files are taken. Nothing of it stays on the host; what a killed one left is
// swept by the next operation.
func Export(ctx context.Context, d guest.Dirs, n guest.Name, o ExportOptions, w io.Writer) error {
	return snapshot.Moment(ctx, d, n, o.Snapshot, "export", func(ctx context.Context, s snapshot.State) error {
		p := &packing{dirs: d, n: n, state: s, o: o, say: build.Lines(o.Progress)}
		defer p.release()
		if err := p.label(ctx); err != nil {
			return err
		}
		return image.Zip(ctx, "", "zstd", o.Level, w, func(w io.Writer) error { return p.write(ctx, w) })
	})
}

// packing is one parcel being written.
type packing struct {
	dirs   guest.Dirs
	n      guest.Name
	state  snapshot.State
	o      ExportOptions
	say    build.Progress
	is     Label
	trees  []sending
	locked []func()
}

// sending is a tree that is sent.
type sending struct {
	dir  string
	base uint32
	what string
}

func (p *packing) release() {
	for _, r := range p.locked {
		r()
	}
}

// label finds out what is to be sent.
func (p *packing) label(ctx context.Context) error {
	spec := p.state.Spec
	spec.Root.Path, spec.Root.IDMap = "", false
	full := spec.WithDefaults(p.n)
	if err := p.images(ctx, &spec); err != nil {
		return err
	}
	p.is.Version, p.is.Guest, p.is.Made, p.is.Running = version, p.n, time.Now().UTC(), p.state.Running
	p.is.Spec, p.is.Own = string(settings.Render(p.n, &spec)), p.state.Own != ""
	for _, l := range slices.Backward(p.state.Layers) {
		for _, own := range files.Own(full.Root) {
			p.trees = append(p.trees, sending{filepath.Join(l.Dir(p.dirs), own), l.Base, "layer " + l.ID})
		}
	}
	for _, l := range p.state.Layers {
		p.is.Layers = append(p.is.Layers, l.ID)
	}
	if p.state.Own != "" {
		for _, at := range files.OwnAt(p.state.Spec.WithDefaults(p.n).Root, p.state.Own) {
			p.trees = append(p.trees, sending{at, p.state.Base, "its own files"})
		}
	}
	return p.snapshots()
}

// images protects the images and names them in full; those that are sent come first.
func (p *packing) images(ctx context.Context, spec *guest.Spec) error {
	at := pool.Open(p.dirs.Pool())
	spec.Root.Lower = slices.Clone(spec.Root.Lower)
	for i, l := range spec.Root.Lower {
		if filepath.IsAbs(l) {
			continue
		}
		name, err := at.Resolve(l)
		if err != nil {
			return err
		}
		release, err := at.Use(name)
		if err != nil {
			return err
		}
		p.locked = append(p.locked, release)
		tree, err := at.Tree(name)
		if err != nil {
			return err
		}
		m := at.Meta(name)
		if m.Digest == "" { // made before images had one
			if m.Digest, err = digest(ctx, tree); err != nil {
				return err
			}
		}
		sent := !p.o.None && !slices.Contains(p.o.Without, m.Digest)
		if sent {
			p.trees = append(p.trees, sending{tree, 0, "image " + name})
		}
		p.is.Images = append(p.is.Images, ParcelImage{name, m, sent})
		spec.Root.Lower[i] = name
	}
	return nil
}

func digest(ctx context.Context, tree string) (string, error) {
	d, err := file.OpenDir(tree)
	if err != nil {
		return "", err
	}
	defer d.Close()
	sum, err := layer.Digest(ctx, d, nil)
	return sum.Digest, err
}

// snapshots adds those whose layers are sent anyway.
func (p *packing) snapshots() error {
	all, err := stack.Snapshots(p.dirs.Guest(p.n))
	if err != nil {
		return err
	}
	for _, s := range all {
		layers, err := s.Layers()
		if err != nil {
			return err
		}
		missing := func(l stack.Layer) bool { return !slices.Contains(p.is.Layers, l.ID) }
		if len(layers) > 0 && !slices.ContainsFunc(layers, missing) {
			p.is.Snapshots = append(p.is.Snapshots, s)
		}
	}
	return nil
}

// write writes the parcel, not packed yet.
func (p *packing) write(ctx context.Context, to io.Writer) error {
	text, err := json.Marshal(p.is)
	if err != nil {
		return err
	}
	sum := sha256.New()
	w := bufio.NewWriterSize(io.MultiWriter(sum, to), 1<<18)
	if err := putFile(w, labelName, text); err != nil {
		return err
	}
	for _, t := range p.trees {
		p.say.Say("write %s", t.what)
		if err := t.send(ctx, w); err != nil {
			return err
		}
	}
	if err := w.Flush(); err != nil {
		return err
	}
	return putFile(to, sumName, []byte(hex.EncodeToString(sum.Sum(nil))))
}

// send writes a tree.
func (t sending) send(ctx context.Context, w io.Writer) error {
	d, err := file.OpenDir(t.dir)
	if err != nil {
		return fmt.Errorf("%s: %w", t.what, err)
	}
	defer d.Close()
	p := archive.Packer{Shift: layer.Shift{From: t.base}, Whole: true}
	return p.Run(ctx, w, d)
}
