package snapshot

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"vserver/guest"
	"vserver/host/disk"
	"vserver/host/files"
	"vserver/kernel/file"
	"vserver/layer"
	"vserver/stack"
	"vserver/step"
)

// merging makes one layer of the oldest of a guest's when there would be too many. Snapshots
// and other guests that list one of those go on to, and have its files in common with the
// new one.
type merging struct {
	dirs   guest.Dirs
	n      guest.Name
	spec   *guest.Spec
	oldest []stack.Layer
	kept   []stack.Layer
	new    stack.Layer
}

// merges tells what there is to merge so that a guest with these layers can get one more;
// nil for nothing.
func merges(d guest.Dirs, n guest.Name, spec *guest.Spec, layers []stack.Layer) *merging {
	if len(layers) < stack.Deepest {
		return nil
	}
	const keep = stack.Deepest / 2 // so that the next ones need not
	m := &merging{dirs: d, n: n, spec: spec, kept: layers[:keep], oldest: layers[keep:]}
	m.new = stack.Layer{ID: stack.NewID(), Base: spec.FirstID()}
	same := func(l stack.Layer) bool { return l.Base == m.oldest[0].Base }
	if !slices.ContainsFunc(m.oldest, func(l stack.Layer) bool { return !same(l) }) {
		m.new.Base = m.oldest[0].Base // files can be linked
	}
	return m
}

// layers are those that the guest has then.
func (m *merging) layers() []stack.Layer { return append(slices.Clone(m.kept), m.new) }

// steps merges; with list the guest, which is stopped, lies on the outcome at once.
func (m *merging) steps(list bool) []step.Step {
	out := []step.Step{
		{Name: "mark layer " + m.new.ID, Do: func(context.Context) error { return stack.Mark(m.dirs, m.new) }, Undo: func() error { return discard(m.dirs, m.n, m.new) }},
		{Name: fmt.Sprintf("merge the %d oldest layers", len(m.oldest)), Do: func(ctx context.Context) error {
			return files.HintFull(m.merge(ctx), m.dirs.Data)
		}},
	}
	if list {
		out = append(out, step.Step{Name: "lie on it", Do: func(context.Context) error { return stack.Replace(m.dirs.Guest(m.n), m.layers()) }})
	}
	return out
}

// merge makes the layer.
func (m *merging) merge(ctx context.Context) error {
	to := m.new.Dir(m.dirs)
	spec, err := bare(m.dirs, m.n, m.spec)
	if err == nil {
		err = disk.Make(to, spec)
	}
	if err != nil {
		return err
	}
	own, err := trees(m.dirs, m.n, m.spec)
	if err != nil {
		return err
	}
	if err := combine(ctx, m.dirs, m.oldest, own, to, m.new.Base); err != nil {
		return err
	}
	return settle(to)
}

// combine makes in the directory to, whose ids begin at base, the trees of these names of what
// some layers, topmost first, show together.
func combine(ctx context.Context, d guest.Dirs, layers []stack.Layer, own []string, to string, base uint32) error {
	for _, name := range own {
		var trees []layer.Tree
		for _, l := range layers {
			tree := filepath.Join(l.Dir(d), name)
			if there, err := file.Exists(tree); err != nil {
				return err
			} else if there {
				trees = append(trees, layer.Tree{Dir: tree, Base: l.Base})
			}
		}
		if len(trees) == 0 {
			continue
		}
		if err := mergeInto(ctx, trees, filepath.Join(to, name), base); err != nil {
			return err
		}
	}
	return nil
}

func mergeInto(ctx context.Context, trees []layer.Tree, at string, base uint32) error {
	if err := os.MkdirAll(at, 0o700); err != nil {
		return err
	}
	dir, err := file.OpenDir(at)
	if err != nil {
		return err
	}
	defer dir.Close()
	return layer.Merge(ctx, trees, dir, base)
}

// trees are the names of all that the layers of a guest can have: for a root that shared
// something once, that too.
func trees(d guest.Dirs, n guest.Name, spec *guest.Spec) ([]string, error) {
	snapshots, err := stack.Snapshots(d.Guest(n))
	shared := slices.Clone(spec.Root.Shared)
	for _, s := range snapshots {
		shared = append(shared, s.Shared...)
	}
	slices.SortFunc(shared, strings.Compare)
	return files.Own(guest.Root{Kind: guest.RootOverlay, Shared: slices.Compact(shared)}), err
}

// discard removes a layer that was to be the guest's, unless that lists it.
func discard(d guest.Dirs, n guest.Name, l stack.Layer) error {
	all, err := stack.All(d.Guest(n))
	if err != nil {
		return err
	}
	if slices.ContainsFunc(all, func(o stack.Layer) bool { return o.ID == l.ID }) {
		return stack.Unmark(d, l)
	}
	return errors.Join(stack.Remove(d, l), stack.Unmark(d, l))
}

// Room makes sure that a guest, which is stopped and locked, can get one more layer: some
// of its oldest become one where there would be too many.
func Room(ctx context.Context, d guest.Dirs, n guest.Name, spec *guest.Spec) error {
	layers, err := stack.Read(d.Guest(n))
	if err != nil {
		return err
	}
	m := merges(d, n, spec, layers)
	if m == nil {
		return nil
	}
	release, err := stack.Hold(d)
	if err != nil {
		return err
	}
	steps := append(m.steps(true), step.Step{Name: "tidy", Do: func(context.Context) error { return stack.Unmark(d, m.new) }})
	err = step.Run(ctx, "merge", steps)
	release()
	if err != nil {
		return err
	}
	return stack.Sweep(d)
}
