package shared

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"syscall"

	"vserver/fault"
	"vserver/guest"
)

// Attributes of an address, and what they can hold: linux/if_addr.h.
const (
	ifaLabel     = 3
	ifaBroadcast = 4
	ifaCacheInfo = 6
	ifaFlags     = 8
	ifaMetric    = 9  // IFA_RT_PRIORITY, 4.18
	ifaProto     = 11 // 5.18
	noPrefix     = 0x200
	forever      = 1<<32 - 1
	loopback     = 1 // number of lo in every namespace
)

// header is the fixed part of a message.
type header []byte

// Len is the number of bytes.
func (h header) Len() int { return len(h) }

// Serialize gives the bytes.
func (h header) Serialize() []byte { return h }

// ifaddrmsg is the header of an address.
func ifaddrmsg(p netip.Prefix, scope uint8, index int) header {
	h := header{family(p.Addr()), uint8(p.Bits()), 0, scope}
	return binary.NativeEndian.AppendUint32(h, uint32(index))
}

func family(a netip.Addr) byte {
	if a.Is4() {
		return syscall.AF_INET
	}
	return syscall.AF_INET6
}

// put gives the host an address for a guest, and says where.
func (c *conn) put(w Want, a guest.Address) (spot, error) {
	if a.NoDev {
		return c.present(a)
	}
	if a.VLAN {
		if err := c.makeVLAN(a); err != nil {
			return spot{}, err
		}
	}
	if a.Tun != "" {
		if err := c.makeTun(w, a); err != nil {
			return spot{}, err
		}
	}
	at, err := c.place(a)
	if err == nil {
		err = c.raise(at)
	}
	if err == nil {
		err = c.add(w.XID, a, at)
	}
	if err != nil && a.Tun != "" { // by no address it would be found
		if index, _, none := c.link(a.Dev); none == nil {
			err = errors.Join(err, c.dropUnused(w.XID, index))
		}
	}
	if err == nil && at.routed() {
		err = c.addRoute(w.XID, syscall.RT_TABLE_MAIN, a.Prefix.Masked(), netip.Addr{}, at.index)
	}
	return at, err
}

// add adds an address to a link.
func (c *conn) add(xid guest.XID, a guest.Address, at spot) error {
	m := c.message(syscall.RTM_NEWADDR, syscall.NLM_F_CREATE|syscall.NLM_F_EXCL|syscall.NLM_F_ACK,
		ifaddrmsg(at.prefix, scope(a.Scope), at.index))
	m.bytes(syscall.IFA_LOCAL, a.Addr().AsSlice())
	m.bytes(syscall.IFA_ADDRESS, at.prefix.Addr().AsSlice())
	m.number(ifaMetric, c.mark(xid))
	m.bytes(ifaProto, []byte{protocol})
	if a.Addr().Is4() {
		if brd := broadcast(a, at.prefix); brd.IsValid() {
			m.bytes(ifaBroadcast, brd.AsSlice())
		}
		if a.Name != "" {
			m.bytes(ifaLabel, append([]byte(at.name+":"+a.Name), 0))
		}
	} else {
		m.deprecated()
	}
	switch err := m.do(); {
	case errors.Is(err, syscall.EEXIST):
		return c.there(a)
	case errors.Is(err, syscall.EACCES) && a.Addr().Is6():
		return at.lacksIPv6(a)
	case err != nil:
		return fmt.Errorf("address %s dev %s: %w", a.Prefix, at.name, err)
	}
	if a.Addr().Is4() && at.prefix.Bits() < 31 && at.index != loopback {
		return promote(at.name)
	}
	return nil
}

// there is the error for an address that the host or another guest has.
func (c *conn) there(a guest.Address) error {
	var owner guest.XID
	if err := c.addresses(func(h held, m uint32) {
		if x := guest.XID(m & 0xffff); h.Addr() == a.Addr() && m == c.mark(x) {
			owner = x
		}
	}); err == nil && owner != 0 {
		return fault.Hint(fmt.Errorf("address %s: is that of the guest with xid %d: %w", a.Prefix, owner, guest.ErrBusy), "vserver list")
	}
	return fault.Hint(fmt.Errorf("address %s: is there already: %w", a.Prefix, guest.ErrBusy),
		"if the guest shall have what the host has, write nodev behind it in network.addresses; see `ip address show`")
}

// deprecated asks for no check for duplicates, that the host should not choose the
// address by itself, and for no route of the prefix: with different metrics the kernel
// makes one for each guest and forgets all but one of them.
func (m *message) deprecated() {
	m.number(ifaFlags, syscall.IFA_F_NODAD|noPrefix)
	info := binary.NativeEndian.AppendUint32(nil, 0) // preferred
	info = binary.NativeEndian.AppendUint32(info, forever)
	m.bytes(ifaCacheInfo, append(info, make([]byte, 8)...))
}

