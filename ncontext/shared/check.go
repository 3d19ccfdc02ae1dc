package shared

import (
	"errors"
	"net/netip"
	"os"
	"strings"
	"syscall"

	"vserver/guest"
)

// Check gives the error that Up would end with for a guest that runs, once it has ended. What
// the host has for the guest itself is not in its way. Nothing is changed.
func Check(w Want) error {
	c, err := dial(w.World)
	if err != nil {
		return err
	}
	defer c.close()
	if err := c.ownLoopback(w.XID); err != nil {
		return err
	}
	list, err := c.held(w.XID)
	if err != nil {
		return err
	}
	mine := make(map[netip.Addr]held, len(list))
	for _, h := range list {
		mine[h.Addr()] = h
	}
	at := make([]spot, len(w.Addresses))
	for i, a := range w.Addresses {
		h, own := mine[a.Addr()]
		switch {
		case own && a.NoDev:
			err = absent(a)
		case own:
			at[i], err = c.anew(a, h)
		case a.NoDev:
			at[i], err = c.present(a)
		default:
			at[i], err = c.planned(a)
		}
		if err == nil && a.Addr().Is6() && !a.NoDev && sealed(at[i].name) {
			err = at[i].lacksIPv6(a)
		}
		if err != nil {
			return err
		}
	}
	if w.Table == 0 {
		return nil
	}
	for _, gw := range w.Gateway {
		if _, err := c.router(at, gw, c.mark(w.XID)); err != nil {
			return err
		}
	}
	return nil
}

// Addresses gives those that the host has for a guest.
func Addresses(w World, xid guest.XID) ([]netip.Addr, error) {
	c, err := dial(w)
	if err != nil {
		return nil, err
	}
	defer c.close()
	list, err := c.held(xid)
	out := make([]netip.Addr, len(list))
	for i, h := range list {
		out[i] = h.Addr()
	}
	return out, err
}

// anew is where an address goes that is the guest's now: to the link that it names, or to
// where it is.
func (c *conn) anew(a guest.Address, h held) (s spot, err error) {
	s = spot{index: h.index, name: a.Dev}
	if a.Dev != "" {
		s.index, _, err = c.beneath(a)
	} else {
		s.name, err = c.linkName(h.index)
	}
	s.prefix = linkedAt(s.index, a)
	return s, err
}

// planned is place, for an address whose link is yet to be made as well.
func (c *conn) planned(a guest.Address) (spot, error) {
	if !a.VLAN && a.Tun == "" {
		return c.place(a)
	}
	index, made, err := c.beneath(a)
	if err != nil || !made {
		return c.place(a)
	}
	way, err := c.way(a.Addr())
	if err == nil && way.kind == syscall.RTN_LOCAL {
		err = c.there(a)
	}
	return spot{index: index, name: a.Dev, prefix: a.Linked()}, err
}

// beneath gives the number of the link that an address names or, if that is a VLAN to be made, of
// the one beneath; one that is made of nothing has none yet.
func (c *conn) beneath(a guest.Address) (index int, made bool, err error) {
	index, _, err = c.link(a.Dev)
	if a.Tun != "" && errors.Is(err, guest.ErrInvalid) {
		return 0, true, nil
	}
	if !a.VLAN || !errors.Is(err, guest.ErrInvalid) {
		return index, false, err
	}
	over, _, _ := a.VLANOf()
	index, _, err = c.link(over)
	return index, err == nil, err
}

// sealed tells whether a link has no IPv6.
func sealed(link string) bool {
	off, err := os.ReadFile("/proc/sys/net/ipv6/conf/" + link + "/disable_ipv6")
	return err == nil && strings.TrimSpace(string(off)) == "1"
}
