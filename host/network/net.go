package network

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"path/filepath"
	"slices"
	"syscall"

	"vserver/fault"
	"vserver/guest"
	"vserver/host/state"
	"vserver/ncontext"
	"vserver/ncontext/facade"
	"vserver/ncontext/shared"
	"vserver/store"
)

// Addresses gives the addresses that a guest has, or will have when it starts.
func Addresses(d guest.Dirs, n guest.Name) ([]guest.Address, error) {
	if there, err := store.Exists(d.Spec(n)); err != nil || !there {
		return nil, errors.Join(err, state.Absent(d, n))
	}
	if running, err := state.Runs(d, n); err == nil && running {
		if was, err := state.ReadNote(d, n); err == nil && was != nil {
			return was.Addrs, nil
		}
	}
	spec, err := state.Load(d, n)
	if err == nil {
		_, err = choose(d, spec)
	}
	if err != nil {
		return nil, err
	}
	return spec.Network.Addresses, nil
}

// Add gives a guest that runs one more address, which counts for all it does from now
// on. The error is guest.ErrStopped for one that does not run.
func Add(d guest.Dirs, n guest.Name, a guest.Address) error {
	with := func(list []guest.Address) ([]guest.Address, error) { return With(list, a) }
	return change(d, n, with, func(g *Guest) error {
		c := g.context()
		if err := shared.Put(ncontext.Want(c), a); err != nil {
			return err
		}
		// The address is kept to the guest's rules before the guest has it.
		err := ncontext.Refresh(c)
		if err == nil {
			err = g.again()
		}
		if err != nil {
			return errors.Join(err, shared.Take(shared.WorldOf(d), g.Spec.XID, a.Addr()))
		}
		return nil
	})
}

// Del takes an address from a guest that runs. Sockets on it are heard of no more; kill
// closes them. The error is guest.ErrStopped for a guest that does not run.
func Del(d guest.Dirs, n guest.Name, a netip.Addr, kill bool) error {
	var gone guest.Address
	without := func(list []guest.Address) (rest []guest.Address, err error) {
		gone, rest, err = Without(list, a)
		return rest, err
	}
	return change(d, n, without, func(g *Guest) error {
		if err := g.again(); err != nil {
			return err
		}
		errs := []error{ncontext.Refresh(g.context())}
		if kill {
			var groups []uint64
			if gone.NoDev { // others may have sockets there too
				groups = g.groups()
			}
			_, err := shared.Kill(a, groups)
			errs = append(errs, err)
		}
		return errors.Join(append(errs, shared.Take(shared.WorldOf(d), g.Spec.XID, a))...)
	})
}

// With is the list with one more address; guest.ErrExists when it is there.
func With(list []guest.Address, a guest.Address) ([]guest.Address, error) {
	if slices.ContainsFunc(list, func(b guest.Address) bool { return b.Addr() == a.Addr() }) {
		return nil, fmt.Errorf("address %s: %w", a.Addr(), guest.ErrExists)
	}
	return append(slices.Clone(list), a), nil
}

// Without is the list without an address, which it must have.
func Without(list []guest.Address, a netip.Addr) (gone guest.Address, rest []guest.Address, err error) {
	i := slices.IndexFunc(list, func(b guest.Address) bool { return b.Addr() == a })
	if i < 0 {
		return gone, nil, fmt.Errorf("address %s: the guest has it not: %w", a, guest.ErrInvalid)
	}
	return list[i], slices.Delete(slices.Clone(list), i, i+1), nil
}

// change changes the list of addresses of a guest that runs, and the guest.
func change(d guest.Dirs, n guest.Name, change func([]guest.Address) ([]guest.Address, error), do func(*Guest) error) error {
	unlock, err := state.Lock(d, n)
	if err != nil {
		return err
	}
	defer unlock()
	if running, err := state.Runs(d, n); err != nil || !running {
		return errors.Join(err, guest.ErrStopped)
	}
	was, err := state.ReadNote(d, n)
	if err != nil || was == nil {
		return errors.Join(err, guest.ErrStopped)
	}
	if was.Mode != guest.NetShared {
		return fault.Hint(fmt.Errorf("network mode %s: addresses of a running guest change in mode shared only: %w", was.Mode, guest.ErrInvalid),
			"`vserver set "+string(n)+" network.addresses+=ADDRESS`, then `vserver restart "+string(n)+"`")
	}
	before := was.Addrs
	list, err := change(before)
	if err != nil {
		return err
	}
	g, err := left(d, n)
	if err != nil {
		return err
	}
	if err := g.bounded(); err != nil {
		return err
	}
	g.Spec.Network.Addresses = list
	if problems := g.Spec.Validate(); len(problems) > 0 {
		return problems[0]
	}
	if err := do(g); err != nil {
		return err
	}
	was.Addrs = list
	err = was.Replace(state.NotePath(d, n))
	if was.Hidden {
		err = errors.Join(err, showChange(was.PID, before, list))
	}
	return err
}

