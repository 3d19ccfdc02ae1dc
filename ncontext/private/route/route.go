// Package route leads what a routed guest sends to a routing table of its own, so that
// guests of one host leave by different routers. For guest 8 with 192.0.2.10:
//
//	pref 11800 from 192.0.2.10 lookup main suppress_prefixlength 0 proto 118
//	pref 11800 from 192.0.2.10 lookup 1008 proto 118
//	table 1008: default via 192.0.2.254 dev eth1 proto 118 metric 0x76730008
//
// What the host's main table knows better than by its default route, other guests above
// all, goes there. The rules bear the metric as the group of links that they pass over
// (suppress_ifgroup), which no link is in: by it they are found again.
package route

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"

	"github.com/vishvananda/netlink"

	"vserver/fault"
	"vserver/guest"
	"vserver/ncontext/private/rtm"
)

// priority is the place of the rules, as package ncontext/shared has it: before the
// main table, after what others use by habit.
const priority = 11800

// mark is what the rules and routes of a guest bear.
func mark(xid guest.XID) int { return 0x7673<<16 | int(xid) }

// Up makes the rules for a guest's addresses, and the routes by its gateways in its
// table. What it made before an error is taken back by Down.
func Up(h *netlink.Handle, xid guest.XID, addrs, gateways []netip.Addr, table uint32) error {
	if table == 0 {
		return nil
	}
	for _, a := range addrs {
		for _, to := range []int{syscall.RT_TABLE_MAIN, int(table)} {
			r := rule(xid, a, to)
			if to == syscall.RT_TABLE_MAIN {
				r.SuppressPrefixlen = 0
			}
			if err := h.RuleAdd(r); err != nil && !errors.Is(err, syscall.EEXIST) {
				return fmt.Errorf("rule from %s lookup %d: %w", a, to, err)
			}
		}
	}
	for _, gw := range gateways {
		if err := gateway(h, xid, gw, table); err != nil {
			return err
		}
	}
	return nil
}

func rule(xid guest.XID, a netip.Addr, table int) *netlink.Rule {
	r := netlink.NewRule()
	r.Family, r.Priority, r.Table = netlink.FAMILY_V4, priority, table
	if a.Is6() {
		r.Family = netlink.FAMILY_V6
	}
	r.Src = &net.IPNet{IP: a.AsSlice(), Mask: net.CIDRMask(a.BitLen(), a.BitLen())}
	r.SuppressIfgroup, r.Protocol = mark(xid), rtm.Protocol
	return r
}

// Router finds the link of the host that a router is on.
func Router(h *netlink.Handle, gw netip.Addr) (index int, err error) {
	ways, err := h.RouteGet(gw.AsSlice())
	if err != nil || len(ways) == 0 || len(ways[0].Gw) > 0 || ways[0].Type == syscall.RTN_LOCAL {
		return 0, fault.Hint(fmt.Errorf("network.gateway: %s: is on no link of the host: %w", gw, errors.Join(err, guest.ErrInvalid)),
			"see `ip route get "+gw.String()+"`")
	}
	return ways[0].LinkIndex, nil
}

// gateway makes a default route.
func gateway(h *netlink.Handle, xid guest.XID, gw netip.Addr, table uint32) error {
	index, err := Router(h, gw)
	if err != nil {
		return err
	}
	zero := &net.IPNet{IP: make(net.IP, gw.BitLen()/8), Mask: net.CIDRMask(0, gw.BitLen())}
	route := &netlink.Route{
		Dst: zero, Gw: gw.AsSlice(), LinkIndex: index, Flags: int(netlink.FLAG_ONLINK),
		Table: int(table), Protocol: rtm.Protocol, Priority: mark(xid),
	}
	if err := h.RouteReplace(route); err != nil {
		return fmt.Errorf("route via %s table %d: %w", gw, table, err)
	}
	return nil
}

// Down takes the rules and routes of a guest back. It succeeds when there are none.
func Down(h *netlink.Handle, xid guest.XID) error {
	var errs []error
	for _, family := range []int{netlink.FAMILY_V4, netlink.FAMILY_V6} {
		rules, err := h.RuleList(family)
		if err != nil && !errors.Is(err, syscall.EAFNOSUPPORT) && !errors.Is(err, netlink.ErrDumpInterrupted) {
			return fmt.Errorf("rules: %w", err)
		}
		// The first rule of an address is the first to come and the last to go. The other
		// has no mark (netlink leaves it out for tables above 255), and the same address.
		for _, first := range rules {
			if first.Protocol != rtm.Protocol || first.SuppressIfgroup != mark(xid) || first.Table != syscall.RT_TABLE_MAIN {
				continue
			}
			for _, r := range rules {
				if r.Protocol == rtm.Protocol && r.Priority == priority && r.Table != first.Table && r.Src.String() == first.Src.String() {
					errs = append(errs, empty(h, xid, family, r.Table), remove(h, r))
				}
			}
			errs = append(errs, remove(h, first))
		}
	}
	return errors.Join(errs...)
}

func remove(h *netlink.Handle, r netlink.Rule) error {
	if err := h.RuleDel(&r); err != nil && !errors.Is(err, syscall.ENOENT) {
		return fmt.Errorf("rule from %s lookup %d: %w", r.Src, r.Table, err)
	}
	return nil
}

// empty takes the routes of a guest out of a table.
func empty(h *netlink.Handle, xid guest.XID, family, table int) error {
	filter := &netlink.Route{Table: table, Protocol: rtm.Protocol}
	routes, err := h.RouteListFiltered(family, filter, netlink.RT_FILTER_TABLE|netlink.RT_FILTER_PROTOCOL)
	if err != nil {
		return fmt.Errorf("routes of table %d: %w", table, err)
	}
	var errs []error
	for _, r := range routes {
		if r.Priority != mark(xid) {
			continue
		}
		if err := h.RouteDel(&r); err != nil && !errors.Is(err, syscall.ESRCH) {
			errs = append(errs, fmt.Errorf("route %s: %w", r, err))
		}
	}
	return errors.Join(errs...)
}
