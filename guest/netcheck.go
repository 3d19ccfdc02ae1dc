package guest

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

func (v *validator) network(n *Network) {
	oneOf(v, "network.mode", n.Mode)
	none := n.Mode == NetHost || n.Mode == NetNone
	if len(n.Addresses) > 0 && none {
		v.bad("network.addresses", "have no meaning with mode: %s", n.Mode)
	}
	seen := make(map[netip.Addr]bool, len(n.Addresses))
	each(v, "network.addresses", n.Addresses, func(at string, a Address) {
		if why := a.problem(); why != "" {
			v.bad(at, "%s: %s", a.Prefix, why)
		} else if seen[a.Addr()] {
			v.bad(at, "%s: is there twice", a.Addr())
		}
		seen[a.Addr()] = true
	})
	v.shared(n)
	v.link(n)
	v.traffic(n)
	v.resolver(n)
}

// shared checks what a guest in the host's network has of its own.
func (v *validator) shared(n *Network) {
	var four, six bool
	each(v, "network.gateway", n.Gateway, func(at string, a netip.Addr) {
		seen := &four
		if a.Is6() {
			seen = &six
		}
		switch {
		case !a.IsValid() || a.IsUnspecified() || a.IsMulticast() || a.IsLoopback() || a.Is4In6() || a.Zone() != "":
			v.bad(at, "%s: want the address of a router", a)
		case *seen:
			v.bad(at, "%s: there is one for this family already", a)
		}
		*seen = true
	})
	v.within("network.sockets", n.Sockets, float64(n.Sockets))
	v.within("network.connections", n.Conns, float64(n.Conns))
	v.within("network.table", n.Table, float64(n.Table))
	if slices.Contains([]uint32{253, 254, 255}, n.Table) { // RT_TABLE_DEFAULT, MAIN, LOCAL
		v.bad("network.table", "%d: is the host's own table", n.Table)
	}
	if _, err := n.NetFlags(); err != nil {
		v.words("network.flags", n.Flags, func(w []string) error { _, err := NetFlags(0).Change(w); return err })
	}
	if _, err := n.NetCaps(); err != nil {
		v.words("network.ncaps", n.NCaps, func(w []string) error { _, err := NetCaps(0).Change(w); return err })
	}
	if l := n.Lback; l.IsValid() && (!l.Is4() || !l.IsLoopback() || l.As4()[1] == 0 && l.As4()[2] == 0) {
		v.bad("network.lback", "%s: want an address of 127.0.0.0/8 above 127.0.1.0, as 127.0.8.1", l)
	}
	switch {
	case n.Netns != "" && n.Mode != NetHost:
		v.bad("network.netns", "%q: wants mode: host", n.Netns)
	case n.Netns != "" && !word(n.Netns, "._-"):
		v.bad("network.netns", "%q: want a name as `ip netns list` has them", n.Netns)
	}
	own := n.Mode == NetPrivate
	if n.Mode == "" || n.Mode == NetShared {
		return
	}
	for _, k := range []struct {
		key  string
		set  bool
		here bool // means something in private mode as well
	}{{"flags", len(n.Flags) > 0, false}, {"ncaps", len(n.NCaps) > 0, true}, {"lback", n.Lback.IsValid(), false},
		{"sockets", n.Sockets != 0, false}, {"connections", n.Conns != 0, false},
		{"gateway", len(n.Gateway) > 0, true}, {"table", n.Table != 0, true}} {
		if k.set && !(own && k.here) {
			v.bad("network."+k.key, "has no meaning with mode: %s", n.Mode)
		}
	}
}

// words checks each word of a list by itself.
func (v *validator) words(at string, list []string, check func([]string) error) {
	for i, w := range list {
		if err := check([]string{w}); err != nil {
			v.fail(index(at, i), err)
		}
	}
}

func (v *validator) resolver(n *Network) {
	each(v, "network.dns", n.DNS, func(at string, a netip.Addr) {
		if !a.IsValid() || a.IsUnspecified() || a.IsMulticast() || a.Is4In6() {
			v.bad(at, "%s: want the address of a name server", a)
		} else if a.Zone() != "" && !word(a.Zone(), "._-") {
			v.bad(at, "%q: has an odd zone", a)
		}
	})
	each(v, "network.search", n.Search, func(at, domain string) {
		if !v.text(at, domain) {
			return
		}
		if why := hostnameProblem(strings.TrimSuffix(domain, "."), 253); why != "" {
			v.bad(at, "%q: %s", domain, why)
		}
	})
}

// addressProblem says why a guest cannot have the address with that prefix; "" when
// it can.
func addressProblem(p netip.Prefix) string {
	a, host := p.Addr(), p.Addr().BitLen()-p.Bits()
	switch {
	case !p.IsValid():
		return "want an address with its prefix length, such as 192.0.2.10/24"
	case a.Is4In6():
		return "write it as IPv4: " + a.Unmap().String()
	case a.IsUnspecified() || a.Is4() && a.As4()[0] == 0:
		return "stands for no machine"
	case a.IsLoopback():
		return "is a loopback address; every guest has its own loopback anyway"
	case a.IsMulticast():
		return "is a multicast address"
	case a.IsLinkLocalUnicast():
		return "is a link-local address; the link to the host has its own"
	case p.Bits() == 0:
		return "a prefix of 0 bits would put every machine on the guest's link"
	case host > 1 && a == p.Masked().Addr():
		return "is the address of the network itself; the guest needs one of its machines, such as " + a.Next().String()
	case a.Is4() && host > 1 && !p.Contains(a.Next()):
		return "is the broadcast address of its network"
	}
	return ""
}

// hostnameProblem says why s is not a host name by RFC 1123 of at most max bytes;
// "" when it is one.
func hostnameProblem(s string, max int) string {
	if len(s) == 0 || len(s) > max {
		return "want 1 to " + strconv.Itoa(max) + " characters"
	}
	for label := range strings.SplitSeq(s, ".") {
		switch {
		case label == "":
			return "has an empty label"
		case len(label) > 63:
			return "has a label of more than 63 characters"
		case !word(label, "-") || strings.HasSuffix(label, "-"):
			return "want letters, digits and '-', no label beginning or ending with '-'"
		}
	}
	return ""
}

// linkName tells whether the kernel and a terminal take s as the name of a link.
func linkName(s string) bool {
	return s != "" && len(s) <= maxLink && s != "." && s != ".." &&
		!strings.ContainsFunc(s, func(r rune) bool {
			return r == '/' || r == ':' || r > 126 || unicode.IsSpace(r) || unicode.IsControl(r)
		})
}

func scopeName(s string) bool {
	n, err := strconv.ParseUint(s, 10, 8)
	return slices.Contains(scopes(), s) || err == nil && strconv.FormatUint(n, 10) == s
}

func quote(s string) string { return strconv.Quote(s) }
