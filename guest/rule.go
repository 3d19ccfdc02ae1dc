package guest

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// Rule is a rule of a guest's firewall. It is written as one line:
//
//	allow|deny [in|out] [PROTOCOL] [from PREFIX] [to PREFIX] [port PORTS]
//
// What is left out is any. Ports are those that a packet goes to: numbers and ranges
// with commas between them. A protocol is a name, or its number as "proto 94": a number
// alone would be taken for a port by who reads it.
type Rule struct {
	Deny     bool
	Way      Way
	Protocol Protocol
	From, To netip.Prefix // not valid: any
	Ports    []PortRange  // none: any
}

// Way is the direction of packets as the guest sees it.
type Way uint8

// The directions.
const (
	BothWays Way = iota
	In
	Out
)

// Protocol is a protocol above IP by its number.
type Protocol uint8

// The protocols that mean more than their number. A rule about ports that names no
// protocol is for TCP and UDP.
const (
	AnyProtocol Protocol = 0
	ICMP        Protocol = 1 // in a rule: that of IPv6 as well
	TCP         Protocol = 6
	UDP         Protocol = 17
	ICMPv6      Protocol = 58
)

// PortRange is the ports from Low to High.
type PortRange struct{ Low, High uint16 }

type protocolName struct {
	name   string
	number Protocol
	ports  bool
}

// protocols are the names that a rule can use, as /etc/protocols has them.
func protocols() []protocolName {
	return []protocolName{
		{"tcp", TCP, true}, {"udp", UDP, true}, {"icmp", ICMP, false}, {"igmp", 2, false}, {"dccp", 33, true},
		{"gre", 47, false}, {"esp", 50, false}, {"ah", 51, false}, {"ipv6-icmp", ICMPv6, false}, {"ospf", 89, false},
		{"sctp", 132, true}, {"udplite", 136, true},
	}
}

// ParseRule reads a rule. An error names the word that is wrong.
func ParseRule(line string) (Rule, error) {
	words := strings.Fields(line)
	if len(line) > MaxText || len(words) == 0 || words[0] != "allow" && words[0] != "deny" {
		return Rule{}, fmt.Errorf("%s: want a rule such as \"deny in tcp from 10.0.0.0/8 port 22\", which begins with allow or deny: %w",
			quote(line[:min(len(line), 60)]), ErrInvalid)
	}
	r := Rule{Deny: words[0] == "deny"}
	seen := map[string]bool{}
	for i := 1; i < len(words); i++ {
		word, value := words[i], ""
		kind := r.kind(word)
		if seen[kind] {
			return Rule{}, fmt.Errorf("%s: a second %s: %w", word, kind, ErrInvalid)
		}
		seen[kind] = true
		if kind == "from" || kind == "to" || kind == "port" || word == "proto" {
			if i++; i == len(words) {
				return Rule{}, fmt.Errorf("%s: wants a word behind it: %w", word, ErrInvalid)
			}
			value = words[i]
		}
		if err := r.take(kind, word, value); err != nil {
			return Rule{}, err
		}
	}
	return r, r.consistent()
}

// kind says what a word of a rule is about.
func (r *Rule) kind(word string) string {
	switch word {
	case "in", "out":
		return "direction"
	case "from", "to", "port":
		return word
	case "ports":
		return "port"
	}
	if word[0] >= '0' && word[0] <= '9' {
		return "number" // of what, is not said
	}
	return "protocol"
}

func (r *Rule) take(kind, word, value string) (err error) {
	switch kind {
	case "direction":
		r.Way = Out
		if word == "in" {
			r.Way = In
		}
	case "from":
		r.From, err = parseNet(value)
	case "to":
		r.To, err = parseNet(value)
	case "port":
		r.Ports, err = parsePortList(value)
	case "number":
		err = fmt.Errorf("%s: a port is written \"port %[1]s\", a protocol without a name \"proto %[1]s\": %w", word, ErrInvalid)
	default:
		r.Protocol, err = parseProtocol(word, value)
	}
	return err
}

// consistent refuses what no packet can match.
func (r *Rule) consistent() error {
	if r.From.IsValid() && r.To.IsValid() && r.From.Addr().Is4() != r.To.Addr().Is4() {
		return fmt.Errorf("from %s to %s: are of two families, and no packet is: %w", r.From, r.To, ErrInvalid)
	}
	four := r.From.IsValid() && r.From.Addr().Is4() || r.To.IsValid() && r.To.Addr().Is4()
	if r.Protocol == ICMPv6 && four {
		return fmt.Errorf("ipv6-icmp: does not run over IPv4: %w", ErrInvalid)
	}
	if len(r.Ports) == 0 || r.Protocol == AnyProtocol {
		return nil
	}
	for _, p := range protocols() {
		if p.number == r.Protocol && p.ports {
			return nil
		}
	}
	return fmt.Errorf("port: %s has none: %w", r.Protocol, ErrInvalid)
}