// scope turns a word that has been checked into the kernel's number.
func scope(word string) uint8 {
	switch word {
	case "", "global":
		return syscall.RT_SCOPE_UNIVERSE
	case "link":
		return syscall.RT_SCOPE_LINK
	case "host":
		return syscall.RT_SCOPE_HOST
	case "site":
		return syscall.RT_SCOPE_SITE
	}
	n, _ := strconv.ParseUint(word, 10, 8)
	return uint8(n)
}

// broadcast is the broadcast address that an address is put with; not valid for none.
func broadcast(a guest.Address, p netip.Prefix) netip.Addr {
	if brd, err := netip.ParseAddr(a.Broadcast); err == nil {
		return brd
	}
	if p.Bits() > 30 {
		return netip.Addr{}
	}
	b := p.Masked().Addr().As4()
	host := uint32(1)<<(32-p.Bits()) - 1
	return netip.AddrFrom4([4]byte(binary.BigEndian.AppendUint32(nil, binary.BigEndian.Uint32(b[:])|host)))
}

// spot is where an address goes.
type spot struct {
	index     int
	name      string
	prefix    netip.Prefix // of the address, or of its peer
	connected bool         // the link has the prefix already, not by a guest
	down      bool
}

// lacksIPv6 is the error for an address that the link has no room for.
func (s spot) lacksIPv6(a guest.Address) error {
	return fault.Hint(fmt.Errorf("address %s dev %s: the link has no IPv6: %w", a.Prefix, s.name, syscall.EACCES),
		"`sysctl net.ipv6.conf."+s.name+".disable_ipv6=0`")
}

// place finds the link for an address.
func (c *conn) place(a guest.Address) (spot, error) {
	way, err := c.way(a.Addr())
	if err == nil && way.kind == syscall.RTN_LOCAL {
		err = c.there(a)
	}
	if err != nil {
		return spot{}, err
	}
	s := spot{index: loopback, name: "lo", prefix: netip.PrefixFrom(a.Addr(), a.Addr().BitLen())}
	switch {
	case a.Dev != "":
		var up bool
		if s.index, up, err = c.link(a.Dev); err != nil {
			return spot{}, err
		}
		s.name, s.prefix, s.down = a.Dev, linkedAt(s.index, a), !up
	case way.onlink():
		if s.name, err = c.linkName(way.index); err != nil {
			return spot{}, err
		}
		s.index, s.prefix = way.index, a.Prefix
	}
	s.connected = way.onlink() && way.index == s.index && way.metric>>24 != protocol
	return s, nil
}

// linkedAt is the prefix that a link has by an address: lo takes all of one for its own.
func linkedAt(index int, a guest.Address) netip.Prefix {
	if index == loopback {
		return netip.PrefixFrom(a.Addr(), a.Addr().BitLen())
	}
	return a.Linked()
}

// routed tells whether the prefix needs a route of its own: IPv4's come with the
// addresses.
func (s spot) routed() bool {
	return !s.connected && s.index != loopback && s.prefix.Addr().Is6() && s.prefix.Bits() < 128
}

// present sees to it that the host has an address.
func (c *conn) present(a guest.Address) (spot, error) {
	way, err := c.way(a.Addr())
	if err == nil && way.kind != syscall.RTN_LOCAL {
		err = absent(a)
	}
	return spot{index: way.index, prefix: a.Prefix, connected: true}, err
}

// absent is the error for an address that the host should have, and has not.
func absent(a guest.Address) error {
	return fault.Hint(fmt.Errorf("address %s: nodev, but the host has it not: %w", a.Addr(), guest.ErrInvalid),
		"name its link in network.addresses instead, as dev eth0; see `ip address show`")
}

// promote keeps the other addresses of a prefix on a link when the first of it goes.
func promote(link string) error {
	path := "/proc/sys/net/ipv4/conf/" + link + "/promote_secondaries"
	was, err := os.ReadFile(path)
	if err != nil || strings.TrimSpace(string(was)) != "0" {
		return err
	}
	return os.WriteFile(path, []byte("1"), 0)
}

// Loopback is the address that a guest's ::1 stands for: IPv6 has no 127.0.0.0/8, so
// each has one of a unique local prefix ("vserv" in ASCII, never seen outside).
func Loopback(xid guest.XID) netip.Addr {
	return netip.AddrFrom16([16]byte{0xfd, 'v', 's', 'e', 'r', 'v', 0, 0x7f, 14: byte(xid >> 8), 15: byte(xid)})
}

