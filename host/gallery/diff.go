package gallery

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"vserver/fault"
	"vserver/guest"
	"vserver/host/state"
	"vserver/identity"
	"vserver/layer"
	"vserver/pool"
	"vserver/stack"
)

// DiffOptions say what of a guest is compared with what.
type DiffOptions struct {
	// From is the snapshot that is compared with; Image is an image. With neither it is
	// what the guest lies upon.
	From, Image string
	// To is the snapshot that is compared, "" for what the guest is now.
	To string
}

// Difference is what Diff finds.
type Difference struct {
	Changes []layer.Change // sorted by path
	Moving  bool           // the guest runs, and may have changed files meanwhile
}

// Diff compares what a guest has with something else, both as the guest sees them. What
// the tool itself writes into each new guest is no difference to an image. The guest may
// run.
func Diff(ctx context.Context, d guest.Dirs, n guest.Name, o DiffOptions) (out Difference, err error) {
	c := &comparing{dirs: d}
	defer func() { err = errors.Join(err, c.close()) }()
	err = state.Locked(d, n, state.Patience, func() (err error) {
		if out.Moving, err = c.open(n, o); o.To != "" {
			out.Moving = false
		}
		return err
	})
	if err != nil {
		return out, err
	}
	for _, p := range c.spots {
		more, err := layer.Diff(ctx, p.before, p.after, p.at, func(at string) bool { return at != p.at && c.begins(at) })
		if err != nil {
			return out, err
		}
		if c.fresh {
			more = slices.DeleteFunc(more, func(ch layer.Change) bool { return identity.Own(ch.Path) })
		}
		out.Changes = append(out.Changes, more...)
	}
	slices.SortFunc(out.Changes, func(a, b layer.Change) int { return strings.Compare(a.Path, b.Path) })
	return out, nil
}

// comparing is two views that are open. Images and layers stay meanwhile; what is moved
// stays with its handles.
type comparing struct {
	dirs  guest.Dirs
	spots []spot
	fresh bool // the view before has what a new guest would have
	held  []func()
}

// spot is a place in a guest's root where trees lie over each other.
type spot struct {
	at            string
	before, after *layer.Root
}

// close also removes what others could not remove meanwhile.
func (c *comparing) close() error {
	for _, release := range slices.Backward(c.held) {
		release()
	}
	return stack.Settle(c.dirs)
}

// begins tells whether trees begin at a path.
func (c *comparing) begins(at string) bool {
	return slices.ContainsFunc(c.spots, func(p spot) bool { return p.at == at })
}

// open opens the two views of a guest, whose lock is held, and tells whether it runs.
func (c *comparing) open(n guest.Name, o DiffOptions) (running bool, err error) {
	spec, err := load(c.dirs, n)
	if err != nil {
		return false, err
	}
	if running, err = state.Runs(c.dirs, n); err != nil {
		return false, err
	}
	release, err := stack.Hold(c.dirs)
	if err != nil {
		return false, err
	}
	c.held = append(c.held, release)
	now, err := viewOf(c.dirs, n, spec)
	if err == nil {
		here := now // which becomes a snapshot below
		c.held = append(c.held, func() { here.close() })
	}
	if err == nil && o.To != "" {
		now, err = c.snapshot(n, o.To)
	}
	if err != nil {
		return false, err
	}
	old, err := c.old(n, now, o)
	if err != nil {
		return false, err
	}
	c.fresh = o.From == ""
	return running, c.lay(spec, old, now)
}

// snapshot is a guest as it was.
func (c *comparing) snapshot(n guest.Name, name string) (v view, err error) {
	s, err := stack.Find(c.dirs.Guest(n), name)
	if err != nil {
		return v, err
	}
	v.root = guest.Root{Kind: s.Kind, Lower: s.Lower, Shared: s.Shared}
	if v.layers, err = s.Layers(); err == nil && len(v.layers) == 0 {
		err = fmt.Errorf("snapshot %s: has no layers: %w", name, guest.ErrInvalid)
	}
	return v, err
}

// old is what the guest's view is compared with.
func (c *comparing) old(n guest.Name, now view, o DiffOptions) (view, error) {
	if o.From != "" {
		return c.snapshot(n, o.From)
	}
	root := guest.Root{Kind: guest.RootOverlay, Lower: now.root.Lower, Shared: now.root.Shared}
	dir := now.root.Kind == guest.RootDir
	if dir {
		root.Shared = nil
	}
	if o.Image != "" {
		root.Lower = []string{o.Image}
	} else if dir {
		return view{}, fault.Hint(fmt.Errorf("root.kind %s: lies over no image: say what to compare with: %w", now.root.Kind, guest.ErrInvalid),
			"vserver diff --help")
	}
	return view{root: root}, nil
}

// lay opens the trees of two views.
func (c *comparing) lay(spec *guest.Spec, old, now view) error {
	after, others, err := c.stacks(now, "")
	if err != nil {
		return err
	}
	top := ""
	if c.fresh {
		if top, err = c.top(others, after); err != nil {
			return err
		}
	}
	before, places, err := c.stacks(old, top)
	if err != nil {
		return err
	}
	if !slices.Equal(places, others) {
		return fmt.Errorf("a root that shares %q is not compared with one that shares %q: %w", old.root.Shared, now.root.Shared, guest.ErrInvalid)
	}
	for i, at := range places {
		c.spots = append(c.spots, spot{at, before[i], after[i]})
	}
	if !c.fresh {
		return nil
	}
	return c.expect(spec, before[0], after[0])
}

// stacks opens a view: each place of its root, and what lies there. over, unless "", has
// trees that lie over it as a guest's own do.
func (c *comparing) stacks(v view, over string) (roots []*layer.Root, places []string, err error) {
	p := pool.Open(c.dirs.Pool())
	for _, name := range v.root.Lower {
		if filepath.IsAbs(name) || v.root.Kind == guest.RootDir {
			continue
		}
		if name, err = p.Resolve(name); err != nil {
			return nil, nil, err
		}
		release, err := p.Use(name)
		if err != nil {
			return nil, nil, err
		}
		c.held = append(c.held, release)
	}
	trees, err := v.trees(c.dirs)
	if err != nil {
		return nil, nil, err
	}
	for len(trees) > 0 {
		at, stacked := trees[0].at, []layer.Tree(nil)
		for len(trees) > 0 && trees[0].at == at {
			stacked = append([]layer.Tree{{Dir: trees[0].dir, Base: trees[0].base}}, stacked...)
			trees = trees[1:]
		}
		if over != "" {
			stacked = append([]layer.Tree{{Dir: filepath.Join(over, ownAt(at))}}, stacked...)
		}
		r, err := layer.Stack(stacked)
		if err != nil {
			return nil, nil, err
		}
		c.held = append(c.held, r.Close)
		roots, places = append(roots, r), append(places, at)
	}
	return roots, places, nil
}
