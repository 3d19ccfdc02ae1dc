package legacy

import (
	"fmt"
	"math/bits"
	"net/netip"
	"path"
	"slices"
	"strconv"
	"strings"

	"vserver/guest"
)

// network reads the addresses of the guest, in the alphabetical order of their
// directories, and what else it has of the network.
func (r *reader) network() {
	if r.has("noncontext") {
		r.set(Finding{Key: "noncontext", To: "network.mode", Why: "the host's own network"},
			func(s *guest.Spec) { s.Network.Mode = guest.NetHost })
	} else {
		r.set(Finding{Key: "interfaces", To: "network.addresses", Why: "these addresses of the host's network, and no others"},
			func(s *guest.Spec) { s.Network.Mode, s.Network.Addresses = guest.NetShared, []guest.Address{} })
	}
	for _, name := range r.below("interfaces") {
		if r.kinds["interfaces/"+name].IsDir() {
			r.iface("interfaces/" + name)
		}
	}
	for _, name := range []string{"dev", "prefix", "mask", "bcast", "nodev"} {
		if value, ok := r.line("interfaces/" + name); ok {
			r.tell(Finding{Key: "interfaces/" + name, Value: value, Fate: Same, To: "network.addresses", Why: "for those that do not say it"})
		}
	}
	r.ifaceRest("interfaces")
	if value, ok := r.line("interfaces/lback"); ok {
		a, err := netip.ParseAddr(value)
		if err != nil {
			r.tell(Finding{Key: "interfaces/lback", Value: value, Fate: Wrong, Why: "want an address"})
		} else {
			r.set(Finding{Key: "interfaces/lback", Value: value, To: "network.lback"}, func(s *guest.Spec) { s.Network.Lback = a })
		}
	}
	r.netWords()
}

// iface reads one address.
func (r *reader) iface(dir string) {
	if r.has(dir + "/disabled") {
		for _, name := range r.below(dir) {
			r.tell(Finding{Key: dir + "/" + name, Fate: Passed, Why: "the interface is disabled"})
		}
		return
	}
	ip, _ := r.line(dir + "/ip")
	a := guest.Address{NoDev: r.has(dir+"/nodev") || r.has("interfaces/nodev") && !r.has(dir+"/dev")}
	a.Dev, _ = r.either(dir, "dev")
	r.tellIface(dir)
	var err error
	if a.Prefix, err = r.prefix(dir, ip); err != nil {
		r.tell(Finding{Key: dir + "/ip", Value: ip, Fate: Wrong, Why: err.Error()})
		return
	}
	switch {
	case a.NoDev:
		a.Dev = ""
	case a.Dev == "":
		r.tell(Finding{Key: dir + "/dev", Fate: Wrong, Why: "No device specified: want dev, or nodev for an address that the host has"})
		return
	default:
		if bcast, ok := r.either(dir, "bcast"); ok && a.Addr().Is4() && bcast != "+" {
			a.Broadcast = bcast
		}
		a.Name = r.label(dir, a)
		a.Peer, _ = r.line(dir + "/peer")
		a.VLAN = r.vlan(dir, a)
		r.tun(dir, &a)
	}
	r.set(Finding{Key: dir + "/ip", Value: ip, To: "network.addresses"}, func(s *guest.Spec) {
		if s.Network.Mode == guest.NetShared {
			s.Network.Addresses = append(slices.Clone(s.Network.Addresses), a)
			if a.Tun != "" {
				s.Network.NCaps = add(s.Network.NCaps, "tun_create")
			}
		}
	})
}

// tellIface tells of the files beside ip.
func (r *reader) tellIface(dir string) {
	for _, name := range []string{"dev", "prefix", "mask", "bcast", "nodev", "peer"} {
		if value, ok := r.line(dir + "/" + name); ok {
			r.tell(Finding{Key: dir + "/" + name, Value: value, Fate: Same, To: "network.addresses"})
		}
	}
	r.ifaceRest(dir)
}

// either reads what an interface says, or else what is said for all.
func (r *reader) either(dir, name string) (string, bool) {
	if value, ok := r.line(dir + "/" + name); ok {
		return value, ok
	}
	return r.line(path.Dir(dir) + "/" + name)
}

// prefix is an address with its length: its own, by prefix or mask, or that of all.
func (r *reader) prefix(dir, ip string) (netip.Prefix, error) {
	if ip == "" {
		return netip.Prefix{}, fmt.Errorf("no address")
	}
	if p, err := netip.ParsePrefix(ip); err == nil {
		return p, nil
	}
	addr, err := netip.ParseAddr(ip)
	if err != nil || addr.Zone() != "" {
		return netip.Prefix{}, fmt.Errorf("want an address")
	}
	for _, at := range []string{dir, path.Dir(dir)} {
		if text, ok := r.line(at + "/prefix"); ok {
			n, err := strconv.Atoi(text)
			if err != nil || n < 0 || n > addr.BitLen() {
				return netip.Prefix{}, fmt.Errorf("prefix %q: want a number up to %d", text, addr.BitLen())
			}
			return netip.PrefixFrom(addr, n), nil
		}
		if text, ok := r.line(at + "/mask"); ok && addr.Is4() {
			n, ok := maskLength(text)
			if !ok {
				return netip.Prefix{}, fmt.Errorf("mask %q: want one as 255.255.255.0", text)
			}
			return netip.PrefixFrom(addr, n), nil
		}
	}
	return netip.PrefixFrom(addr, addr.BitLen()), nil
}

