package parcel

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
	"vserver/fault"
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
	// Since is the name of a snapshot that the receiver has: only what changed is written.
	Since string
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
		return image.Zip(ctx, image.Tool{}, "zstd", o.Level, w, func(w io.Writer) error { return p.write(ctx, w) })
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

// sending is a tree that is sent, or what changed of it.
type sending struct {
	dir  string
	base uint32
	what string
	old  string // "" for all
	was  uint32 // host id of guest id 0 in old
}

func (p *packing) release() {
	for _, r := range p.locked {
		r()
	}
}

// label finds out what is to be sent.
func (p *packing) label(ctx context.Context) error {
	spec := p.state.Spec
	spec.Root.Unplace()
	full := spec.WithDefaults(p.n)
	if err := p.images(ctx, &spec); err != nil {
		return err
	}
	p.is.Version, p.is.Guest, p.is.Made, p.is.Running = version, p.n, time.Now().UTC(), p.state.Running
	p.is.Spec, p.is.Own = string(settings.Render(p.n, &spec)), p.state.Own != ""
	for _, l := range p.state.Layers {
		p.is.Layers = append(p.is.Layers, l.ID)
	}
	under, err := p.since(spec.Root.Lower)
	if err != nil {
		return err
	}
	for i, l := range slices.Backward(p.state.Layers[:p.is.sent()]) {
		for _, own := range files.Own(full.Root) {
			s := sending{dir: filepath.Join(l.Dir(p.dirs), own), base: l.Base, what: "layer " + l.ID}
			if i == p.is.sent()-1 {
				s.over(p.dirs, under, own)
			}
			p.trees = append(p.trees, s)
		}
	}
	if p.state.Own != "" {
		at := files.OwnAt(p.state.Spec.WithDefaults(p.n).Root, p.state.Own)
		for i, own := range files.Own(full.Root) {
			s := sending{dir: at[i], base: p.state.Base, what: "its own files"}
			if p.is.sent() == 0 {
				s.over(p.dirs, under, own)
			}
			p.trees = append(p.trees, s)
		}
	}
	return p.snapshots()
}

// over has only what changed of a tree in a layer sent.
func (s *sending) over(d guest.Dirs, l stack.Layer, own string) {
	if l.ID != "" {
		s.old, s.was, s.what = filepath.Join(l.Dir(d), own), l.Base, "what changed of "+s.what
	}
}

// since finds the snapshot that the receiver has, and gives the layer of it that the lowest
// tree is compared with; none when that is new. lower are the images by their full names.
func (p *packing) since(lower []string) (under stack.Layer, err error) {
	if p.o.Since == "" {
		return under, nil
	}
	release, err := stack.Hold(p.dirs) // somebody may delete it meanwhile
	if err != nil {
		return under, err
	}
	p.locked = append(p.locked, release)
	shot, err := stack.Find(p.dirs.Guest(p.n), p.o.Since)
	if err != nil {
		return under, err
	}
	root := p.state.Spec.WithDefaults(p.n).Root
	if shot.Kind != root.Kind || !slices.Equal(shot.Shared, root.Shared) || !slices.Equal(shot.Lower, lower) {
		return under, fault.Hint(fmt.Errorf("snapshot %s: lies over other images than what is to be written: %w", shot.Name, guest.ErrInvalid),
			"vserver "+string(p.n)+" export without --since writes all")
	}
	layers, err := shot.Layers()
	if err != nil {
		return under, err
	}
	s := &Since{Name: shot.Name, ID: shot.ID}
	for _, l := range layers {
		s.Layers = append(s.Layers, l.ID)
	}
	for s.Common < min(len(s.Layers), len(p.is.Layers)) && s.Layers[len(s.Layers)-1-s.Common] == p.is.Layers[len(p.is.Layers)-1-s.Common] {
		s.Common++
	}
	p.is.Since = s
	if i := s.under(); i >= 0 && (p.is.sent() > 0 || p.state.Own != "") {
		under = layers[i]
	}
	return under, nil
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
		sent := !p.o.None && p.o.Since == "" && !slices.Contains(p.o.Without, m.Digest)
		if sent {
			p.trees = append(p.trees, sending{dir: tree, what: "image " + name})
		}
		p.is.Images = append(p.is.Images, Image{name, m, sent})
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

// snapshots adds those whose layers are sent anyway; of changes only the one that is sent.
func (p *packing) snapshots() error {
	all, err := stack.Snapshots(p.dirs.Guest(p.n))
	if err != nil {
		return err
	}
	for _, s := range all {
		if p.is.Since != nil && s.Name != p.o.Snapshot {
			continue
		}
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
	if t.old == "" {
		return p.Run(ctx, w, d)
	}
	old, err := file.OpenDir(t.old)
	if err != nil {
		return fmt.Errorf("%s: %w", t.what, err)
	}
	defer old.Close()
	return p.Since(ctx, w, d, old, layer.Shift{From: t.was})
}
