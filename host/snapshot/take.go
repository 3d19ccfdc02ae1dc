package snapshot

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"vserver/guest"
	"vserver/host/disk"
	"vserver/host/files"
	"vserver/kernel/cgroup"
	"vserver/kernel/file"
	"vserver/kernel/quota"
	"vserver/layer"
	"vserver/quota/sized"
	"vserver/spawn/freeze"
	"vserver/stack"
	"vserver/step"
)

// prepare makes what will be the guest's directory, where the layer is going to be.
func (t *taking) prepare(context.Context) error {
	dir := t.new.Dir(t.dirs)
	err := disk.Make(dir, &t.spec)
	if err == nil {
		err = Empty(dir, &t.spec, t.layers, t.dirs.Guest(t.n), t.spec.FirstID())
	}
	if err != nil {
		return files.HintFull(err, t.dirs.Data)
	}
	if t.name != "" {
		s, err := t.snapshot()
		if err == nil {
			err = stack.Add(dir, s)
		}
		if err != nil {
			return files.HintFull(err, t.dirs.Data)
		}
	}
	if err := stack.Carry(t.dirs.Guest(t.n), dir); err != nil {
		return files.HintFull(err, t.dirs.Data)
	}
	return land(dir)
}

// land waits until the few files of a directory of ours are on the disk.
func land(dir string) error {
	d, err := file.OpenDir(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return file.Land(d)
}

// Empty puts into dir what a guest has that lies on these layers and has no files of its
// own. The roots of its trees are like those in from, a guest's or layer's directory, in
// whose files ids begin at base.
func Empty(dir string, spec *guest.Spec, layers []stack.Layer, from string, base uint32) error {
	if err := files.MakeOwn(dir, spec.FirstID(), spec.Root.Shared, nil); err != nil {
		return err
	}
	at, release, err := sized.At(dir)
	if err != nil {
		return err
	}
	for _, own := range files.Own(spec.Root) {
		if err := alike(filepath.Join(from, own), filepath.Join(at, own), layer.Shift{From: base, To: spec.FirstID()}); err != nil {
			return errors.Join(err, release())
		}
	}
	return errors.Join(release(), stack.Write(dir, layers))
}

func alike(from, to string, s layer.Shift) error {
	a, err := file.OpenDir(from) //house:allow a root or layer itself, which no guest can exchange
	if err != nil {
		return err
	}
	defer a.Close()
	b, err := file.OpenDir(to) //house:allow a root or layer itself, which no guest can exchange
	if err != nil {
		return err
	}
	defer b.Close()
	return layer.Alike(a, b, s)
}

func (t *taking) exchange(context.Context) error {
	return file.Exchange(t.new.Dir(t.dirs), t.dirs.Guest(t.n))
}

// freeze has all processes of the guest stand still.
func (t *taking) freeze(context.Context) error {
	t.thaw = func() error { return nil }
	cg, err := cgroup.Find()
	if err != nil {
		return err
	}
	g, err := cg.Open(t.dirs.Group(t.n))
	if errors.Is(err, fs.ErrNotExist) {
		return nil // it has just ended
	}
	if err != nil {
		return err
	}
	release, err := freeze.Hold(g)
	t.thaw = func() error { return errors.Join(release(), g.Close()) }
	return err
}

// Frozen calls do while all processes of guest n, if it has any, stand still.
func Frozen(ctx context.Context, d guest.Dirs, n guest.Name, do func() error) error {
	t := &taking{dirs: d, n: n}
	err := t.freeze(ctx)
	if err == nil {
		err = do()
	}
	return errors.Join(err, t.unfreeze())
}

func (t *taking) unfreeze() error {
	if t.thaw == nil {
		return nil
	}
	err := t.thaw()
	t.thaw = nil
	return err
}

// capture makes the layer of the guest's own files, which nobody changes meanwhile.
func (t *taking) capture(ctx context.Context) error {
	from, to := t.dirs.Guest(t.n), t.new.Dir(t.dirs)
	if t.imaged {
		at, release, err := sized.At(from)
		if err != nil {
			return err
		}
		defer release()
		from = at
	} else if done, err := subvolume(from, to); done || err != nil {
		return err
	}
	spec, err := bare(t.dirs, t.n, &t.spec)
	if err == nil {
		err = disk.Make(to, spec)
	}
	if err != nil {
		return err
	}
	for _, own := range files.Own(t.spec.Root) {
		if err := os.MkdirAll(filepath.Join(to, own), 0o700); err != nil {
			return err
		}
		if err := CopyTree(ctx, filepath.Join(from, own), filepath.Join(to, own), t.spec.FirstID(), t.spec.FirstID()); err != nil {
			return files.HintFull(err, t.dirs.Data)
		}
	}
	return nil
}

// bare is the spec by which a layer is made of a guest's: one that would have an image, by
// its limits, gets none there.
func bare(d guest.Dirs, n guest.Name, spec *guest.Spec) (*guest.Spec, error) {
	imaged, err := sized.There(d.Guest(n))
	if !imaged {
		return spec, err
	}
	out := *spec
	out.Limits.Disk, out.Limits.Inodes, out.Root.Device = 0, 0, ""
	return &out, err
}

// subvolume has the kernel take a snapshot of a guest's directory on btrfs.
func subvolume(from, to string) (done bool, err error) {
	src, err := os.Open(from)
	if err != nil {
		return false, err
	}
	defer src.Close()
	if is, err := quota.Btrfs(src); err != nil || !is {
		return false, err
	}
	if id, err := quota.Subvolume(src); err != nil || id == 0 {
		return false, err
	}
	at, err := os.Open(filepath.Dir(to))
	if err != nil {
		return false, err
	}
	defer at.Close()
	return true, quota.SnapSubvolume(src, at, filepath.Base(to))
}

// CopyTree copies a tree with all that a guest can have in it, whose ids begin at base in
// from and at own in to.
func CopyTree(ctx context.Context, from, to string, base, own uint32) error {
	c := layer.Copy{Shift: layer.Shift{From: base, To: own}, Devices: true}
	return c.Paths(ctx, from, to)
}

// settle has the layer on the disk before a list names it: its contents, where the file
// system keeps names in order by itself.
func (t *taking) settle() error { return settle(t.new.Dir(t.dirs)) }

func settle(layer string) error {
	dir, err := file.OpenDir(layer)
	if err != nil {
		return err
	}
	defer dir.Close()
	if file.Ordered(dir) {
		return file.Land(dir)
	}
	return file.SyncAll(dir)
}

// Layers gives layers that are what guest n, which is locked and has this spec, is now, to
// list; its own files become one of them when there are any. Hold is held.
func Layers(ctx context.Context, d guest.Dirs, n guest.Name, spec *guest.Spec, list func([]stack.Layer) error) error {
	t, err := startAs(d, n, spec)
	if err != nil {
		return err
	}
	defer t.release()
	t.list = list
	if t.moves() {
		if empty, err := t.empty(); err != nil || empty {
			return errors.Join(err, list(t.old))
		}
	}
	t.room()
	if err := step.Run(ctx, "layer", t.steps()); err != nil || !t.moves() {
		return err
	}
	return errors.Join(list(t.layers), t.swept())
}

// empty tells whether the guest has layers and nothing of its own over them.
func (t *taking) empty() (bool, error) {
	for _, own := range files.Own(t.spec.Root) {
		f, err := os.Open(filepath.Join(t.dirs.Guest(t.n), own)) //house:allow a root or layer itself, which no guest can exchange
		if err != nil {
			return false, err
		}
		names, err := f.Readdirnames(1)
		f.Close()
		if len(names) > 0 || err == nil {
			return false, nil
		}
	}
	return len(t.old) > 0, nil
}
