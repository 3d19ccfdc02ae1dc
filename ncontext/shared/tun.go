package shared

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"vserver/fault"
	"vserver/guest"
	"vserver/kernel/tun"
)

// aliasPrefix begins the alias of a link that was made for a guest; its mark is behind it.
const aliasPrefix = "vserver "

func (c *conn) alias(xid guest.XID) string {
	return aliasPrefix + strconv.FormatUint(uint64(c.mark(xid)), 16)
}

// makeTun makes the link of an address if it is not there, for a user and group of the guest.
// One of the host's own is used as it is, and stays.
func (c *conn) makeTun(w Want, a guest.Address) error {
	index, _, err := c.link(a.Dev)
	if err == nil {
		alias, err := c.aliasOf(index)
		if err == nil && strings.HasPrefix(alias, aliasPrefix) && alias != c.alias(w.XID) {
			err = fault.Hint(fmt.Errorf("dev %s: is another guest's: %w", a.Dev, guest.ErrBusy), "`ip -d link show "+a.Dev+"`")
		}
		return err
	}
	if !errors.Is(err, guest.ErrInvalid) {
		return err
	}
	f, err := tun.Make(a.Dev, a.Tun == guest.Tap)
	if errors.Is(err, syscall.ENOENT) || errors.Is(err, syscall.ENODEV) {
		return fault.Hint(fmt.Errorf("%w: %w", err, guest.ErrUnsupported), "`modprobe tun`")
	}
	if err != nil {
		return err
	}
	defer f.Close()
	// Marked first, so that what stays can be found.
	if index, _, err = c.link(a.Dev); err != nil {
		return err
	}
	m := c.message(syscall.RTM_NEWLINK, syscall.NLM_F_ACK, linkHeader(index))
	m.bytes(syscall.IFLA_IFALIAS, []byte(c.alias(w.XID)))
	if err := m.do(); err != nil {
		return fmt.Errorf("dev %s: alias: %w", a.Dev, err)
	}
	return tun.Keep(f, w.id(a.Owner, a.Group == ""), w.id(a.Group, false))
}

// id is the host's number of one of the guest's; -1 for none, or its root's if it must have one.
func (w Want) id(text string, root bool) int {
	n, err := strconv.ParseUint(text, 10, 16)
	if err != nil && !root {
		return -1
	}
	return int(w.Base) + int(n)
}

// linkHeader is the header of a message about a link.
func linkHeader(index int) header {
	h := make(header, syscall.SizeofIfInfomsg)
	binary.NativeEndian.PutUint32(h[4:], uint32(index))
	return h
}

// aliasOf gives the alias of a link, "" for one that has none or is not there.
func (c *conn) aliasOf(index int) (string, error) {
	list, err := c.message(syscall.RTM_GETLINK, 0, linkHeader(index)).Execute(syscall.NETLINK_ROUTE, syscall.RTM_NEWLINK)
	if errors.Is(err, syscall.ENODEV) {
		return "", nil
	}
	if err != nil || len(list) == 0 || len(list[0]) < syscall.SizeofIfInfomsg {
		return "", fmt.Errorf("link %d: %w", index, errors.Join(err, guest.ErrInvalid))
	}
	attrs, err := attributes(list[0][syscall.SizeofIfInfomsg:])
	return strings.TrimRight(string(attrs[syscall.IFLA_IFALIAS]), "\x00"), err
}

// dropLink takes a link away that was made for the guest, and no other.
func (c *conn) dropLink(xid guest.XID, index int) error {
	alias, err := c.aliasOf(index)
	if err != nil || alias != c.alias(xid) {
		return err
	}
	err = c.message(syscall.RTM_DELLINK, syscall.NLM_F_ACK, linkHeader(index)).do()
	if errors.Is(err, syscall.ENODEV) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("link %d: delete: %w", index, err)
	}
	return nil
}

// dropUnused is dropLink for a link that the guest has no address on any more.
func (c *conn) dropUnused(xid guest.XID, index int) error {
	list, err := c.held(xid)
	if err != nil || slices.Contains(links(list), index) {
		return err
	}
	return c.dropLink(xid, index)
}

// links are the links that addresses are on, but for lo.
func links(list []held) (out []int) {
	for _, a := range list {
		if a.index != loopback && !slices.Contains(out, a.index) {
			out = append(out, a.index)
		}
	}
	return out
}
