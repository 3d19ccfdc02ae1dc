package guest

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// Address is an address of a guest and, for a guest in the host's network, how the
// host comes by it. It is written as one line in the words of ip-address(8):
//
//	PREFIX [dev DEV [vlan | tun|tap [owner UID] [group GID]]] [nodev] [peer ADDRESS[/LENGTH]] [broadcast ADDRESS|+] [scope SCOPE] [name NAME]
type Address struct {
	Prefix    netip.Prefix
	Dev       string // link of the host; "" is the one with the prefix
	VLAN      bool   // Dev, which is LINK.NUMBER, is made when it is not there
	Tun       string // Tun or Tap: Dev is made so when it is not there, and goes with the guest
	Owner     string // id in the guest of the user who may open that link; "" is root, unless there is Group
	Group     string // likewise of the group
	NoDev     bool   // the host has the address already, and keeps it
	Peer      string // the other end of a point-to-point link, "" for none; its length counts, not that of Prefix
	Broadcast string // an address, or "+" for the prefix's own; "" is "+" where there is one
	Scope     string // global, link, host, site or a number; "" is global
	Name      string // label, shown as DEV:NAME by old programs
}

// Addr is the address without its prefix length.
func (a Address) Addr() netip.Addr { return a.Prefix.Addr() }

// Linked is what the address's link leads to: its prefix or, where it has one, its peer's.
func (a Address) Linked() netip.Prefix {
	if p, err := netip.ParsePrefix(a.Peer); err == nil {
		return p
	}
	if peer, err := netip.ParseAddr(a.Peer); err == nil {
		return netip.PrefixFrom(peer, peer.BitLen())
	}
	return a.Prefix
}

// VLANOf gives the link beneath Dev and the number of the VLAN on it.
func (a Address) VLANOf() (link string, id uint16, ok bool) {
	i := strings.LastIndexByte(a.Dev, '.')
	n, err := strconv.ParseUint(a.Dev[i+1:], 10, 12)
	const last = 4094
	return a.Dev[:max(i, 0)], uint16(n), i > 0 && err == nil && n > 0 && n <= last
}

// Prefixes are the addresses with their prefix lengths alone.
func (n *Network) Prefixes() (out []netip.Prefix) {
	for _, a := range n.Addresses {
		out = append(out, a.Prefix)
	}
	return out
}

// The links that a program in the guest reads and writes.
const (
	Tun = "tun" // packets
	Tap = "tap" // Ethernet frames
)

// maxLink is the longest name of a link, or label of an address: IFNAMSIZ less its 0.
const maxLink = 15

// scopes are the words of ip-address(8) for a scope.
func scopes() []string { return []string{"global", "link", "host", "site"} }

// ParseAddress reads an address and the words behind it.
func ParseAddress(line string) (a Address, err error) {
	words := strings.Fields(line)
	if len(words) == 0 {
		words = []string{""}
	}
	if a.Prefix, err = parsePrefix(words[0]); err != nil {
		return Address{}, err
	}
	seen := map[string]bool{}
	for i := 1; i < len(words); i++ {
		word, value := words[i], ""
		if seen[word] {
			return Address{}, fmt.Errorf("%s: is there twice: %w", word, ErrInvalid)
		}
		seen[word] = true
		if to := map[string]*bool{"nodev": &a.NoDev, "vlan": &a.VLAN}[word]; to != nil {
			*to = true
			continue
		}
		if word == Tun || word == Tap {
			if a.Tun != "" {
				return Address{}, fmt.Errorf("%s: is %s already: %w", word, a.Tun, ErrInvalid)
			}
			a.Tun = word
			continue
		}
		if i++; i < len(words) {
			value = words[i]
		}
		if err := a.take(word, value); err != nil {
			return Address{}, err
		}
	}
	return a, nil
}

func (a *Address) take(word, value string) error {
	keys := []string{"dev", "vlan", Tun, Tap, "owner", "group", "nodev", "peer", "broadcast", "scope", "name"}
	to := map[string]*string{"dev": &a.Dev, "peer": &a.Peer, "broadcast": &a.Broadcast, "brd": &a.Broadcast, "scope": &a.Scope,
		"name": &a.Name, "label": &a.Name, "owner": &a.Owner, "group": &a.Group}[word]
	switch {
	case to == nil:
		if near := Nearest(word, keys); near != "" {
			return fmt.Errorf("%q: behind an address want %s; did you mean %s?: %w", word, strings.Join(keys, ", "), near, ErrInvalid)
		}
		return fmt.Errorf("%q: behind an address want %s: %w", word, strings.Join(keys, ", "), ErrInvalid)
	case value == "":
		return fmt.Errorf("%s: wants a word behind it: %w", word, ErrInvalid)
	}
	*to = value
	return nil
}

