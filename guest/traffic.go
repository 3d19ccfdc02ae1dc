package guest

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// Egress is what a guest may send through the links of the host.
type Egress struct {
	Rate     Rate `yaml:"rate" doc:"bits a second that the guest may send at most, as 100M" default:"as fast as the link"`
	Reserved Rate `yaml:"reserved" doc:"bits a second that the guest can send whatever others do"`
	Share    int  `yaml:"share" doc:"weight of the guest where what is not reserved is fought for; the host, with all guests that ask for nothing here, has 100" default:"10"`
}

// Ingress is what a guest may be sent through the links of the host.
type Ingress struct {
	Rate Rate `yaml:"rate" doc:"bits a second that reach the guest at most, as 100M" default:"as fast as the link"`
}

// DefaultShare is the share of a guest that asks for a rate but for no share.
const DefaultShare = 10

// Asked tells whether anything is asked for.
func (e Egress) Asked() bool { return e != Egress{} }

// Rate is bits a second. It is written as a number, or with K, M, G or T for powers of
// 1000, as those who sell lines count; a trailing "bit" is allowed.
type Rate int64

var rateUnits = []struct {
	letter string
	factor int64
}{{"T", 1e12}, {"G", 1e9}, {"M", 1e6}, {"K", 1e3}}

// UnmarshalText reads "2.5G" or "100Mbit".
func (r *Rate) UnmarshalText(text []byte) error {
	s := strings.TrimSuffix(strings.ToUpper(strings.TrimSpace(string(text))), "BIT")
	factor := int64(1)
	for _, u := range rateUnits {
		if n, ok := strings.CutSuffix(s, u.letter); ok {
			s, factor = n, u.factor
			break
		}
	}
	f, err := decimal(s)
	if err != nil || f < 0 || math.IsNaN(f) || f*float64(factor) >= math.MaxInt64 {
		return fmt.Errorf("rate %q: want bits a second, with K, M, G or T: %w", text, ErrInvalid)
	}
	*r = Rate(f * float64(factor))
	return nil
}

// String gives the rate in the largest unit that divides it.
func (r Rate) String() string {
	for _, u := range rateUnits {
		if r != 0 && int64(r)%u.factor == 0 {
			return strconv.FormatInt(int64(r)/u.factor, 10) + u.letter
		}
	}
	return strconv.FormatInt(int64(r), 10)
}

// MarshalText writes the rate as String does.
func (r Rate) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// traffic checks the rules and rates of a guest's packets.
func (v *validator) traffic(n *Network) {
	if len(n.Firewall) > MaxItems {
		v.bad("network.firewall", "%d items: want at most %d", len(n.Firewall), MaxItems)
	}
	ranges := 0
	for _, r := range n.Firewall {
		ranges += len(r.Ports)
	}
	if ranges > MaxItems {
		v.bad("network.firewall", "%d ports and ranges: want at most %d in all rules", ranges, MaxItems)
	}
	seen := map[string]bool{}
	for i, r := range n.Firewall[:min(len(n.Firewall), MaxItems)] {
		if seen[r.String()] {
			v.bad(index("network.firewall", i), "%v: is there twice", r)
		}
		seen[r.String()] = true
	}
	v.within("network.egress.rate", n.Egress.Rate, float64(n.Egress.Rate))
	v.within("network.egress.reserved", n.Egress.Reserved, float64(n.Egress.Reserved))
	v.within("network.egress.share", n.Egress.Share, float64(n.Egress.Share))
	v.within("network.ingress.rate", n.Ingress.Rate, float64(n.Ingress.Rate))
	if e := n.Egress; e.Rate > 0 && e.Reserved > e.Rate {
		v.bad("network.egress.reserved", "%v: is above the rate %v", e.Reserved, e.Rate)
	}
	why := "mode: " + string(n.Mode)
	if n.Mode != NetHost && n.Mode != NetNone {
		return
	}
	for _, k := range []struct {
		key string
		set bool
	}{{"firewall", len(n.Firewall) > 0}, {"egress", n.Egress.Asked()}, {"ingress", n.Ingress != Ingress{}}} {
		if k.set {
			v.bad("network."+k.key, "has no meaning with %s", why)
		}
	}
}

// heldInside checks that a guest cannot change or pass by the rules and rates that stand
// in its own network namespace: those of guests whose packets do not pass the host's
// filter.
func (v *validator) heldInside(s *Spec) {
	n := &s.Network
	if n.Mode != NetPrivate || n.Link != LinkBridge && n.Link != LinkMacvlan || !s.PassesFilters() {
		return
	}
	for _, k := range []struct {
		key string
		set bool
	}{
		{"firewall", len(n.Firewall) > 0},
		{"egress", n.Link == LinkMacvlan && n.Egress.Asked()}, {"ingress", n.Link == LinkMacvlan && n.Ingress != Ingress{}},
	} {
		if k.set {
			v.bad("network."+k.key, "does not hold with link: %s for a guest with net_admin or packet sockets (rights, ncaps), which goes past it; use link: routed", n.Link)
		}
	}
}

// PassesFilters tells whether the guest may change the packet filter of its own network
// namespace, or send packets that do not pass it.
func (s *Spec) PassesFilters() bool {
	caps, err := s.Bounding()
	return err != nil || caps&capset("net_admin") != 0 || s.Rights.Seccomp == SeccompNone || slices.Contains(s.Rights.Syscalls, "AF_PACKET")
}