// putLoopback gives the host a guest's IPv6 loopback, unless it has no IPv6. It is there
// already when an earlier start came to nothing, or when another installation has a
// guest of this number: then it is refused, as all else that follows from the number
// would be both's.
func (c *conn) putLoopback(xid guest.XID) error {
	p := netip.PrefixFrom(Loopback(xid), 128)
	m := c.message(syscall.RTM_NEWADDR, syscall.NLM_F_CREATE|syscall.NLM_F_EXCL|syscall.NLM_F_ACK, ifaddrmsg(p, syscall.RT_SCOPE_HOST, loopback))
	m.bytes(syscall.IFA_LOCAL, p.Addr().AsSlice())
	m.bytes(syscall.IFA_ADDRESS, p.Addr().AsSlice())
	m.number(ifaMetric, c.mark(xid))
	m.bytes(ifaProto, []byte{protocol})
	m.deprecated()
	switch err := m.do(); {
	case errors.Is(err, syscall.EACCES), errors.Is(err, syscall.EOPNOTSUPP), errors.Is(err, syscall.EAFNOSUPPORT), errors.Is(err, syscall.ENODEV):
		return nil
	case errors.Is(err, syscall.EEXIST):
		return c.ownLoopback(xid)
	case err != nil:
		return fmt.Errorf("address %s dev lo: %w", p, err)
	}
	return nil
}

// ownLoopback refuses a loopback that is there for somebody else.
func (c *conn) ownLoopback(xid guest.XID) error {
	foreign := false
	err := c.addresses(func(a held, m uint32) { foreign = foreign || a.Addr() == Loopback(xid) && m != c.mark(xid) })
	if err != nil || !foreign {
		return err
	}
	return fault.Hint(fmt.Errorf("another installation has xid %d in this network: %w", xid, guest.ErrBusy),
		"`vserver NAME set xid=NUMBER` gives one of the two another")
}

// held is an address that the host has for a guest.
type held struct {
	netip.Prefix
	index int
	scope byte
}

// held lists the addresses that bear a guest's mark.
func (c *conn) held(xid guest.XID) (out []held, err error) {
	err = c.addresses(func(a held, m uint32) {
		if m == c.mark(xid) {
			out = append(out, a)
		}
	})
	return out, err
}

// addresses calls each for what is ours, with the mark.
func (c *conn) addresses(each func(held, uint32)) error {
	const size = 8 // of struct ifaddrmsg
	return c.dump(syscall.RTM_GETADDR, syscall.RTM_NEWADDR, make(header, size), size, func(h []byte, attrs map[uint16][]byte) {
		ip := attrs[syscall.IFA_LOCAL]
		if ip == nil {
			ip = attrs[syscall.IFA_ADDRESS]
		}
		addr, ok := netip.AddrFromSlice(ip)
		if p := attrs[ifaProto]; ok && len(p) == 1 && p[0] == protocol {
			each(held{netip.PrefixFrom(addr, int(h[1])), int(binary.NativeEndian.Uint32(h[4:])), h[3]}, number(attrs[ifaMetric]))
		}
	})
}

// takeAll takes the addresses of a guest from the host, and tells whether another
// installation has a guest of this number.
func (c *conn) takeAll(xid guest.XID) (foreign bool, err error) {
	var list []held
	err = c.addresses(func(a held, m uint32) {
		if m == c.mark(xid) {
			list = append(list, a)
		} else if a.Addr() == Loopback(xid) {
			foreign = true
		}
	})
	if err != nil {
		return false, fmt.Errorf("addresses: %w", err)
	}
	var errs []error
	for _, a := range list {
		errs = append(errs, c.drop(xid, a))
	}
	for _, index := range links(list) {
		errs = append(errs, c.dropLink(xid, index))
	}
	return foreign, errors.Join(errs...)
}

// take takes one address of a guest from the host, if it was put there for it.
func (c *conn) take(xid guest.XID, addr netip.Addr) error {
	list, err := c.held(xid)
	if err != nil {
		return fmt.Errorf("addresses: %w", err)
	}
	for _, a := range list {
		if a.Addr() == addr {
			return errors.Join(c.drop(xid, a), c.dropUnused(xid, a.index))
		}
	}
	return nil
}

// drop takes an address from its link, and before it the route that came with it.
func (c *conn) drop(xid guest.XID, a held) error {
	if (spot{index: a.index, prefix: a.Prefix}).routed() {
		if err := c.removeRoute(xid, a.Masked(), a.index); err != nil {
			return err
		}
	}
	m := c.message(syscall.RTM_DELADDR, syscall.NLM_F_ACK, ifaddrmsg(a.Prefix, a.scope, a.index))
	m.bytes(syscall.IFA_LOCAL, a.Addr().AsSlice())
	if err := m.do(); err != nil && !errors.Is(err, syscall.EADDRNOTAVAIL) && !errors.Is(err, syscall.ENODEV) {
		return fmt.Errorf("address %s: %w", a.Prefix, err)
	}
	return nil
}