func parsePrefix(text string) (netip.Prefix, error) {
	p, err := netip.ParsePrefix(text)
	if err == nil {
		return p, nil
	}
	if a, err := netip.ParseAddr(text); err == nil && a.Zone() == "" {
		return p, fmt.Errorf("%q: want its prefix length as well, as %s/%d: %w", text, a, a.BitLen(), ErrInvalid)
	}
	return p, fmt.Errorf("%q: want an address with its prefix length, as 192.0.2.10/24: %w", text, ErrInvalid)
}

// UnmarshalText reads an address as ParseAddress does.
func (a *Address) UnmarshalText(text []byte) (err error) {
	*a, err = ParseAddress(string(text))
	return err
}

// String writes the address as ParseAddress reads it.
func (a Address) String() string {
	var b strings.Builder
	b.WriteString(a.Prefix.String())
	for _, w := range []struct{ key, value string }{{"dev", a.Dev}, {"peer", a.Peer}, {"broadcast", a.Broadcast}, {"scope", a.Scope}, {"name", a.Name}} {
		if w.value != "" {
			b.WriteString(" " + w.key + " " + w.value)
		}
	}
	if a.VLAN {
		b.WriteString(" vlan")
	}
	if a.Tun != "" {
		b.WriteString(" " + a.Tun)
	}
	for _, w := range []struct{ key, value string }{{"owner", a.Owner}, {"group", a.Group}} {
		if w.value != "" {
			b.WriteString(" " + w.key + " " + w.value)
		}
	}
	if a.NoDev {
		b.WriteString(" nodev")
	}
	return b.String()
}

// MarshalText writes the address as String does.
func (a Address) MarshalText() ([]byte, error) { return []byte(a.String()), nil }

func isVLAN(a Address) bool {
	_, _, ok := a.VLANOf()
	return ok
}

// isID tells an id of the guest's; "" is none.
func isID(text string) bool {
	_, err := strconv.ParseUint(text, 10, 16)
	return text == "" || err == nil
}

// problem says why a guest cannot have the address so; "" when it can.
func (a Address) problem() string {
	if why := addressProblem(a.Prefix); why != "" {
		return why
	}
	switch brd, err := netip.ParseAddr(a.Broadcast); {
	case a.Dev != "" && !linkName(a.Dev):
		return "dev " + quote(a.Dev) + ": want the name of a link, as eth0"
	case a.VLAN && !isVLAN(a):
		return "vlan: want dev LINK.NUMBER, as eth0.5, with a number up to 4094"
	case a.Tun != "" && (a.Dev == "" || a.VLAN):
		return a.Tun + ": want dev DEV, as dev " + a.Tun + "0, and no vlan"
	case (a.Owner != "" || a.Group != "") && (a.Tun == "" || !isID(a.Owner) || !isID(a.Group)):
		return "owner and group: want numbers up to 65535, of a link that is tun or tap"
	case a.NoDev && (a.Dev != "" || a.Peer != "" || a.Broadcast != "" || a.Scope != "" || a.Name != ""):
		return "nodev leaves the host's addresses alone: nothing else can be said with it"
	case a.Peer != "" && (a.Dev == "" || !a.Addr().Is4() || a.Linked() == a.Prefix || !a.Linked().Addr().Is4()):
		return "peer " + quote(a.Peer) + ": want an IPv4 address, for one with dev DEV"
	case a.Broadcast != "" && a.Addr().Is6():
		return "IPv6 has no broadcast"
	case a.Broadcast != "" && a.Broadcast != "+" && (err != nil || !brd.Is4()):
		return "broadcast " + quote(a.Broadcast) + ": want an IPv4 address or +"
	case a.Scope != "" && !scopeName(a.Scope):
		return "scope " + quote(a.Scope) + ": want " + strings.Join(scopes(), ", ") + " or a number up to 255"
	case a.Name != "" && (a.Addr().Is6() || !word(a.Name, "._-")):
		return "name " + quote(a.Name) + ": want letters, digits, '.', '_' and '-', and an IPv4 address"
	case a.Name != "" && len(a.Dev)+1+len(a.Name) > maxLink:
		return "name " + quote(a.Name) + ": DEV:NAME has to fit in 15 characters"
	}
	return ""
}
