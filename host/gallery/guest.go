package gallery

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"vserver/build"
	"vserver/guest"
	"vserver/host/life"
	"vserver/host/snapshot"
	"vserver/kernel/file"
	"vserver/layer"
	"vserver/pool"
	"vserver/quota/sized"
	"vserver/stack"
	"vserver/store"
)

// Guest gives the files of a guest, running or not, or of a snapshot of it, as its processes
// see them: its own over those that it shares. Device nodes are left out, and what would
// make two guests one. A guest that runs is frozen while its own files are taken.
func Guest(d guest.Dirs, n guest.Name, shot string) build.Source {
	text := "guest " + string(n)
	if shot != "" {
		text = "snapshot " + shot + " of " + text
	}
	return build.Source{
		Method: "guest", Text: text,
		Fill: func(ctx context.Context, dir string, p build.Progress) error {
			err := snapshot.Moment(ctx, d, n, shot, "commit", func(ctx context.Context, s snapshot.State) error {
				root := s.Spec.WithDefaults(n).Root
				return flatten(ctx, d, view{root: root, layers: s.Layers, own: s.Own, base: s.Base}, dir, p)
			})
			if err != nil {
				return fmt.Errorf("guest %s: %w", n, err)
			}
			return nil
		},
	}
}

// tree is one of the trees that a directory of a guest's is made of.
type tree struct {
	dir  string
	base uint32 // host id of guest id 0 in it
	at   string // where in the root
}

// flatten lays the trees of a guest over each other.
func flatten(ctx context.Context, d guest.Dirs, v view, dir string, p build.Progress) error {
	trees, err := v.trees(d)
	if err != nil {
		return err
	}
	for _, t := range trees {
		if v.own != "" && strings.HasPrefix(t.dir, v.own) {
			p.Say("copy its own files")
		} else {
			p.Say("copy %s", t.dir)
		}
		if err := t.lay(ctx, dir); err != nil {
			return err
		}
	}
	return nil
}

// stopped gives the spec of a guest, whose lock is held, with its defaults.
func stopped(d guest.Dirs, n guest.Name) (*guest.Spec, error) {
	spec, err := load(d, n)
	if err != nil {
		return nil, err
	}
	return spec, life.Halted(d, n)
}

// load gives the spec of a guest with its defaults.
func load(d guest.Dirs, n guest.Name) (*guest.Spec, error) {
	if there, err := store.Exists(d.Spec(n)); err != nil || !there {
		if err == nil {
			err = guest.ErrNotFound
		}
		return nil, err
	}
	spec, err := store.Load(d.Spec(n))
	if err != nil {
		return nil, err
	}
	full := spec.WithDefaults(n)
	return &full, nil
}

// view is what a guest's root is made of, now or in a snapshot.
type view struct {
	root   guest.Root
	layers []stack.Layer // topmost first
	own    string        // the directory of the guest's own files; "" without them
	base   uint32        // host id of guest id 0 in these
	close  func() error  // lets go of the own files
}

// viewOf is a guest as it is now.
func viewOf(d guest.Dirs, n guest.Name, spec *guest.Spec) (view, error) {
	layers, err := stack.Read(d.Guest(n))
	if err != nil {
		return view{}, err
	}
	own, release, err := sized.At(d.Guest(n))
	return view{root: spec.Root, layers: layers, own: own, base: spec.TreeID(), close: release}, err
}

// trees gives the trees of a view, the lowest first.
func (v view) trees(d guest.Dirs) (out []tree, err error) {
	over := func(name, at string) {
		for _, l := range slices.Backward(v.layers) {
			out = append(out, tree{filepath.Join(l.Dir(d), name), l.Base, at})
		}
		if v.own != "" {
			out = append(out, tree{filepath.Join(v.own, name), v.base, at})
		}
	}
	if v.root.Kind == guest.RootDir {
		if v.own != "" {
			return []tree{{v.root.Tree(v.own), v.base, ""}}, nil
		}
		over("root", "")
		return out[len(out)-1:], nil // they are whole
	}
	for _, l := range slices.Backward(v.root.Lower) {
		if !filepath.IsAbs(l) {
			if l, err = pool.Open(d.Pool()).Tree(l); err != nil {
				return nil, err
			}
		}
		out = append(out, tree{dir: l})
	}
	over("upper", "")
	for _, s := range v.root.Shared {
		at := strings.Trim(s, "/")
		out = append(out, tree{s, 0, at})
		over(filepath.Join("shared", at, "upper"), at)
	}
	return out, nil
}

// lay copies the tree over what is in dir.
func (t tree) lay(ctx context.Context, dir string) error {
	from, err := file.OpenDir(t.dir)
	if err != nil {
		return err
	}
	defer from.Close()
	to, err := file.OpenDir(dir)
	if err != nil {
		return err
	}
	defer to.Close()
	if t.at != "" {
		above, name, err := to.Parent(t.at)
		if err != nil {
			return err
		}
		defer above.Close()
		if to, err = above.Dir(name); err != nil {
			return err
		}
		defer to.Close()
	}
	c := layer.Copy{Shift: layer.Shift{From: t.base}, Over: true}
	return c.Run(ctx, from, to)
}

// layersOf gives the layers between a guest's images and its own files, the lowest first.
func layersOf(d guest.Dirs, n guest.Name) ([]stack.Layer, error) {
	layers, err := stack.Read(d.Guest(n))
	slices.Reverse(layers)
	return layers, err
}
