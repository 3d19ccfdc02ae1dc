package guest

import (
	"net/netip"
	"strconv"
	"strings"
)

func (v *validator) network(n *Network) {
	oneOf(v, "network.mode", n.Mode)
	if len(n.Addresses) > 0 && (n.Mode == NetHost || n.Mode == NetNone) {
		v.bad("network.addresses", "have no meaning with mode: %s", n.Mode)
	}
	seen := make(map[netip.Addr]bool, len(n.Addresses))
	each(v, "network.addresses", n.Addresses, func(at string, p netip.Prefix) {
		if why := addressProblem(p); why != "" {
			v.bad(at, "%s: %s", p, why)
		} else if seen[p.Addr()] {
			v.bad(at, "%s: is there twice", p.Addr())
		}
		seen[p.Addr()] = true
	})
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
