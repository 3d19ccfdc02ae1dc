package host

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"vserver/guest"
	"vserver/kernel/ns"
	"vserver/ncontext"
	"vserver/ncontext/shared"
	"vserver/step"
)

// networkSteps are the steps of a start that are about the network.
func (r *run) networkSteps() []step.Step {
	var list []step.Step
	switch r.spec.Network.Mode {
	case guest.NetPrivate:
		list = append(list, step.Step{Name: "connect the private network", Do: r.networkUp, Undo: r.networkDown})
	case guest.NetShared:
		list = append(list, step.Step{Name: "give the host " + addressWords(r.spec.Network.Addresses), Do: r.networkUp, Undo: r.networkDown})
	}
	if r.spec.Network.Hidden() {
		list = append(list, step.Step{Name: "show the guest its addresses", Do: r.showAddresses})
	}
	return list
}

// encloseStep comes before the guest has a process: none may make a socket that the
// programs do not know what to do with, not even the first one for its own loopback.
func (r *run) encloseStep() step.Step {
	name := "let the network pass"
	if r.spec.Network.Mode == guest.NetShared {
		name = "keep the guest to its addresses"
	}
	return step.Step{Name: name, Do: r.enclose, Undo: r.disclose}
}

// addressWords are addresses as a line of the plan.
func addressWords(list []guest.Address) string {
	words := make([]string, len(list))
	for i, a := range list {
		words[i] = a.String()
	}
	if len(words) == 0 {
		return "no address"
	}
	return strings.Join(words, ", ")
}

// chooseAddress gives a guest in the host's network one of the pool if it names none.
func (r *run) chooseAddress() (err error) {
	r.pool, err = r.h.chooseAddress(&r.spec)
	return err
}

func (h *Host) chooseAddress(spec *guest.Spec) (shared.Pool, error) {
	n := &spec.Network
	if n.Mode != guest.NetShared {
		return shared.Pool{}, nil
	}
	pool, err := shared.ReadPool(h.Dirs.AddressPool())
	if err == nil && n.Addresses == nil && spec.XID != 0 {
		n.Addresses = []guest.Address{pool.Address(spec.XID)}
	}
	return pool, err
}

// addresses are those that the note is to hold.
func (r *run) addresses() []guest.Address {
	if r.spec.Network.Mode != guest.NetShared {
		return nil
	}
	return r.spec.Network.Addresses
}

// network is the guest as package ncontext takes it.
func (r *run) network() *ncontext.Guest {
	return &ncontext.Guest{
		Name: r.name, Spec: &r.spec, Dirs: r.h.Dirs, Pool: r.pool, Base: r.plan.Base, Netns: -1, Others: func() []uint64 { return r.h.others(r.name) },
	}
}

func (r *run) networkUp(context.Context) error {
	g := r.network()
	if r.plan.OwnNet {
		pid, err := r.child.Forked()
		if err != nil {
			return err
		}
		netns, err := ns.Open(pid, "net")
		if err != nil {
			return err
		}
		defer netns.Close()
		g.Netns = int(netns.Fd())
	}
	warning, err := ncontext.Up(g)
	return errors.Join(err, r.complain(warning))
}

func (r *run) networkDown() error { return ncontext.Down(r.network(), r.spec.Network.Mode) }

// enclose has the programs know the guest before it runs.
func (r *run) enclose(context.Context) error {
	g := r.network()
	var err error
	if g.Cgroup, err = inode(r.group.FD()); err != nil {
		return err
	}
	mended, err := ncontext.Enclose(g)
	if err == nil && mended {
		err = r.mendOthers()
	}
	return err
}

// disclose undoes enclose. It is the undoing of every guest: of one whose network is
// not known to be what its spec says now, all kinds are taken down.
func (r *run) disclose() error {
	g := r.network()
	if r.anyNet {
		if err := ncontext.Down(g, ""); err != nil {
			return err
		}
	}
	var st syscall.Stat_t
	err := syscall.Stat(r.groupPath(), &st)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	g.Cgroup = st.Ino
	return ncontext.Release(g)
}

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
func (h *Host) others(but guest.Name) (out []uint64) {
	names, err := h.Names()
	if err != nil {
		return nil
	}
	r, err := h.newRun(but, &guest.Spec{}, nil)
	if err != nil {
		return nil
	}
	for _, n := range names {
		var st syscall.Stat_t
		if n == but || syscall.Stat(filepath.Join(r.cg.Unified.Mount, h.group(n)), &st) != nil {
			continue
		}
		if h.mode(n) != guest.NetShared {
			out = append(out, st.Ino)
		}
	}
	return out
}

// mode is the network that a guest was started with, or will be.
func (h *Host) mode(n guest.Name) guest.NetMode {
	if was, err := h.readNote(n); err == nil && was != nil && was.Mode != "" {
		return was.Mode
	}
	spec, err := h.Load(n)
	if err != nil {
		return guest.NetShared
	}
	return spec.Network.Mode
}