// maskLength gives the length of a mask.
func maskLength(text string) (n int, ok bool) {
	a, err := netip.ParseAddr(text)
	if err != nil || !a.Is4() {
		return 0, false
	}
	b := a.As4()
	m := uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3])
	n = bits.LeadingZeros32(^m)
	return n, bits.OnesCount32(m) == n
}

// label is the name of an address for old programs, where it can have one.
func (r *reader) label(dir string, a guest.Address) string {
	name, ok := r.line(dir + "/name")
	const most = 15 // IFNAMSIZ less its 0
	switch f := (Finding{Key: dir + "/name", Value: name, Fate: Same, To: "network.addresses"}); {
	case !ok || name == "":
	case a.Addr().Is6():
		r.pass(f, "an IPv6 address has no label")
	case len(a.Dev)+1+len(name) > most:
		r.refuse(f, "DEV:NAME has to fit in 15 characters", "a shorter name")
	default:
		r.tell(f)
		return name
	}
	return ""
}

// vlan tells whether the link of an address is made if need be: what is said nearest counts,
// and a link that is no VLAN's by its name has to be there.
func (r *reader) vlan(dir string, a guest.Address) bool {
	if _, _, is := a.VLANOf(); !is {
		return false
	}
	for _, at := range []string{dir, path.Dir(dir)} {
		if r.has(at + "/novlandev") {
			return false
		}
		if r.has(at + "/vlandev") {
			return true
		}
	}
	_, all := r.preset("interfaces/vlandev")
	return all
}

// tun reads whether the link of an address is made for programs in the guest, and for whom.
func (r *reader) tun(dir string, a *guest.Address) {
	switch {
	case r.has(dir + "/tap"):
		a.Tun = guest.Tap
	case r.has(dir + "/tun"):
		a.Tun = guest.Tun
	default:
		return
	}
	a.Owner, _ = r.line(dir + "/uid")
	a.Group, _ = r.line(dir + "/gid")
}

// ifaceRest tells of what an interface, or all of them, cannot have.
func (r *reader) ifaceRest(dir string) {
	for _, k := range []struct {
		names []string
		f     Finding
	}{
		{[]string{"scope"}, Finding{Fate: Passed, Why: "was read and never used"}},
		{[]string{"novlandev"}, Finding{Fate: Passed, Why: "no VLAN device is made"}},
		{[]string{"vlandev"}, Finding{Fate: Near, To: "network.addresses", Why: "the link is made when it is missing, and stays when the guest stops"}},
		{[]string{"tun", "tap"}, Finding{Fate: Near, To: "network.addresses", Why: "made when it is missing, and taken away with the guest; its root, or uid and gid, may open it. With hide_netif it cannot be seen"}},
		{[]string{"uid", "gid"}, Finding{Fate: Same, To: "network.addresses"}},
		{[]string{"shared"}, Finding{Fate: Passed, Why: "a link is one guest's; one that the host makes is used as it is"}},
		{[]string{"nocsum"}, Finding{Fate: Passed, Why: "no kernel asks for it any more"}},
		{[]string{"linktype"}, Finding{Fate: Refused, Why: "the type is that of tun or tap", Instead: "a script initialize that makes the link"}},
		{[]string{"down"}, Finding{Fate: Passed, Why: "links of the host are not set up or down"}},
		{[]string{"indirect", "mac", "extip", "only_ip"}, Finding{Fate: Refused, Why: "was never finished", Instead: "network.mode: private"}},
	} {
		for _, name := range k.names {
			if r.has(dir + "/" + name) {
				k.f.Key = dir + "/" + name
				k.f.Value, _ = r.line(k.f.Key)
				r.tell(k.f)
			}
		}
	}
}

// netWords reads the flags and capabilities of the network context.
func (r *reader) netWords() {
	words := func(key, to string, other map[string]Finding, put func(*guest.Spec, string)) {
		text, _ := r.content(key)
		list := items(text)
		if r.has(key) && len(list) == 0 {
			r.tell(Finding{Key: key, Fate: Passed, Why: "is empty"})
		}
		for _, i := range list {
			at := fmt.Sprintf("%s:%d", key, i.line)
			bare := strings.ToLower(strings.TrimLeft(i.text, "!~"))
			for _, p := range []string{"nxf_", "nxc_", "info_"} {
				bare = strings.TrimPrefix(bare, p)
			}
			if f, ok := other[bare]; ok {
				f.Key, f.Value = at, i.text
				r.tell(f)
				continue
			}
			word := i.text
			r.set(Finding{Key: at, Value: word, To: to}, func(s *guest.Spec) { put(s, word) })
		}
	}
	words("nflags", "network.flags", map[string]Finding{
		"lock":        {Fate: Passed, Why: "a guest's processes cannot leave its network"},
		"private":     {Fate: Near, To: "rights.flags", Why: "the flag private of the guest refuses to enter it", Instead: "rights.flags: [private]"},
		"state_setup": {Fate: Passed, Why: "a phase of a start"},
		"state_admin": {Fate: Passed, Why: "a phase of a start"},
		"sc_helper":   {Fate: Passed, Why: "vserverd sees starts and ends"},
		"persistent":  {Fate: Refused, Why: "a network context ends with its guest", Instead: "ncontext --create, which stays"},
	}, func(s *guest.Spec, w string) { s.Network.Flags = add(s.Network.Flags, w) })
	words("ncapabilities", "network.ncaps", nil, func(s *guest.Spec, w string) { s.Network.NCaps = add(s.Network.NCaps, guest.NetCapWord(w)) })
}
