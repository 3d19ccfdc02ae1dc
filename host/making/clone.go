package making

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"vserver/build"
	"vserver/guest"
	"vserver/host/files"
	"vserver/host/life"
	"vserver/host/state"
	"vserver/kernel/file"
	"vserver/layer"
	"vserver/step"
	"vserver/store"
)

// Clone makes guest n like guest from, which must be stopped: the same shared trees,
// and a copy of its own files with n's ids. It has a number, a machine id and ssh host
// keys of its own, no addresses, and the rest of from's spec, which change, when not
// nil, can alter before it is used. Root's password and keys stay as they were unless
// o has others.
func Clone(ctx context.Context, d guest.Dirs, from, n guest.Name, change func(*guest.Spec) error, o BuildOptions) error {
	err := settle(d)
	if err == nil {
		err = state.Locked(d, n, state.Patience, func() error {
			return state.Locked(d, from, state.Patience, func() error {
				return clone(ctx, d, from, n, change, o)
			})
		})
	}
	return err
}

func clone(ctx context.Context, d guest.Dirs, from, n guest.Name, change func(*guest.Spec) error, o BuildOptions) error {
	old, err := store.Load(d.Spec(from))
	if err != nil {
		if there, _ := file.Exists(d.Spec(from)); !there {
			err = guest.ErrNotFound
		}
		return fmt.Errorf("clone of %s: %w", from, err)
	}
	if err := life.Halted(d, from); err != nil {
		return fmt.Errorf("clone of %s: %w", from, err)
	}
	spec := *old
	spec.XID, spec.IDBase, spec.Hostname, spec.Network.Addresses = 0, 0, "", nil
	if change != nil {
		if err := change(&spec); err != nil {
			return err
		}
	}
	spec.Root = old.Root
	b := &builder{
		dirs: d, n: n, spec: &spec, o: o, say: build.Lines(o.Progress),
		src: build.Source{Method: "clone", Moves: true},
	}
	b.fill = func(ctx context.Context) error {
		full := old.WithDefaults(from)
		return files.HintFull(b.copyFrom(ctx, d.Guest(from), full.FirstID()), d.Data)
	}
	return step.Run(ctx, "build", b.steps())
}

// copyFrom copies the own files of a guest whose ids begin at base. The overlay's work
// directories are its own business and start out empty.
func (b *builder) copyFrom(ctx context.Context, dir string, base uint32) error {
	own := []string{"root"}
	if b.full.Root.Kind == guest.RootOverlay {
		if err := layers(b.dir(), b.full.FirstID(), b.full.Root.Shared, nil); err != nil {
			return err
		}
		own = []string{"upper"}
		for _, s := range b.full.Root.Shared {
			own = append(own, filepath.Join("shared", strings.Trim(s, "/"), "upper"))
		}
	} else if err := os.Mkdir(filepath.Join(b.dir(), "root"), fs.ModePerm); err != nil {
		return err
	}
	for _, p := range own {
		b.say.Say("copy %s", filepath.Join(dir, p))
		c := layer.Copy{Shift: layer.Shift{From: base, To: b.full.FirstID()}, Devices: b.full.Userns == guest.UsernsNone}
		if err := copyTree(ctx, c, filepath.Join(dir, p), filepath.Join(b.dir(), p)); err != nil {
			return err
		}
	}
	return nil
}

func copyTree(ctx context.Context, c layer.Copy, from, to string) error {
	src, err := file.OpenDir(from)
	if err != nil {
		return err
	}
	defer src.Close()
	dst, err := file.OpenDir(to)
	if err != nil {
		return err
	}
	defer dst.Close()
	return c.Run(ctx, src, dst)
}
