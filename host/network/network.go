// Package network is a guest's network context over its life: what of it is made and
// undone by a start, changed while the guest runs, told by its status, and what somebody
// looks after meanwhile.
package network

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"vserver/guest"
	"vserver/host/state"
	"vserver/kernel/cgroup"
	"vserver/kernel/ns"
	"vserver/ncontext"
	"vserver/ncontext/facade"
	"vserver/ncontext/shared"
	"vserver/store"
)

// Guest is the network of one guest. Undoing follows from the exported fields alone, so
// that a later process can do it.
type Guest struct {
	Dirs guest.Dirs
	Name guest.Name
	Spec *guest.Spec // defaults filled in; a guest that names no address has one of Pool
	Pool shared.Pool // of a guest that may have an address of it
	// Any has Disclose undo networks of all modes: it is not known what the guest had.
	Any bool

	mount string // of cgroup v2
}

// Of gives the network of a guest, of whose spec the defaults are filled in. It chooses
// an address of the pool for one that names none and has the host for its network or its
// router.
func Of(cg cgroup.Host, d guest.Dirs, n guest.Name, spec *guest.Spec) (*Guest, error) {
	pool, err := choose(d, spec)
	return &Guest{Dirs: d, Name: n, Spec: spec, Pool: pool, mount: cg.Unified.Mount}, err
}

// left is the network of a guest as it was started.
func left(d guest.Dirs, n guest.Name) (*Guest, error) {
	cg, err := cgroup.Find()
	if err != nil {
		return nil, err
	}
	started, _ := state.Started(d, n)
	spec := started.WithDefaults(n)
	return Of(cg, d, n, &spec)
}

// choose gives a guest one of the pool if it names none.
func choose(d guest.Dirs, spec *guest.Spec) (shared.Pool, error) {
	n := &spec.Network
	if n.Mode != guest.NetShared && !n.Routed() {
		return shared.Pool{}, nil
	}
	pool, err := shared.ReadPool(d.AddressPool())
	if err == nil && n.Pooled() && spec.XID != 0 {
		a := pool.Address(spec.XID)
		if n.Routed() { // on a link of the guest's own
			a = guest.Address{Prefix: a.Prefix}
		}
		n.Addresses = []guest.Address{a}
	}
	return pool, err
}

// context is the guest as package ncontext takes it.
func (g *Guest) context() *ncontext.Guest {
	return &ncontext.Guest{Name: g.Name, Spec: g.Spec, Dirs: g.Dirs, Pool: g.Pool, Base: g.Spec.FirstID(), Netns: -1, Others: g.others}
}

// Up connects the guest, of whose first process the number is pid. The warning is what
// does not work though the guest can run.
func (g *Guest) Up(pid int) (warning, err error) {
	c := g.context()
	if g.Spec.Network.OwnNet() {
		netns, err := ns.Open(pid, "net")
		if err != nil {
			return nil, err
		}
		defer netns.Close()
		c.Netns = int(netns.Fd())
	}
	return ncontext.Up(c)
}

// Check gives the error that Up would end with for a guest that runs, once it has ended.
func (g *Guest) Check() error { return ncontext.Check(g.context()) }

// Down undoes Up, from the names of things alone.
func (g *Guest) Down() error { return ncontext.Down(g.context(), g.Spec.Network.Mode) }

// Enclose has the programs know a guest with this control group before it runs: none
// may make a socket that they do not know what to do with, not even the first one for
// its own loopback.
func (g *Guest) Enclose(group *cgroup.Group) error {
	c := g.context()
	var err error
	if c.Cgroup, err = inode(group.FD()); err != nil {
		return err
	}
	mended, err := ncontext.Enclose(c)
	if err == nil && mended {
		err = g.mendOthers()
	}
	return err
}

// Disclose undoes Enclose. It is the undoing of every guest: of one whose network is not
// known to be what its spec says now, all kinds are taken down.
func (g *Guest) Disclose() error {
	c := g.context()
	if g.Any {
		if err := ncontext.Down(c, ""); err != nil {
			return err
		}
	}
	var st syscall.Stat_t
	err := syscall.Stat(g.groupPath(), &st)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	c.Cgroup = st.Ino
	return ncontext.Release(c)
}

// Show puts the addresses of a guest whose sockets are handed in where it looks for
// them: into its own network namespace, that of its process pid.
func (g *Guest) Show(pid int) error {
	netns, err := ns.Open(pid, "net")
	if err != nil {
		return err
	}
	defer netns.Close()
	list, index := g.Spec.Network.Addresses, 0
	if len(list) > 0 {
		if index, err = shared.LinkOf(list[0].Addr()); err != nil {
			return err
		}
	}
	return facade.Show(int(netns.Fd()), list, index)
}

func (g *Guest) groupPath() string { return filepath.Join(g.mount, g.Dirs.Group(g.Name)) }

// inode gives the number by which the kernel knows a control group.
func inode(fd int) (uint64, error) {
	var st syscall.Stat_t
	if err := syscall.Fstat(fd, &st); err != nil {
		return 0, os.NewSyscallError("fstat", err)
	}
	return st.Ino, nil
}

// others gives the control groups of guests that run, or are about to, and are not held
// to addresses.
func (g *Guest) others() (out []uint64) {
	names, err := store.Names(g.Dirs.Config)
	if err != nil {
		return nil
	}
	for _, n := range names {
		var st syscall.Stat_t
		if n == g.Name || syscall.Stat(filepath.Join(g.mount, g.Dirs.Group(n)), &st) != nil {
			continue
		}
		if mode(g.Dirs, n) != guest.NetShared {
			out = append(out, st.Ino)
		}
	}
	return out
}

// mode is the network that a guest was started with, or will be.
func mode(d guest.Dirs, n guest.Name) guest.NetMode {
	if was, err := state.ReadNote(d, n); err == nil && was != nil && was.Mode != "" {
		return was.Mode
	}
	spec, err := state.Load(d, n)
	if err != nil {
		return guest.NetShared
	}
	return spec.Network.Mode
}
