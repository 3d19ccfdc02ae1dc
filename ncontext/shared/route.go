package shared

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"syscall"

	"github.com/vishvananda/netlink/nl"

	"vserver/fault"
	"vserver/guest"
)

const (
	// priority is the place of our rules: before the host's main table (32766) and
	// after what others use by habit (systemd's and VPNs' stand below 6000).
	priority = 11800
	// onlink takes a router for a neighbour whatever the routes say: RTNH_F_ONLINK.
	onlink = 4
	// fraProtocol is FRA_PROTOCOL of linux/fib_rules.h, 4.17.
	fraProtocol = 21
)

// route makes the rules that lead what a guest sends to its own table, and the routes
// there. The rules come first: they are what leads to the routes when both are to be
// taken back.
func (c *conn) route(w Want, at []spot) error {
	if w.Table == 0 {
		return nil
	}
	for _, a := range w.Addresses {
		if err := c.rule(w, a.Addr()); err != nil {
			return err
		}
	}
	for _, gw := range w.Gateway {
		if err := c.gateway(w, at, gw); err != nil {
			return err
		}
	}
	return nil
}

func (c *conn) rule(w Want, a netip.Addr) error {
	m := c.ruleMessage(syscall.RTM_NEWRULE, syscall.NLM_F_CREATE|syscall.NLM_F_EXCL|syscall.NLM_F_ACK, w.XID, w.Table, a)
	if err := m.do(); err != nil && !errors.Is(err, syscall.EEXIST) {
		return fmt.Errorf("rule from %s lookup %d: %w", a, w.Table, err)
	}
	return nil
}

// frActToTable is FR_ACT_TO_TBL of linux/fib_rules.h.
const frActToTable = 1

func (c *conn) ruleMessage(kind, flags int, xid guest.XID, table uint32, a netip.Addr) *message {
	m := c.message(kind, flags, rtmsg(family(a), 0, byte(a.BitLen()), 0, 0, 0, frActToTable, 0))
	m.bytes(nl.FRA_SRC, a.AsSlice())
	m.number(nl.FRA_PRIORITY, priority)
	m.number(nl.FRA_TABLE, table)
	m.number(nl.FRA_SUPPRESS_IFGROUP, c.mark(xid))
	m.bytes(fraProtocol, []byte{protocol})
	return m
}

// gateway makes the routes of a family in the guest's table: the prefixes of its own
// addresses on their links, and the default. None of them names a source address, so
// that they stay when the host changes its own.
func (c *conn) gateway(w Want, at []spot, gw netip.Addr) error {
	for _, s := range at {
		if !s.among(gw) {
			continue
		}
		if err := c.addRoute(w.XID, w.Table, s.prefix.Masked(), netip.Addr{}, s.index); err != nil {
			return err
		}
	}
	index, err := c.router(at, gw, 0)
	if err != nil {
		return err
	}
	return c.addRoute(w.XID, w.Table, netip.PrefixFrom(gw, 0).Masked(), gw, index)
}

// among tells whether the guest has neighbours by an address, of a router's family.
func (s spot) among(gw netip.Addr) bool {
	a := s.prefix.Addr()
	return a.Is4() == gw.Is4() && s.index != loopback && s.prefix.Bits() < a.BitLen()
}

// router finds the link of a router: that of an address of the guest's, or else the one that
// the host reaches it by, unless by a route of this metric.
func (c *conn) router(at []spot, gw netip.Addr, but uint32) (index int, err error) {
	for _, s := range at {
		if s.among(gw) && s.prefix.Contains(gw) {
			index = s.index
		}
	}
	if index != 0 {
		return index, nil
	}
	way, err := c.way(gw)
	if err == nil && (!way.onlink() || but != 0 && way.metric == but) {
		err = fault.Hint(fmt.Errorf("gateway %s: is on no link of the host: %w", gw, guest.ErrInvalid),
			"it should be within a prefix of one of network.addresses; see `ip route get "+gw.String()+"`")
	}
	return way.index, err
}

func (c *conn) addRoute(xid guest.XID, table uint32, dst netip.Prefix, via netip.Addr, index int) error {
	scope, flags := byte(syscall.RT_SCOPE_LINK), uint32(0)
	if via.IsValid() {
		scope, flags = syscall.RT_SCOPE_UNIVERSE, onlink
	}
	m := c.message(syscall.RTM_NEWROUTE, syscall.NLM_F_CREATE|syscall.NLM_F_REPLACE|syscall.NLM_F_ACK,
		rtmsg(family(dst.Addr()), byte(dst.Bits()), 0, 0, protocol, scope, syscall.RTN_UNICAST, flags))
	if dst.Bits() > 0 {
		m.bytes(syscall.RTA_DST, dst.Addr().AsSlice())
	}
	if via.IsValid() {
		m.bytes(syscall.RTA_GATEWAY, via.AsSlice())
	}
	m.number(syscall.RTA_OIF, uint32(index))
	m.number(syscall.RTA_TABLE, table)
	m.number(syscall.RTA_PRIORITY, c.mark(xid))
	if err := m.do(); err != nil {
		return fmt.Errorf("route %s table %d: %w", dst, table, err)
	}
	return nil
}