// parseNet reads an address or a prefix; "any" is one that is not valid.
func parseNet(text string) (netip.Prefix, error) {
	if text == "any" || text == "all" {
		return netip.Prefix{}, nil
	}
	p, err := netip.ParsePrefix(text)
	if a, addrErr := netip.ParseAddr(text); addrErr == nil && a.Zone() == "" {
		p, err = netip.PrefixFrom(a, a.BitLen()), nil
	}
	switch {
	case err != nil || p.Addr().Zone() != "" || p.Addr().Is4In6():
		return netip.Prefix{}, fmt.Errorf("%s: want an address or a prefix, as 10.0.0.0/8: %w", quote(text), ErrInvalid)
	case p != p.Masked():
		return netip.Prefix{}, fmt.Errorf("%s: has bits beyond its length; want %s or %s: %w", text, p.Masked(), p.Addr(), ErrInvalid)
	}
	return p, nil
}

func parsePortList(text string) (out []PortRange, err error) {
	for part := range strings.SplitSeq(text, ",") {
		low, high, isRange := strings.Cut(part, "-")
		if !isRange {
			high = low
		}
		a, errLow := strconv.ParseUint(low, 10, 16)
		b, errHigh := strconv.ParseUint(high, 10, 16)
		if errLow != nil || errHigh != nil || a == 0 || b < a {
			return nil, fmt.Errorf("port %s: want a number, a range or a list of them, as 22, 8000-8080 or 80,443: %w", quote(text), ErrInvalid)
		}
		out = append(out, PortRange{uint16(a), uint16(b)})
	}
	return out, nil
}

// parseProtocol reads a protocol's name, or its number behind the word proto.
func parseProtocol(word, value string) (Protocol, error) {
	if word == "proto" {
		n, err := strconv.ParseUint(value, 10, 8)
		if err != nil || n == 0 {
			return 0, fmt.Errorf("proto %s: want a number from 1 to 255: %w", quote(value), ErrInvalid)
		}
		return Protocol(n), nil
	}
	if word == "any" || word == "all" {
		return AnyProtocol, nil
	}
	names := []string{"in", "out", "from", "to", "port", "proto", "all"}
	for _, p := range protocols() {
		if p.name == word {
			return p.number, nil
		}
		names = append(names, p.name)
	}
	if word == "icmpv6" {
		return ICMPv6, nil
	}
	if near := Nearest(word, names); near != "" {
		return 0, fmt.Errorf("%s: no word of a rule; did you mean %s?: %w", quote(word), near, ErrInvalid)
	}
	return 0, fmt.Errorf("%s: want in, out, a protocol, from, to or port: %w", quote(word), ErrInvalid)
}

// String gives the protocol's name or number.
func (p Protocol) String() string {
	if p == AnyProtocol {
		return "all"
	}
	list := protocols()
	if i := slices.IndexFunc(list, func(n protocolName) bool { return n.number == p }); i >= 0 {
		return list[i].name
	}
	return strconv.Itoa(int(p))
}

// String writes the range as a rule does.
func (p PortRange) String() string {
	if p.Low == p.High {
		return strconv.Itoa(int(p.Low))
	}
	return fmt.Sprintf("%d-%d", p.Low, p.High)
}

// String writes the rule as ParseRule reads it.
func (r Rule) String() string {
	words := []string{"allow"}
	if r.Deny {
		words[0] = "deny"
	}
	if r.Way != BothWays {
		words = append(words, [...]string{In: "in", Out: "out"}[r.Way])
	}
	if name := r.Protocol.String(); r.Protocol != AnyProtocol {
		if name[0] <= '9' {
			words = append(words, "proto")
		}
		words = append(words, name)
	}
	for _, n := range []struct {
		key string
		net netip.Prefix
	}{{"from", r.From}, {"to", r.To}} {
		switch {
		case !n.net.IsValid():
		case n.net.IsSingleIP():
			words = append(words, n.key, n.net.Addr().String())
		default:
			words = append(words, n.key, n.net.String())
		}
	}
	if len(r.Ports) > 0 {
		ports := make([]string, len(r.Ports))
		for i, p := range r.Ports {
			ports[i] = p.String()
		}
		words = append(words, "port", strings.Join(ports, ","))
	}
	if len(words) == 1 {
		words = append(words, "all")
	}
	return strings.Join(words, " ")
}

// Items cuts a list of rules with commas between them. Those within a list of ports do
// not count: a rule begins with allow or deny.
func (Rule) Items(list string) (items []string) {
	for part := range strings.SplitSeq(list, ",") {
		word, _, _ := strings.Cut(strings.TrimSpace(part), " ")
		if last := len(items) - 1; last >= 0 && word != "allow" && word != "deny" {
			items[last] += "," + part
			continue
		}
		items = append(items, part)
	}
	return items
}

// UnmarshalText reads a rule as ParseRule does.
func (r *Rule) UnmarshalText(text []byte) (err error) {
	*r, err = ParseRule(string(text))
	return err
}

// MarshalText writes the rule as String does.
func (r Rule) MarshalText() ([]byte, error) { return []byte(r.String()), nil }
