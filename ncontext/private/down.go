package private

import (
	"errors"
	"fmt"
	"slices"
	"syscall"

	"github.com/vishvananda/netlink"

	"vserver/guest"
	"vserver/ncontext/firewall"
	"vserver/ncontext/private/port"
	"vserver/ncontext/private/route"
	"vserver/ncontext/private/rtm"
)

// Down takes back what Up made for the guest of this number on the host, in whatever
// state it is, and what guests that ended by themselves have left: routes, and
// proxies for addresses that no guest has. It succeeds when there is nothing. Links
// end with their namespaces.
func Down(xid guest.XID, dirs guest.Dirs) error {
	host, err := netlink.NewHandle(syscall.NETLINK_ROUTE)
	if err != nil {
		return fmt.Errorf("netlink: %w", err)
	}
	defer host.Close()
	index := 0
	switch link, err := host.LinkByName(Link(xid)); {
	case err == nil:
		index = link.Attrs().Index
	case !errors.As(err, new(netlink.LinkNotFoundError)):
		return fmt.Errorf("link %s: %w", Link(xid), err)
	}
	var errs []error
	for _, f := range []family{ipv4(), ipv6()} {
		errs = append(errs, sweep(host, f, index))
	}
	errs = append(errs, route.Down(host, xid), leave(host, xid, dirs))
	if err := firewall.Down(xid); !errors.Is(err, guest.ErrUnsupported) { // else nobody ever was there
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// leave takes a guest from its bridge: the bridge, if it is ours and has no other
// port, and the rules of the port. A guest without such rules was at no bridge: they
// are the first to come and the last to go.
func leave(host *netlink.Handle, xid guest.XID, dirs guest.Dirs) error {
	if there, err := port.Guarded(Link(xid)); err != nil || !there {
		return err
	}
	unlock, err := lock(dirs)
	if err != nil {
		return err
	}
	defer unlock()
	left, err := port.Others(Link(xid))
	if err != nil {
		return err
	}
	links, err := dump(host.LinkList)
	if err != nil {
		return fmt.Errorf("links: %w", err)
	}
	var errs []error
	for _, b := range links {
		// A port of a guest without rules is of one that ended, too: the kernel is slow
		// to remove it.
		busy := func(l netlink.Link) bool {
			a := l.Attrs()
			return a.MasterIndex == b.Attrs().Index && (a.Group != port.Group || slices.Contains(left, a.Name))
		}
		if !isOurs(b) || slices.ContainsFunc(links, busy) {
			continue
		}
		if err := host.LinkDel(b); err != nil && !errors.As(err, new(netlink.LinkNotFoundError)) && !errors.Is(err, syscall.ENODEV) {
			errs = append(errs, fmt.Errorf("bridge %s: %w", b.Attrs().Name, err))
		}
	}
	return errors.Join(append(errs, port.Unguard(Link(xid), len(left) == 0))...)
}

// sweep removes the routes by a link, and the proxies for what is not routed to any
// guest. It asks for the proxies first: a guest that starts meanwhile has its route
// before its proxy, and would be taken for dead the other way round.
func sweep(host *netlink.Handle, f family, index int) error {
	list, err := dump(func() ([]rtm.Proxy, error) { return rtm.Proxies(f.number) })
	if err != nil {
		return fmt.Errorf("proxies of %s: %w", f.sysctl, err)
	}
	routes, err := dump(func() ([]netlink.Route, error) {
		return host.RouteListFiltered(f.number, &netlink.Route{Protocol: rtm.Protocol}, netlink.RT_FILTER_PROTOCOL)
	})
	if err != nil {
		return fmt.Errorf("routes of %s: %w", f.sysctl, err)
	}
	var errs []error
	alive := map[string]bool{}
	for _, r := range routes {
		if r.LinkIndex != index || index == 0 {
			alive[string(r.Dst.IP.To16())] = true
			continue
		}
		if err := host.RouteDel(&r); err != nil && !errors.Is(err, syscall.ESRCH) {
			errs = append(errs, fmt.Errorf("route %s: %w", r.Dst, err))
		}
	}
	for _, p := range list {
		if alive[string(p.IP.To16())] {
			continue
		}
		gone := &netlink.Neigh{LinkIndex: p.Link, Family: f.number, IP: p.IP, Flags: netlink.NTF_PROXY}
		if err := host.NeighDel(gone); err != nil && !errors.Is(err, syscall.ENOENT) {
			errs = append(errs, fmt.Errorf("proxy %s: %w", p.IP, err))
		}
	}
	return errors.Join(errs...)
}

// dump asks again when the kernel says that its answer changed under it: guests come
// and go all the time.
func dump[T any](ask func() ([]T, error)) (list []T, err error) {
	for range 20 {
		if list, err = ask(); !errors.Is(err, netlink.ErrDumpInterrupted) && !errors.Is(err, syscall.EINTR) {
			break
		}
	}
	return list, err
}
