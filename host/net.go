package host

import (
	"errors"
	"net/netip"

	"vserver/fault"
	"vserver/guest"
	"vserver/host/config"
	"vserver/host/network"
	"vserver/host/state"
	"vserver/store"
)

// NetOptions are the ways to change a guest's addresses.
type NetOptions struct {
	Save bool // in the spec as well
	Kill bool // close the sockets on an address that is taken
}

// NetAddresses gives the addresses that a guest has, or will have when it starts.
func (h *Host) NetAddresses(n guest.Name) ([]guest.Address, error) {
	list, err := network.Addresses(h.Dirs, n)
	return list, fault.New(string(n), "net", err)
}

// NetAdd gives a guest one more address, which counts for all it does from now on. Of a
// guest that does not run only the spec can be changed.
func (h *Host) NetAdd(n guest.Name, a guest.Address, o NetOptions) error {
	return fault.New(string(n), "net", h.changeNet(n, o,
		func() error { return network.Add(h.Dirs, n, a) },
		func(list []guest.Address) (string, error) {
			_, err := network.With(list, a)
			return "+=" + a.String(), err
		}))
}

// NetDel takes an address from a guest. Sockets on it are heard of no more; they are
// closed if asked.
func (h *Host) NetDel(n guest.Name, a netip.Addr, o NetOptions) error {
	return fault.New(string(n), "net", h.changeNet(n, o,
		func() error { return network.Del(h.Dirs, n, a, o.Kill) },
		func(list []guest.Address) (string, error) {
			gone, _, err := network.Without(list, a)
			return "-=" + gone.String(), err
		}))
}

// changeNet changes a guest that runs, and the list of addresses in its spec, if asked:
// change is that in the words of settings, for the list there is.
func (h *Host) changeNet(n guest.Name, o NetOptions, live func() error, change func([]guest.Address) (string, error)) error {
	if there, err := store.Exists(h.Dirs.Spec(n)); err != nil || !there {
		return errors.Join(err, state.Absent(h.Dirs, n))
	}
	if err := live(); err != nil && !(o.Save && errors.Is(err, guest.ErrStopped)) {
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
	words, err := change(spec.Network.Addresses)
	if errors.Is(err, guest.ErrExists) {
		return nil // saved before
	}
	if err != nil {
		return err
	}
	_, err = config.Set(h.Dirs, n, []string{"network.addresses" + words})
	return fault.New(string(n), "set", err)
}
