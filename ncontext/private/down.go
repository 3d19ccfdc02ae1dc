package private

import (
	"errors"
	"fmt"
	"syscall"

	"github.com/vishvananda/netlink"

	"vserver/guest"
)

// Down takes back what Up made for the guest of this number on the host, in whatever
// state it is, and what guests that ended by themselves have left: routes, and
// proxies for addresses that no guest has. It succeeds when there is nothing. Links
// end with their namespaces.
func Down(xid guest.XID) error {
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
	return errors.Join(errs...)
}

// sweep removes the routes by a link, and the proxies for what is not routed to any
// guest. It asks for the proxies first: a guest that starts meanwhile has its route
// before its proxy, and would be taken for dead the other way round.
func sweep(host *netlink.Handle, f family, index int) error {
	list, err := dump(func() ([]proxy, error) { return proxies(f) })
	if err != nil {
		return fmt.Errorf("proxies of %s: %w", f.sysctl, err)
	}
	routes, err := dump(func() ([]netlink.Route, error) {
		return host.RouteListFiltered(f.number, &netlink.Route{Protocol: protocol}, netlink.RT_FILTER_PROTOCOL)
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
		if alive[string(p.ip.To16())] {
			continue
		}
		gone := &netlink.Neigh{LinkIndex: p.index, Family: f.number, IP: p.ip, Flags: netlink.NTF_PROXY}
		if err := host.NeighDel(gone); err != nil && !errors.Is(err, syscall.ENOENT) {
			errs = append(errs, fmt.Errorf("proxy %s: %w", p.ip, err))
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
