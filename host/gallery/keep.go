package gallery

import (
	"context"
	"fmt"
	"path"
	"path/filepath"
	"strings"

	"vserver/guest"
	"vserver/host/files"
	"vserver/kernel/file"
	"vserver/layer"
	"vserver/pool"
	"vserver/stack"
)

// keep puts a layer beneath a guest's own that makes of image to what it sees of image from,
// and gives in how many files the two differ; with dry nothing else. Who is killed then has
// a guest that lies over from with a layer that changes nothing of it.
func keep(ctx context.Context, d guest.Dirs, n guest.Name, spec *guest.Spec, from, to string, dry bool) (int, error) {
	if len(spec.Root.Lower) != 1 {
		return 0, fmt.Errorf("root.lower %s: what is kept can lie over one image alone: %w", strings.Join(spec.Root.Lower, ", "), guest.ErrUnsupported)
	}
	b := &bridge{ctx: ctx}
	for _, side := range []struct {
		name string
		dir  *string
	}{{from, &b.from}, {to, &b.to}} {
		dir, err := pool.Open(d.Pool()).Tree(side.name)
		if err != nil {
			return 0, err
		}
		*side.dir = dir
	}
	if err := b.look(); err != nil || dry || len(b.changes) == 0 {
		return len(b.changes), err
	}
	return len(b.changes), stack.Underlay(d, n, files.Own(spec.Root), func(dir string) error {
		return b.make(filepath.Join(dir, "upper"))
	})
}

// bridge is what an image lacks to show what another does.
type bridge struct {
	ctx      context.Context
	from, to string // the trees: the one that is shown, and the one beneath
	changes  []layer.Change
}

func (b *bridge) look() error {
	under, err := layer.Stack([]layer.Tree{{Dir: b.to}})
	if err != nil {
		return err
	}
	defer under.Close()
	shown, err := layer.Stack([]layer.Tree{{Dir: b.from}})
	if err != nil {
		return err
	}
	defer shown.Close()
	b.changes, err = layer.Diff(b.ctx, under, shown, "", func(string) bool { return false })
	return err
}

// make writes it into a directory, with the directories that lead there.
func (b *bridge) make(dir string) error {
	wanted := map[string]bool{}
	for _, c := range b.changes {
		p := strings.TrimPrefix(c.Path, "/")
		if c.What == Removed {
			p = path.Dir(p)
		}
		for ; p != "." && p != ""; p = path.Dir(p) {
			wanted[p] = true
		}
	}
	c := layer.Copy{Devices: true, Pick: func(at string, _ file.Stat) bool { return wanted[at] }}
	if err := c.Paths(b.ctx, b.from, dir); err != nil {
		return err
	}
	over, err := layer.Stack([]layer.Tree{{Dir: dir}, {Dir: b.to}})
	if err != nil {
		return err
	}
	defer over.Close()
	hidden := map[string]bool{} // directories with all that is below them
	for _, c := range b.changes {
		if hidden[path.Dir(c.Path)] {
			hidden[c.Path] = true
			continue
		}
		if c.What == Removed {
			if err := over.Remove(strings.TrimPrefix(c.Path, "/")); err != nil {
				return err
			}
		}
		hidden[c.Path] = c.Before != nil && (c.After == nil || c.After.Type() != file.TypeDir)
	}
	at, err := file.OpenDir(dir)
	if err != nil {
		return err
	}
	defer at.Close()
	return file.Land(at)
}
