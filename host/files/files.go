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
	"vserver/store"
)

// Root opens the layers of a guest's root; dir is where its own files are.
func Root(d guest.Dirs, spec *guest.Spec, dir string) (*layer.Root, error) {
	if spec.Root.Kind == guest.RootDir {
		return layer.Open(filepath.Join(dir, "root"), nil, spec.FirstID())
	}
	lowers, err := lowers(d, spec)
	if err != nil {
		return nil, err
	}
	return layer.Open(filepath.Join(dir, "upper"), lowers, spec.FirstID())
}

// lowers gives the directories of a guest's shared trees.
func lowers(d guest.Dirs, spec *guest.Spec) (out []string, err error) {
	for _, l := range spec.Root.Lower {
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

// Outdate marks a guest whose files say other names than its spec.
func Outdate(d guest.Dirs, n guest.Name) error { return os.WriteFile(stale(d, n), nil, 0o600) }

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

// HintFull says what to look at when a disk is full.
func HintFull(err error, dir string) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return fault.Hint(err, "the disk is full: see `df -h "+dir+"`")
	}
	return err
}
