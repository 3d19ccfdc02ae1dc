package host

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
	"vserver/ncontext"
	"vserver/ncontext/shared"
	"vserver/store"
)

// NetOptions are the ways to change a guest's addresses.
type NetOptions struct {
	Save bool // in the spec as well
	Kill bool // close the sockets on an address that is taken
}

// NetAddresses gives the addresses that a guest has, or will have when it starts.
func (h *Host) NetAddresses(n guest.Name) ([]guest.Address, error) {
	if there, err := exists(h.Dirs.Spec(n)); err != nil || !there {
		return nil, fault.New(string(n), "net", errors.Join(err, h.absent(n)))
	}
	if running, err := h.runs(n); err == nil && running {
		if was, err := h.readNote(n); err == nil && was != nil && was.Mode == guest.NetShared {
			return was.Addrs, nil
		}
	}
	spec, err := h.Load(n)
	if err == nil {
		_, err = h.chooseAddress(spec)
	}
	if err != nil {
		return nil, fault.New(string(n), "net", err)
	}
	return spec.Network.Addresses, nil
}

// NetAdd gives a guest one more address, which counts for all it does from now on. Of a
// guest that does not run only the spec can be changed.
func (h *Host) NetAdd(n guest.Name, a guest.Address, o NetOptions) error {
	add := func(list []guest.Address) ([]guest.Address, error) {
		if slices.ContainsFunc(list, func(b guest.Address) bool { return b.Addr() == a.Addr() }) {
			return nil, fmt.Errorf("address %s: %w", a.Addr(), guest.ErrExists)
		}
		return append(slices.Clone(list), a), nil
	}
	return fault.New(string(n), "net", h.changeNet(n, o, "+="+a.String(), add, func(r *run) error {
		w := ncontext.Want(r.network())
		if err := shared.Put(w, a); err != nil {
			return err
		}
		// The address is kept to the guest's rules before the guest has it.
		err := ncontext.Refresh(r.network())
		if err == nil {
			err = r.again()
		}
		if err != nil {
			return errors.Join(err, shared.Take(r.spec.XID, a.Addr()))
		}
		return nil
	}))
}

// NetDel takes an address from a guest. Sockets on it are heard of no more; they are
// closed if asked.
func (h *Host) NetDel(n guest.Name, a netip.Addr, o NetOptions) error {
	var gone guest.Address
	del := func(list []guest.Address) ([]guest.Address, error) {
		i := slices.IndexFunc(list, func(b guest.Address) bool { return b.Addr() == a })
		if i < 0 {
			return nil, fmt.Errorf("address %s: the guest has it not: %w", a, guest.ErrInvalid)
		}
		gone = list[i]
		return slices.Delete(slices.Clone(list), i, i+1), nil
	}
	return fault.New(string(n), "net", h.changeNet(n, o, "-=", del, func(r *run) error {
		if err := r.again(); err != nil {
			return err
		}
		errs := []error{ncontext.Refresh(r.network())}
		if o.Kill {
			var groups []uint64
			if gone.NoDev { // others may have sockets there too
				groups = r.groups()
			}
			_, err := shared.Kill(a, groups)
			errs = append(errs, err)
		}
		return errors.Join(append(errs, shared.Take(r.spec.XID, a))...)
	}))
}

// changeNet changes the list of a guest's addresses in its spec, if asked, and in the
// guest, if it runs. op is the change in the words of settings, for "-=" without the
// address as the spec has it.
func (h *Host) changeNet(n guest.Name, o NetOptions, op string, change func([]guest.Address) ([]guest.Address, error), do func(*run) error) error {
	if there, err := exists(h.Dirs.Spec(n)); err != nil || !there {
		return errors.Join(err, h.absent(n))
	}
	if err := h.changeRunning(n, change, do); err != nil && !(o.Save && errors.Is(err, guest.ErrStopped)) {
		if errors.Is(err, guest.ErrStopped) {
			err = fault.Hint(err, "`vserver "+string(n)+" net add ADDRESS --save` counts from the next start")
		}
		return err
	}
	if !o.Save {
		return nil
	}
	spec, err := store.Load(h.Dirs.Spec(n))
	if err != nil {
		return err
	}
	list, err := change(spec.Network.Addresses)
	if errors.Is(err, guest.ErrExists) {
		return nil // saved before
	}
	if err != nil {
		return err
	}
	if op == "-=" {
		for _, a := range spec.Network.Addresses {
			if !slices.Contains(list, a) {
				op += a.String()
			}
		}
	}
	_, err = h.Set(n, []string{"network.addresses" + op})
	return err
}