// showChange shows a guest that runs, with that init, that it has other addresses than
// before.
func showChange(init int, before, addresses []guest.Address) error {
	netns, err := networkOf(init)
	if err != nil {
		return err
	}
	defer netns.Close()
	return facade.Repaint(int(netns.Fd()), before, addresses)
}

// again tells the programs what the guest has now.
func (g *Guest) again() error {
	c := g.context()
	var st syscall.Stat_t
	if err := syscall.Stat(g.groupPath(), &st); err != nil {
		return &fs.PathError{Op: "stat", Path: g.groupPath(), Err: err}
	}
	c.Cgroup = st.Ino
	_, err := ncontext.Enclose(c)
	return err
}

// Bound gives a guest that runs, in mode shared, as many sockets and connections as a network
// says. Those that it has count from when they are bounded for the first time.
func Bound(d guest.Dirs, n guest.Name, to *guest.Network) error {
	g, err := left(d, n)
	if err != nil || g.Spec.Network.Mode != guest.NetShared {
		return err
	}
	g.Spec.Network.Sockets, g.Spec.Network.Conns = to.Sockets, to.Conns
	return g.again()
}

// bounded has the guest keep what bounds its sockets and connections now, which may be lent.
func (g *Guest) bounded() error {
	var st syscall.Stat_t
	if err := syscall.Stat(g.groupPath(), &st); err != nil {
		return &fs.PathError{Op: "stat", Path: g.groupPath(), Err: err}
	}
	set, err := shared.Find(g.Dirs)
	if errors.Is(err, guest.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	defer set.Close()
	now, err := set.Stats(st.Ino)
	if errors.Is(err, guest.ErrNotFound) {
		return nil
	}
	g.Spec.Network.Sockets, g.Spec.Network.Conns = int(now.MaxSockets), int(now.MaxConnections)
	return err
}

// groups gives the numbers of the guest's control group and of those below it.
func (g *Guest) groups() (out []uint64) {
	filepath.WalkDir(g.groupPath(), func(path string, e fs.DirEntry, err error) error {
		var st syscall.Stat_t
		if err == nil && e.IsDir() && syscall.Stat(path, &st) == nil {
			out = append(out, st.Ino)
		}
		return nil
	})
	return append(out, 0)
}

// mendOthers gives the guests of mode shared that run what they had, after programs were
// missing and have come back with this guest's start.
func (g *Guest) mendOthers() error {
	names, err := store.Names(g.Dirs.Config)
	if err != nil {
		return err
	}
	var errs []error
	for _, n := range names {
		was, err := state.ReadNote(g.Dirs, n)
		if err != nil || was == nil || was.Mode != guest.NetShared || n == g.Name {
			continue
		}
		if alive, err := state.Runs(g.Dirs, n); err != nil || !alive {
			continue
		}
		other, err := left(g.Dirs, n)
		if err == nil {
			err = other.again()
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("network of %s: %w", n, err))
		}
	}
	return errors.Join(errs...)
}

// Refilter gives a running guest the firewall and the rates of its spec, for the
// addresses that it has now. One whose network is of another mode than the spec says
// waits for its next start.
func Refilter(d guest.Dirs, n guest.Name) error {
	was, err := state.ReadNote(d, n)
	if err != nil || was == nil {
		return err
	}
	spec, err := state.Load(d, n)
	if err != nil || was.Mode != spec.Network.Mode {
		return err
	}
	spec.Network.Addresses = was.Addrs
	g := &ncontext.Guest{Name: n, Spec: spec, Dirs: d, Netns: -1}
	if spec.Network.Mode == guest.NetPrivate {
		netns, err := networkOf(was.PID)
		if err != nil {
			return err
		}
		defer netns.Close()
		g.Netns = int(netns.Fd())
	}
	return ncontext.Refresh(g)
}
