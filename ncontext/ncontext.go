package ncontext

import (
	"context"
	"errors"
	"fmt"
	"net/netip"

	"vserver/guest"
	"vserver/ncontext/firewall"
	"vserver/ncontext/private"
	"vserver/ncontext/shape"
	"vserver/ncontext/shared"
)

// Guest is whom a network is made for.
type Guest struct {
	Name   guest.Name
	Spec   *guest.Spec // defaults filled in, the address of the pool too
	Dirs   guest.Dirs
	Pool   shared.Pool
	Base   uint32 // host id of its root
	Cgroup uint64 // number of its control group, by which the programs know it; 0 when it has none
	Netns  int    // descriptor of its own network namespace, if its mode has one
	// Others gives the control groups of guests that run with a network of their own or
	// the host's: they must not lose it to the programs of the first shared guest.
	Others func() []uint64
	// Resolve is told the name servers that come with a lease, unless it is nil.
	Resolve func(servers []netip.Addr) error
	// Moved is told that a lease has given another address, or taken it, unless it is nil.
	Moved func()
}

// Up connects the guest to the network: addresses and routes on the host, or the
// guest's own namespace. What it made before an error is taken back by Down and the end
// of the namespace. The warning is what does not work though the guest can run.
func Up(g *Guest) (warning, err error) {
	switch g.Spec.Network.Mode {
	case guest.NetPrivate:
		if err := private.Up(private.Guest{Spec: g.Spec, Name: g.Name, Netns: g.Netns, Dirs: g.Dirs}); err != nil {
			return nil, err
		}
		return g.hide(), shape.Up(g.shaping())
	case guest.NetShared:
		return g.share()
	}
	return nil, nil
}

// Down takes back what Up made on the host in the mode, or in any when it is "", in
// whatever state it is. It succeeds when there is nothing.
func Down(g *Guest, mode guest.NetMode) error {
	var errs []error
	foreign := false
	if mode == guest.NetShared || mode == "" {
		var err error
		foreign, err = shared.Down(shared.WorldOf(g.Dirs), g.Spec.XID)
		errs = append(errs, err)
	}
	if !foreign { // the rest goes by the number alone
		errs = append(errs, unshape(g.Spec.XID))
	}
	if mode == guest.NetPrivate || mode == "" {
		errs = append(errs, private.Down(g.Spec.XID, g.Dirs))
	}
	if !foreign && (mode == guest.NetShared || mode == "") {
		errs = append(errs, firewall.Down(g.Spec.XID))
	}
	return errors.Join(errs...)
}

// share gives the host what it shall have of a guest of mode shared.
func (g *Guest) share() (warning, err error) {
	if err := shared.Up(Want(g)); err != nil {
		return nil, err
	}
	warning, err = g.filter(firewall.Up)
	if err != nil {
		return warning, err
	}
	return warning, shape.Up(g.shaping())
}

// filter gives the host's packet filter what a guest of mode shared has there, its rules as
// tell does.
func (g *Guest) filter(tell func(firewall.Guest) error) (warning, err error) {
	var addrs []netip.Addr
	var six netip.Addr
	for _, a := range g.Spec.Network.Addresses {
		addrs = append(addrs, a.Addr())
		if a.Addr().Is6() && !six.IsValid() {
			six = a.Addr()
		}
	}
	warning = g.hide()
	if caps, err := g.Spec.Network.NetCaps(); err == nil && caps&guest.RawICMP != 0 {
		if err := firewall.Ping(g.Spec.Network.Lback, six); err != nil {
			warning = errors.Join(warning, fmt.Errorf("the guest cannot ping: %w", err))
		}
	}
	return warning, tell(firewall.Of(g.Spec, "", addrs))
}

// hide hides a guest that has an address of the pool behind the host's.
func (g *Guest) hide() error {
	for _, a := range g.Spec.Network.Addresses {
		if !g.Pool.Has(a.Addr()) {
			continue
		}
		if err := firewall.Masquerade(g.Pool.Prefix); err != nil {
			return fmt.Errorf("the guest reaches this host only: %w", err)
		}
		return nil
	}
	return nil
}

// Want is what the host shall have of a guest of mode shared.
func Want(g *Guest) shared.Want {
	n := g.Spec.Network
	return shared.Want{
		World: shared.WorldOf(g.Dirs), XID: g.Spec.XID, Addresses: n.Addresses, Gateway: n.Gateway, Table: n.Table,
		Base: g.Base, Groups: g.Base + guest.IDs - 1,
	}
}

// Enclose has the programs know the guest: one of mode shared gets its addresses and
// nothing else, any other is let pass. It comes before the guest's first process runs,
// and again whenever its addresses change: there is no moment between the old ones and
// the new. mended tells that programs had to be put there: guests that were enclosed
// before must be again.
func Enclose(g *Guest) (mended bool, err error) {
	if g.Spec.Network.Mode != guest.NetShared {
		if !shared.Attached(g.Dirs) {
			return false, nil
		}
		set, err := shared.Find(g.Dirs)
		if err != nil {
			return false, err
		}
		defer set.Close()
		return false, set.Put(g.Cgroup, &shared.Context{Open: true})
	}
	c, err := g.context()
	if err != nil {
		return false, err
	}
	set, err := shared.Attach(g.Dirs, g.Others)
	if err != nil {
		return false, err
	}
	defer set.Close()
	return set.Mended, set.Put(g.Cgroup, c)
}

// Release takes from the programs what they know of the guest. It succeeds when they
// know nothing.
func Release(g *Guest) error {
	if g.Cgroup == 0 || !shared.Attached(g.Dirs) {
		return nil
	}
	set, err := shared.Find(g.Dirs)
	if errors.Is(err, guest.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	defer set.Close()
	return set.Delete(g.Cgroup)
}

// Steer has the datagrams for guests of several addresses, and for ports that the host has
// as well, find their sockets, until ctx
// ends. Somebody who is awake must do so, once in a network namespace; see
// shared.Set.Steer. It returns at once when no guest shares the host's network.
func Steer(ctx context.Context, dirs guest.Dirs) error {
	set, err := shared.Find(dirs)
	if errors.Is(err, guest.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	defer set.Close()
	return set.Steer(ctx, keep)
}

// context is what the guest may do in the host's network.
func (g *Guest) context() (*shared.Context, error) {
	n := &g.Spec.Network
	flags, err := n.NetFlags()
	if err != nil {
		return nil, err
	}
	caps, err := n.NetCaps()
	if err != nil {
		return nil, err
	}
	c := shared.NewContext(g.Spec.XID, n.Addresses, flags, caps)
	c.Lback = n.Lback
	c.Sockets, c.Connections = uint32(n.Sockets), uint32(n.Conns)
	return c, nil
}

// Obstacle is a chain of other software that may drop what is forwarded to guests.
type Obstacle = firewall.Obstacle

// Obstacles gives the chains that may drop what is forwarded to private guests.
func Obstacles() ([]Obstacle, error) { return firewall.Obstacles() }