// changeRunning is changeNet for the guest that runs.
func (h *Host) changeRunning(n guest.Name, change func([]guest.Address) ([]guest.Address, error), do func(*run) error) error {
	unlock, err := h.lock(n)
	if err != nil {
		return err
	}
	defer unlock()
	if running, err := h.runs(n); err != nil || !running {
		return errors.Join(err, guest.ErrStopped)
	}
	was, err := h.readNote(n)
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
	r, err := h.remains(n)
	if err != nil {
		return err
	}
	r.spec.Network.Addresses = list
	if problems := r.spec.Validate(); len(problems) > 0 {
		return problems[0]
	}
	if err := do(r); err != nil {
		return err
	}
	was.Addrs = list
	err = was.replace(h.notePath(n))
	if was.Hidden {
		err = errors.Join(err, showChange(was.PID, before, list))
	}
	return err
}

// again tells the programs what the guest has now.
func (r *run) again() error {
	g := r.network()
	var st syscall.Stat_t
	if err := syscall.Stat(r.groupPath(), &st); err != nil {
		return &fs.PathError{Op: "stat", Path: r.groupPath(), Err: err}
	}
	g.Cgroup = st.Ino
	_, err := ncontext.Enclose(g)
	return err
}

func (r *run) groupPath() string { return filepath.Join(r.cg.Unified.Mount, r.h.group(r.name)) }

// groups gives the numbers of the guest's control group and of those below it.
func (r *run) groups() (out []uint64) {
	filepath.WalkDir(r.groupPath(), func(path string, e fs.DirEntry, err error) error {
		var st syscall.Stat_t
		if err == nil && e.IsDir() && syscall.Stat(path, &st) == nil {
			out = append(out, st.Ino)
		}
		return nil
	})
	return append(out, 0)
}

// sharedStatus fills in what the programs say of a guest of mode shared that runs. When
// one that holds guests in is missing, the network of all is shut here and now.
func (h *Host) sharedStatus(st *condition, was *note) {
	st.Addresses = nil
	for _, a := range was.Addrs {
		st.Addresses = append(st.Addresses, a.Prefix)
	}
	var err error
	if st.Net, err = h.netStatus(st.Cgroup); err != nil {
		st.Problem = "network: " + err.Error()
	}
}

// mendOthers gives the guests of mode shared that run what they had, after programs were
// missing and have come back with this guest's start.
func (r *run) mendOthers() error {
	names, err := r.h.Names()
	if err != nil {
		return err
	}
	var errs []error
	for _, n := range names {
		was, err := r.h.readNote(n)
		if err != nil || was == nil || was.Mode != guest.NetShared || n == r.name {
			continue
		}
		if alive, err := r.h.runs(n); err != nil || !alive {
			continue
		}
		other, err := r.h.remains(n)
		if err == nil {
			err = other.again()
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("network of %s: %w", n, err))
		}
	}
	return errors.Join(errs...)
}

func (h *Host) netStatus(group string) (*guest.NetStatus, error) {
	set, err := shared.Find(h.Dirs)
	if errors.Is(err, guest.ErrNotFound) {
		return nil, errors.New("the programs are gone, nothing holds the guest in; start any guest of mode shared, or restart this one")
	}
	if err != nil {
		return nil, err
	}
	defer set.Close()
	var st syscall.Stat_t
	if err := syscall.Stat(group, &st); err != nil {
		return nil, &fs.PathError{Op: "stat", Path: group, Err: err}
	}
	if err := set.Exposed(); err != nil {
		return nil, errors.Join(fmt.Errorf("is shut until a guest of mode shared starts: %w", err), set.Shut())
	}
	s, err := set.Stats(st.Ino)
	if err != nil {
		return nil, err
	}
	return ncontext.Status(s), nil
}
