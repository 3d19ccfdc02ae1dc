// Package files is a guest's own files as its spec describes them: the layers of its root
// and what they say of who the guest is.
package files

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"

	"vserver/fault"
	"vserver/guest"
	"vserver/identity"
	"vserver/kernel/file"
	"vserver/layer"
	"vserver/pool"
	"vserver/quota/sized"
	"vserver/stack"
	"vserver/store"
	"vserver/unify/beneath"
)

// Root opens the layers of a guest's root; dir is where its own files are.
func Root(d guest.Dirs, spec *guest.Spec, dir string) (*layer.Root, error) {
	if spec.Root.Kind == guest.RootDir {
		return layer.Open(spec.Root.Tree(dir), nil, spec.TreeID())
	}
	trees, err := Trees(d, spec, dir)
	if err != nil {
		return nil, err
	}
	at, release, err := sized.At(dir)
	if err != nil {
		return nil, err
	}
	trees[0].Dir = filepath.Join(at, "upper")
	r, err := layer.Stack(trees) // what is open stays so
	if closed := release(); closed != nil && err == nil {
		r.Close()
		err = closed
	}
	return r, err
}

// Trees gives the trees of a guest's root, topmost first: its own, whose directory is dir,
// those of its layers, and the shared ones.
func Trees(d guest.Dirs, spec *guest.Spec, dir string) ([]layer.Tree, error) {
	if spec.Root.Kind == guest.RootDir {
		return []layer.Tree{{Dir: spec.Root.Tree(dir), Base: spec.TreeID()}}, nil
	}
	layers, err := stack.Read(dir)
	if err != nil {
		return nil, err
	}
	below, err := Below(d, layers, spec.Root.Lower)
	return append([]layer.Tree{{Dir: filepath.Join(dir, "upper"), Base: spec.FirstID()}}, below...), err
}

// Below gives the trees of some layers over shared ones.
func Below(d guest.Dirs, layers []stack.Layer, lower []string) (out []layer.Tree, err error) {
	for _, l := range layers {
		out = append(out, layer.Tree{Dir: filepath.Join(l.Dir(d), "upper"), Base: l.Base})
	}
	shared, err := lowers(d, lower)
	for _, dir := range shared {
		out = append(out, layer.Tree{Dir: dir})
	}
	return out, err
}

// lowers gives the directories of a guest's shared trees.
func lowers(d guest.Dirs, names []string) (out []string, err error) {
	for _, l := range names {
		if !filepath.IsAbs(l) {
			if l, err = pool.Open(d.Pool()).Tree(l); err != nil {
				return nil, err
			}
		}
		out = append(out, l)
	}
	return out, nil
}

// Identity is what the spec says of who the guest is; spec has its defaults.
func Identity(d guest.Dirs, spec *guest.Spec) (identity.Identity, error) {
	id := identity.Identity{Hostname: spec.Hostname}
	if len(spec.Network.Addresses) > 0 {
		id.Address = spec.Network.Addresses[0].Addr()
	}
	r, err := identity.HostResolver(filepath.Dir(d.Etc), spec.Network.Mode == guest.NetHost)
	if spec.Network.DNS != nil { // [] is none at all
		r.Servers = spec.Network.DNS
	}
	if spec.Network.Search != nil {
		r.Search = spec.Network.Search
	}
	id.Resolver = r
	return id, err
}

// Reidentify writes the host name, hosts file and resolv.conf of a guest's spec into its
// files, which are at dir. The guest should be stopped: what is beneath a mounted overlay
// must not be changed.
func Reidentify(d guest.Dirs, n guest.Name, spec *guest.Spec, dir string) error {
	full := spec.WithDefaults(n)
	id, err := Identity(d, &full)
	if err != nil {
		return err
	}
	r, err := Root(d, &full, dir)
	if err != nil {
		return err
	}
	defer r.Close()
	return errors.Join(id.ApplyName(r), id.ApplyResolver(r))
}

// Recover brings to their place files of a guest that were being moved beneath its own layer
// when somebody was killed. The guest is locked and does not run. spec, with its defaults,
// is asked for when there are such.
func Recover(d guest.Dirs, n guest.Name, spec func() (*guest.Spec, error)) error {
	dir := d.Guest(n)
	if err := sized.Sweep(dir); err != nil {
		return err
	}
	if left, err := beneath.Left(dir); err != nil || !left {
		return err
	}
	is, err := spec()
	if err != nil {
		return err
	}
	layers, err := stack.Read(dir)
	if err != nil || len(layers) == 0 {
		return err
	}
	return beneath.Recover(dir, is.FirstID(), filepath.Join(layers[0].Dir(d), "upper"))
}

// Outdate marks a guest whose files say other names than its spec.
func Outdate(d guest.Dirs, n guest.Name) error { return os.WriteFile(stale(d, n), nil, 0o600) }

// Mark does so for one whose directory is being made.
func Mark(dir string) error { return os.WriteFile(filepath.Join(dir, "stale"), nil, 0o600) }

// stale is that mark.
func stale(d guest.Dirs, n guest.Name) string { return filepath.Join(d.Guest(n), "stale") }

// Freshen writes the names of a guest's spec into its files, if they have changed. The
// guest is locked and does not run.
func Freshen(d guest.Dirs, n guest.Name) error {
	if there, err := file.Exists(stale(d, n)); err != nil || !there {
		return err
	}
	spec, err := store.Load(d.Spec(n))
	if err != nil {
		return err
	}
	if err := Reidentify(d, n, spec, d.Guest(n)); err != nil {
		return err
	}
	return os.Remove(stale(d, n))
}

// Chowning is the mark of a guest whose files are being given its own ids: it must not
// start until all of them are.
func Chowning(d guest.Dirs, n guest.Name) string { return filepath.Join(d.Data, "chown", string(n)) }

// Whole refuses a guest whose files are its own in part.
func Whole(d guest.Dirs, n guest.Name, spec *guest.Spec) error {
	if !spec.Root.IDMap {
		return nil
	}
	begun, err := file.Exists(Chowning(d, n))
	if err == nil && begun {
		err = fault.Hint(errors.New("its files have been given its own ids in part"), "vserver "+string(n)+" migrate --chown")
	}
	return err
}

// HintFull says what to look at when a disk is full; "" is no directory.
func HintFull(err error, dir string) error {
	if dir != "" && (errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)) {
		return fault.Hint(err, "the disk is full: see `df -h "+dir+"`")
	}
	return err
}
