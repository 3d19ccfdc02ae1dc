package guest

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// Publish is ports of the host that lead to a guest. It is written
//
//	[HOST:]PORT[-LAST]:[GUEST:]PORT[-LAST][/tcp|/udp]
//
// with IPv6 addresses in brackets: 8080:80, 198.51.100.1:53:53/udp,
// [2001:db8::1]:80:80/tcp, 10000-10099:192.0.2.10:20000-20099/udp.
type Publish struct {
	Host      netip.Addr // the zero Addr is every address of the host
	First     uint16     // ports of the host, from First to Last
	Last      uint16
	Guest     netip.Addr // the zero Addr is the guest's first one of each family
	GuestPort uint16     // where First leads; those above First lead above it
	UDP       bool       // else TCP
}

// ParsePublish reads a line of network.publish.
func ParsePublish(line string) (p Publish, err error) {
	fail := func(format string, args ...any) (Publish, error) {
		return Publish{}, fmt.Errorf("%q: "+format+": %w", append(append([]any{line}, args...), ErrInvalid)...)
	}
	rest, proto, said := strings.Cut(line, "/")
	switch {
	case said && proto == "udp":
		p.UDP = true
	case said && proto != "tcp":
		return fail("want tcp or udp behind the '/'")
	}
	var sides [2]struct {
		addr        netip.Addr
		first, last uint16
	}
	for i := range sides {
		s := &sides[i]
		if s.addr, rest, err = cutAddr(rest); err != nil {
			return fail("%w", err)
		}
		var ports string
		if ports, rest, said = strings.Cut(rest, ":"); said == (i == 1) {
			return fail("want the host's port and the guest's, as 8080:80/tcp")
		}
		if s.first, s.last, err = portRange(ports); err != nil {
			return fail("%w", err)
		}
	}
	h, g := sides[0], sides[1]
	switch {
	case g.first != g.last && g.last-g.first != h.last-h.first:
		return fail("has %d ports of the host for %d of the guest", int(h.last-h.first)+1, int(g.last-g.first)+1)
	case int(g.first)+int(h.last-h.first) > 65535:
		return fail("there are no ports above 65535")
	case h.addr.IsValid() && g.addr.IsValid() && h.addr.Is4() != g.addr.Is4():
		return fail("IPv4 does not lead to IPv6, nor IPv6 to IPv4")
	}
	p.Host, p.First, p.Last, p.Guest, p.GuestPort = h.addr, h.first, h.last, g.addr, g.first
	return p, nil
}

// cutAddr cuts an address and its ':' off, if there is one.
func cutAddr(s string) (a netip.Addr, rest string, err error) {
	text, rest, ok := strings.Cut(s, ":")
	if strings.HasPrefix(s, "[") {
		text, rest, ok = strings.Cut(s[1:], "]:")
		if !ok {
			return a, s, fmt.Errorf("want an IPv6 address as [2001:db8::1]")
		}
	} else if !ok || !strings.Contains(text, ".") {
		return a, s, nil
	}
	a, err = netip.ParseAddr(text)
	if err != nil || a.Zone() != "" || a.Is4In6() || a.IsMulticast() || a.Is6() != strings.HasPrefix(s, "[") {
		return a, s, fmt.Errorf("%s: want an address without anything else, IPv6 in brackets", text)
	}
	if a.IsUnspecified() || a.Is6() && a.IsLoopback() {
		return a, s, fmt.Errorf("%s: leave it out for every address of the host", text)
	}
	return a, rest, nil
}

// portRange reads a port or a range of them.
func portRange(s string) (first, last uint16, err error) {
	low, high, ranged := strings.Cut(s, "-")
	if !ranged {
		high = low
	}
	var n [2]uint64
	for i, text := range []string{low, high} {
		if n[i], err = strconv.ParseUint(text, 10, 16); err != nil || n[i] == 0 || strconv.FormatUint(n[i], 10) != text {
			return 0, 0, fmt.Errorf("%s: want a port from 1 to 65535, or two with a '-' between", strconv.Quote(s))
		}
	}
	if n[0] > n[1] {
		return 0, 0, fmt.Errorf("%s: the first port is above the last", s)
	}
	return uint16(n[0]), uint16(n[1]), nil
}

// String writes what ParsePublish reads, in its shortest form.
func (p Publish) String() string {
	var b strings.Builder
	side := func(a netip.Addr, first, last uint16) {
		if a.Is6() {
			b.WriteString("[" + a.String() + "]:")
		} else if a.IsValid() {
			b.WriteString(a.String() + ":")
		}
		b.WriteString(strconv.Itoa(int(first)))
		if first != last {
			b.WriteString("-" + strconv.Itoa(int(last)))
		}
	}
	side(p.Host, p.First, p.Last)
	b.WriteByte(':')
	side(p.Guest, p.GuestPort, p.GuestPort+(p.Last-p.First))
	if p.UDP {
		return b.String() + "/udp"
	}
	return b.String() + "/tcp"
}

// MarshalText writes p as String does.
func (p Publish) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// UnmarshalText reads p as ParsePublish does.
func (p *Publish) UnmarshalText(text []byte) (err error) {
	*p, err = ParsePublish(string(text))
	return err
}

// Overlaps tells whether the two want the same port of the host.
func (p Publish) Overlaps(q Publish) bool {
	return p.UDP == q.UDP && p.First <= q.Last && q.First <= p.Last &&
		(p.Host == q.Host || !p.Host.IsValid() && !q.Host.IsValid())
}
