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

// way is how the host would reach an address.
type way struct {
	kind   byte // RTN_LOCAL, ...; 0 for no way at all
	dst    netip.Prefix
	index  int // of the link
	routed bool
	metric uint32
}

// onlink tells whether the address is a neighbour on a link that has its prefix.
func (w way) onlink() bool {
	return w.kind == syscall.RTN_UNICAST && !w.routed && w.index != 0 && w.index != loopback && w.dst.Bits() > 0
}

// rtmsg is the header of a route, and of a rule.
func rtmsg(family, dst, src, table, protocol, scope, kind byte, flags uint32) header {
	h := header{family, dst, src, 0, table, protocol, scope, kind}
	return binary.NativeEndian.AppendUint32(h, flags)
}

// rtmsgSize is the size of struct rtmsg.
const rtmsgSize = 12

// fibMatch asks for the route itself and not for what comes of it: RTM_F_FIB_MATCH.
const fibMatch = 0x2000

// way asks the host's routing for an address.
func (c *conn) way(a netip.Addr) (w way, err error) {
	m := c.message(syscall.RTM_GETROUTE, 0, rtmsg(family(a), byte(a.BitLen()), 0, 0, 0, 0, 0, fibMatch))
	m.bytes(syscall.RTA_DST, a.AsSlice())
	list, err := m.Execute(syscall.NETLINK_ROUTE, syscall.RTM_NEWROUTE)
	switch {
	case errors.Is(err, syscall.ENETUNREACH), errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.EINVAL), errors.Is(err, syscall.EACCES):
		return way{}, nil // none, unreachable, blackhole, prohibited
	case err != nil:
		return way{}, fmt.Errorf("route to %s: %w", a, err)
	}
	for _, b := range list {
		if len(b) < rtmsgSize {
			continue
		}
		attrs, err := attributes(b[rtmsgSize:])
		if err != nil {
			return way{}, err
		}
		dst, ok := netip.AddrFromSlice(attrs[syscall.RTA_DST])
		if !ok {
			dst = netip.IPv6Unspecified()
			if a.Is4() {
				dst = netip.IPv4Unspecified()
			}
		}
		return way{
			kind: b[7], dst: netip.PrefixFrom(dst, int(b[1])), index: int(number(attrs[syscall.RTA_OIF])),
			routed: attrs[syscall.RTA_GATEWAY] != nil || attrs[rtaVia] != nil, metric: number(attrs[syscall.RTA_PRIORITY]),
		}, nil
	}
	return way{}, nil
}

// LinkOf gives the number of the link on which the host has an address.
func LinkOf(a netip.Addr) (int, error) {
	c, err := dial(0)
	if err != nil {
		return 0, err
	}
	defer c.close()
	w, err := c.way(a)
	return w.index, err
}

// rtaVia is RTA_VIA, a gateway of the other family.
const rtaVia = 18

// link gives the number of a link, and tells whether it is up.
func (c *conn) link(name string) (index int, up bool, err error) {
	m := c.message(syscall.RTM_GETLINK, 0, make(header, syscall.SizeofIfInfomsg))
	m.bytes(syscall.IFLA_IFNAME, append([]byte(name), 0))
	list, err := m.Execute(syscall.NETLINK_ROUTE, syscall.RTM_NEWLINK)
	if errors.Is(err, syscall.ENODEV) {
		return 0, false, fault.Hint(fmt.Errorf("dev %s: no such link: %w", name, guest.ErrInvalid), "`ip link show` lists them")
	}
	if err != nil || len(list) == 0 || len(list[0]) < syscall.SizeofIfInfomsg {
		return 0, false, fmt.Errorf("dev %s: %w", name, errors.Join(err, guest.ErrInvalid))
	}
	return int(binary.NativeEndian.Uint32(list[0][4:])), binary.NativeEndian.Uint32(list[0][8:])&syscall.IFF_UP != 0, nil
}

// raise sets the link of a spot up when it is down.
func (c *conn) raise(s spot) error {
	if !s.down {
		return nil
	}
	h := make(header, syscall.SizeofIfInfomsg)
	binary.NativeEndian.PutUint32(h[4:], uint32(s.index))
	binary.NativeEndian.PutUint32(h[8:], syscall.IFF_UP)
	binary.NativeEndian.PutUint32(h[12:], syscall.IFF_UP)
	if err := c.message(syscall.RTM_NEWLINK, syscall.NLM_F_ACK, h).do(); err != nil {
		return fmt.Errorf("dev %s: up: %w", s.name, err)
	}
	return nil
}

// linkName gives the name of a link.
func (c *conn) linkName(index int) (string, error) {
	h := make(header, syscall.SizeofIfInfomsg)
	binary.NativeEndian.PutUint32(h[4:], uint32(index))
	list, err := c.message(syscall.RTM_GETLINK, 0, h).Execute(syscall.NETLINK_ROUTE, syscall.RTM_NEWLINK)
	if err != nil || len(list) == 0 || len(list[0]) < syscall.SizeofIfInfomsg {
		return "", fmt.Errorf("link %d: %w", index, errors.Join(err, guest.ErrInvalid))
	}
	attrs, err := attributes(list[0][syscall.SizeofIfInfomsg:])
	if name := attrs[syscall.IFLA_IFNAME]; err == nil && len(name) > 1 {
		return string(name[:len(name)-1]), nil
	}
	return "", fmt.Errorf("link %d: %w", index, errors.Join(err, guest.ErrInvalid))
}

// makeVLAN makes the link of an address if it is not there.
func (c *conn) makeVLAN(a guest.Address) error {
	if _, _, err := c.link(a.Dev); err == nil || !errors.Is(err, guest.ErrInvalid) {
		return err
	}
	name, id, _ := a.VLANOf()
	index, up, err := c.link(name)
	if err == nil {
		err = c.raise(spot{index: index, name: name, down: !up})
	}
	if err != nil {
		return err
	}
	m := c.message(syscall.RTM_NEWLINK, syscall.NLM_F_CREATE|syscall.NLM_F_EXCL|syscall.NLM_F_ACK, make(header, syscall.SizeofIfInfomsg))
	m.bytes(syscall.IFLA_IFNAME, append([]byte(a.Dev), 0))
	m.number(syscall.IFLA_LINK, uint32(index))
	info := nl.NewRtAttr(syscall.IFLA_LINKINFO, nil)
	info.AddRtAttr(nl.IFLA_INFO_KIND, []byte("vlan"))
	info.AddRtAttr(nl.IFLA_INFO_DATA, nil).AddRtAttr(nl.IFLA_VLAN_ID, binary.NativeEndian.AppendUint16(nil, id))
	m.AddData(info)
	if err := m.do(); err != nil && !errors.Is(err, syscall.EEXIST) {
		return fmt.Errorf("dev %s: make: %w", a.Dev, err)
	}
	return nil
}