// removeRoute takes the route of a prefix back that came with an address.
func (c *conn) removeRoute(xid guest.XID, dst netip.Prefix, index int) error {
	m := c.message(syscall.RTM_DELROUTE, syscall.NLM_F_ACK,
		rtmsg(family(dst.Addr()), byte(dst.Bits()), 0, syscall.RT_TABLE_MAIN, protocol, syscall.RT_SCOPE_NOWHERE, 0, 0))
	m.bytes(syscall.RTA_DST, dst.Addr().AsSlice())
	m.number(syscall.RTA_OIF, uint32(index))
	m.number(syscall.RTA_PRIORITY, c.mark(xid))
	if err := m.do(); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("route %s: %w", dst, err)
	}
	return nil
}

// rule is one of ours.
type rule struct {
	from  netip.Addr
	table uint32
}

// rules lists a guest's rules of both families.
func (c *conn) rules(xid guest.XID) (out []rule, err error) {
	for _, f := range []byte{syscall.AF_INET, syscall.AF_INET6} {
		err := c.dump(syscall.RTM_GETRULE, syscall.RTM_NEWRULE, rtmsg(f, 0, 0, 0, 0, 0, 0, 0), rtmsgSize, func(_ []byte, attrs map[uint16][]byte) {
			from, ok := netip.AddrFromSlice(attrs[nl.FRA_SRC])
			p := attrs[fraProtocol]
			if ok && len(p) == 1 && p[0] == protocol && number(attrs[nl.FRA_SUPPRESS_IFGROUP]) == c.mark(xid) {
				out = append(out, rule{from, number(attrs[nl.FRA_TABLE])})
			}
		})
		if err != nil && !errors.Is(err, syscall.EAFNOSUPPORT) && !errors.Is(err, syscall.EOPNOTSUPP) {
			return nil, fmt.Errorf("rules: %w", err)
		}
	}
	return out, nil
}

// unroute takes the rules of a guest back, and before each what the guest has in the
// table it leads to.
func (c *conn) unroute(xid guest.XID) error {
	list, err := c.rules(xid)
	if err != nil {
		return err
	}
	var errs []error
	done := map[rule]bool{}
	for _, r := range list {
		of := rule{netip.PrefixFrom(r.from, 0).Masked().Addr(), r.table}
		if !done[of] {
			done[of] = true
			errs = append(errs, c.unrouteTable(xid, family(r.from), r.table))
		}
		errs = append(errs, c.removeRule(xid, r))
	}
	return errors.Join(errs...)
}

// unrule takes the rule of one address back.
func (c *conn) unrule(xid guest.XID, a netip.Addr) error {
	list, err := c.rules(xid)
	if err != nil {
		return err
	}
	for _, r := range list {
		if r.from == a {
			return c.removeRule(xid, r)
		}
	}
	return nil
}

func (c *conn) removeRule(xid guest.XID, r rule) error {
	err := c.ruleMessage(syscall.RTM_DELRULE, syscall.NLM_F_ACK, xid, r.table, r.from).do()
	if err != nil && !errors.Is(err, syscall.ENOENT) {
		return fmt.Errorf("rule from %s lookup %d: %w", r.from, r.table, err)
	}
	return nil
}

// unrouteTable takes the routes of a guest out of a table.
func (c *conn) unrouteTable(xid guest.XID, family byte, table uint32) error {
	var found []header
	var all []map[uint16][]byte
	err := c.dump(syscall.RTM_GETROUTE, syscall.RTM_NEWROUTE, rtmsg(family, 0, 0, 0, 0, 0, 0, 0), rtmsgSize, func(h []byte, attrs map[uint16][]byte) {
		if number(attrs[syscall.RTA_TABLE]) == table && h[5] == protocol && number(attrs[syscall.RTA_PRIORITY]) == c.mark(xid) {
			found, all = append(found, append(header(nil), h...)), append(all, attrs)
		}
	})
	if err != nil {
		return fmt.Errorf("routes: %w", err)
	}
	var errs []error
	for i, h := range found {
		binary.NativeEndian.PutUint32(h[8:], 0) // flags such as offloaded are no wish
		m := c.message(syscall.RTM_DELROUTE, syscall.NLM_F_ACK, h)
		for _, a := range []int{syscall.RTA_DST, syscall.RTA_GATEWAY, syscall.RTA_OIF, syscall.RTA_TABLE, syscall.RTA_PRIORITY} {
			if v := all[i][uint16(a)]; v != nil {
				m.bytes(a, v)
			}
		}
		if err := m.do(); err != nil && !errors.Is(err, syscall.ESRCH) {
			errs = append(errs, fmt.Errorf("route in table %d: %w", table, err))
		}
	}
	return errors.Join(errs...)
}
