package host

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"vserver/guest"
	"vserver/identity"
	"vserver/kernel/cgroup"
	"vserver/kernel/file"
	"vserver/layer"
	"vserver/pool"
	"vserver/store"
)

// Where the files of a guest are while they come and go, so that whoever finds them
// after a crash knows what was meant:
//
//	Data/guests/NAME         the files, see guest.Dirs.Guest
//	Data/staging/NAME        the guest is being built or deleted: if it has no spec (the
//	                         build had not got that far, the deletion had) then nothing
//	                         of it shall stay; if it has, it is whole
//	Data/renaming/OLD        symbolic link to the new name: if the spec still has the old
//	                         one the guest gets all back, else the rest is done
//	Data/kept/NAME           what a build that failed left for looking at
//
// Who works on a guest holds its lock, so settle can tell the work of the living from
// what the dead left.

func (h *Host) staging(n guest.Name) string {
	return filepath.Join(h.Dirs.Data, "staging", string(n))
}

func (h *Host) renaming(n guest.Name) string {
	return filepath.Join(h.Dirs.Data, "renaming", string(n))
}

func (h *Host) kept(n guest.Name) string { return filepath.Join(h.Dirs.Data, "kept", string(n)) }

func (h *Host) pool() *pool.Pool { return pool.Open(h.Dirs.Pool()) }

// lockWait is how long an operation waits for another one on the same guest: as long
// as a start or a stop in good order takes. After that it is guest.ErrBusy.
const lockWait = 5 * time.Second

// settle finishes what killed builds, deletions and renamings left. What is locked is
// somebody's and stays.
func (h *Host) settle() error {
	var errs []error
	for _, work := range []struct {
		dir string
		do  func(guest.Name) error
	}{{"renaming", h.finishRename}, {"staging", h.tidy}} {
		entries, err := os.ReadDir(filepath.Join(h.Dirs.Data, work.dir))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
		for _, e := range entries {
			err := h.locked(guest.Name(e.Name()), 0, work.do)
			if !errors.Is(err, guest.ErrBusy) {
				errs = append(errs, err)
			}
		}
	}
	return errors.Join(append(errs, h.pool().Sweep())...)
}

// tidy puts right what a killed build or deletion left of a guest, whose lock is
// held.
func (h *Host) tidy(n guest.Name) error {
	whole, err := exists(h.Dirs.Spec(n))
	if err != nil {
		return err
	}
	if !whole {
		return h.clear(n)
	}
	return h.remove(filepath.Dir(h.staging(n)), n)
}

// clear removes everything of a guest that has no spec (any more), and the mark of it
// in staging last, so that it can be done again until it is done.
func (h *Host) clear(n guest.Name) error {
	for _, dir := range []string{filepath.Dir(h.Dirs.Guest(n)), filepath.Dir(h.Dirs.State(n))} {
		if err := h.remove(dir, n); err != nil {
			return err
		}
	}
	if err := h.remove(h.staging(n), "files"); err != nil {
		return err
	}
	if err := h.prune(); err != nil {
		return err
	}
	if err := store.Release(h.Dirs, n); err != nil {
		return err
	}
	return h.remove(filepath.Dir(h.staging(n)), n)
}

// remove removes an entry of a directory of ours with all that is below; neither has
// to be there.
func (h *Host) remove(dir string, name guest.Name) error {
	d, err := file.OpenDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer d.Close()
	return d.RemoveAll(string(name))
}

// prune removes images that nobody needs: those made for one guest that no spec refers
// to, and of those that can be made again from this host all but the newest of their
// method. Images of a build that has not written its spec yet are in use and stay.
func (h *Host) prune() error {
	images, err := h.pool().List()
	if err != nil {
		return err
	}
	newest := map[string]time.Time{}
	for _, im := range images {
		if im.Cache && im.Made.After(newest[im.Method]) {
			newest[im.Method] = im.Made
		}
	}
	var refs map[string][]guest.Name
	for _, im := range images {
		if im.Guest == "" && (!im.Cache || im.Made.Equal(newest[im.Method])) {
			continue
		}
		if refs == nil {
			if refs, err = h.referers(); err != nil {
				return nil // nobody can tell now, some later time will do
			}
		}
		if len(refs[im.Name]) > 0 {
			continue
		}
		err := h.pool().Remove(im.Name, nil)
		if err != nil && !errors.Is(err, guest.ErrBusy) && !errors.Is(err, pool.ErrNoImage) {
			return err
		}
	}
	return nil
}

