// Package dhcp gets a guest's IPv4 address by DHCP (RFC 2131), from outside: vserverd
// holds a packet socket in the guest's network namespace, and the guest, which may not
// touch its own addresses, needs no client and no right for one.
//
// A client remembers nothing. One that begins anew, because vserverd did, asks for the
// address that the guest's link has by then. Its requests are all broadcast, those for
// renewal too: a server hears them as well, and the guest's port 68 stays the guest's.
// An address is not probed before it is taken; the server does that. Nothing is
// released at the end, when the guest's link is gone: the hardware address is always
// the same, and gets the same address again.
//
// Decided 2026-11: messages are read and written by insomniacslk/dhcp, made for the
// protocol, alive, BSD licence; its package dhcpv4 alone, which costs the command 0.7
// MB and some microseconds at its start. Its client is not used: it would take one
// socket more for each request, and wait for the kernel to close it.
package dhcp

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"

	"vserver/guest"
)

// Lease is an address for a time.
type Lease struct {
	Prefix netip.Prefix
	Routes []Route
	DNS    []netip.Addr // name servers
	Server netip.Addr
	// Until is when the address is to be given up; Renew and Rebind when the server, and
	// then any, is asked for more time.
	Renew, Rebind, Until time.Time
}

// Route is a way of the guest by a router. To is the zero Prefix's address family's
// everything for the default route: 0.0.0.0/0. Via is the zero Addr for what is on the
// link itself.
type Route struct {
	To  netip.Prefix
	Via netip.Addr
}

// Asker is who asks.
type Asker struct {
	Hardware net.HardwareAddr
	Hostname string
}

// discover asks for any address; have, if valid, is asked for by name.
func (a Asker) discover(have netip.Addr) (*dhcpv4.DHCPv4, error) {
	return a.message(dhcpv4.MessageTypeDiscover, have)
}

// request asks for the address of an offer.
func (a Asker) request(offer *dhcpv4.DHCPv4) (*dhcpv4.DHCPv4, error) {
	addr, _ := netip.AddrFromSlice(offer.YourIPAddr.To4())
	m, err := a.message(dhcpv4.MessageTypeRequest, addr)
	if err == nil {
		m.TransactionID = offer.TransactionID
		m.UpdateOption(dhcpv4.OptServerIdentifier(offer.ServerIdentifier()))
	}
	return m, err
}

// again asks for an address that is had: for its confirmation, or for more time when
// it may be used.
func (a Asker) again(have netip.Addr, bound bool) (*dhcpv4.DHCPv4, error) {
	if !bound {
		return a.message(dhcpv4.MessageTypeRequest, have)
	}
	m, err := a.message(dhcpv4.MessageTypeRequest, netip.Addr{})
	if err == nil {
		m.ClientIPAddr = have.AsSlice()
	}
	return m, err
}

// message makes a message of a type, for an address or any.
func (a Asker) message(kind dhcpv4.MessageType, addr netip.Addr) (*dhcpv4.DHCPv4, error) {
	m, err := dhcpv4.New(dhcpv4.WithMessageType(kind), dhcpv4.WithHwAddr(a.Hardware),
		dhcpv4.WithRequestedOptions(dhcpv4.OptionSubnetMask, dhcpv4.OptionRouter, dhcpv4.OptionClasslessStaticRoute, dhcpv4.OptionDomainNameServer,
			dhcpv4.OptionIPAddressLeaseTime, dhcpv4.OptionRenewTimeValue, dhcpv4.OptionRebindingTimeValue))
	if err != nil {
		return nil, fmt.Errorf("dhcp: %w", err)
	}
	// The guest's link is not there for the kernel as an address before it is asked
	// for: answers are to be broadcast.
	m.SetBroadcast()
	m.UpdateOption(dhcpv4.OptClientIdentifier(append([]byte{1}, a.Hardware...)))
	if a.Hostname != "" {
		m.UpdateOption(dhcpv4.OptHostName(a.Hostname))
	}
	if addr.IsValid() {
		m.UpdateOption(dhcpv4.OptRequestedIPAddress(addr.AsSlice()))
	}
	return m, nil
}

// Bounds of lease times: shorter ones would have us do nothing else, and longer ones
// count for ever.
const (
	minLease = 10 * time.Second
	maxLease = 10 * 365 * 24 * time.Hour
)

// leaseOf reads the answer of a server that was asked at a time.
func leaseOf(m *dhcpv4.DHCPv4, asked time.Time) (*Lease, error) {
	addr, ok := netip.AddrFromSlice(m.YourIPAddr.To4())
	mask := m.SubnetMask()
	bits, size := mask.Size()
	if mask == nil {
		bits, size = m.YourIPAddr.DefaultMask().Size()
	}
	if !ok || size != 32 || bits == 0 || addr.IsUnspecified() || addr.IsLoopback() || addr.IsMulticast() {
		return nil, fmt.Errorf("dhcp: address %s mask %s: %w", m.YourIPAddr, mask, guest.ErrInvalid)
	}
	l := &Lease{Prefix: netip.PrefixFrom(addr, bits), Routes: routesOf(m)}
	for _, ip := range m.DNS() {
		if a, ok := netip.AddrFromSlice(ip.To4()); ok && !a.IsUnspecified() && !a.IsLoopback() && !a.IsMulticast() {
			l.DNS = append(l.DNS, a)
		}
	}
	l.Server, _ = netip.AddrFromSlice(m.ServerIdentifier().To4())
	time := m.IPAddressLeaseTime(minLease)
	time = min(max(time, minLease), maxLease)
	renew, rebind := m.IPAddressRenewalTime(time/2), m.IPAddressRebindingTime(time*7/8)
	if renew <= 0 || rebind < renew || rebind >= time {
		renew, rebind = time/2, time*7/8
	}
	l.Renew, l.Rebind, l.Until = asked.Add(renew), asked.Add(rebind), asked.Add(time)
	return l, nil
}

// routesOf are the routes of an answer: its classless ones (RFC 3442), else a default
// route by its first router.
func routesOf(m *dhcpv4.DHCPv4) (out []Route) {
	for _, r := range m.ClasslessStaticRoute() {
		via, ok1 := netip.AddrFromSlice(r.Router.To4())
		to, ok2 := netip.AddrFromSlice(r.Dest.IP.To4())
		bits, size := r.Dest.Mask.Size()
		if !ok1 || !ok2 || size != 32 {
			continue
		}
		if via.IsUnspecified() {
			via = netip.Addr{}
		}
		out = append(out, Route{netip.PrefixFrom(to, bits).Masked(), via})
	}
	if routers := m.Router(); len(out) == 0 && len(routers) > 0 {
		if via, ok := netip.AddrFromSlice(routers[0].To4()); ok && !via.IsUnspecified() {
			out = append(out, Route{netip.PrefixFrom(netip.IPv4Unspecified(), 0), via})
		}
	}
	return out
}

// errRefused says that a server knows better than to let us have the address.
var errRefused = errors.New("refused by the server")