// referers tells which guests' specs name each image. A spec that cannot be read
// might name any image: then it is an error.
func (h *Host) referers() (map[string][]guest.Name, error) {
	all, err := store.All(h.Dirs.Config)
	if err != nil {
		return nil, err
	}
	out := map[string][]guest.Name{}
	for _, e := range all {
		if e.Err != nil {
			return nil, e.Err
		}
		for _, l := range e.Spec.Root.Lower {
			out[l] = append(out[l], e.Name)
		}
	}
	return out, nil
}

func exists(path string) (bool, error) {
	_, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// runs tells whether a process of the guest lives.
func (h *Host) runs(n guest.Name) (bool, error) {
	cg, err := cgroup.Find()
	if err != nil {
		return false, err
	}
	g, err := cg.Open(filepath.Join(h.Dirs.Cgroup, string(n)))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer g.Close()
	return g.Populated()
}

// idBase is the host id of the guest's root; spec has its defaults.
func idBase(spec *guest.Spec) uint32 {
	if spec.Userns == guest.UsernsNone {
		return 0
	}
	return spec.IDBase
}

// root opens the layers of a guest's root; dir is where its own files are.
func (h *Host) root(spec *guest.Spec, dir string) (*layer.Root, error) {
	if spec.Root.Kind == guest.RootDir {
		return layer.Open(filepath.Join(dir, "root"), nil, idBase(spec))
	}
	lowers, err := h.lowers(spec)
	if err != nil {
		return nil, err
	}
	return layer.Open(filepath.Join(dir, "upper"), lowers, idBase(spec))
}

// lowers gives the directories of a guest's shared trees.
func (h *Host) lowers(spec *guest.Spec) (out []string, err error) {
	for _, l := range spec.Root.Lower {
		if !filepath.IsAbs(l) {
			if l, err = h.pool().Tree(l); err != nil {
				return nil, err
			}
		}
		out = append(out, l)
	}
	return out, nil
}

// identity is what the spec says of who the guest is; spec has its defaults.
func (h *Host) identity(spec *guest.Spec) (identity.Identity, error) {
	id := identity.Identity{Hostname: spec.Hostname}
	if len(spec.Network.Addresses) > 0 {
		id.Address = spec.Network.Addresses[0].Addr()
	}
	r, err := identity.HostResolver(filepath.Dir(h.Dirs.Etc), spec.Network.Mode == guest.NetHost)
	if spec.Network.DNS != nil { // [] is none at all
		r.Servers = spec.Network.DNS
	}
	if spec.Network.Search != nil {
		r.Search = spec.Network.Search
	}
	id.Resolver = r
	return id, err
}

// Reidentify writes a guest's host name, hosts file and resolv.conf again, after its
// spec was changed. The guest should be stopped: what is beneath a mounted overlay
// must not be changed.
func (h *Host) Reidentify(_ context.Context, n guest.Name) error {
	spec, err := store.Load(h.Dirs.Spec(n))
	if err != nil {
		return err
	}
	return h.reidentify(n, spec, h.Dirs.Guest(n))
}

func (h *Host) reidentify(n guest.Name, spec *guest.Spec, dir string) error {
	full := spec.WithDefaults(n)
	id, err := h.identity(&full)
	if err != nil {
		return err
	}
	r, err := h.root(&full, dir)
	if err != nil {
		return err
	}
	defer r.Close()
	return errors.Join(id.ApplyName(r), id.ApplyResolver(r))
}
