package guest

import (
	"net/netip"
	"slices"
	"strings"
)

// Network is what the guest has of the network.
type Network struct {
	Mode      NetMode      `yaml:"mode" doc:"shared: the guest's addresses in the host's own network, and nothing else of it. private: own network namespace. host: the host's own network. none: a loopback and nothing else" default:"shared"`
	Addresses []Address    `yaml:"addresses" doc:"addresses with their prefix length, first the primary one; in shared mode also dev DEV, vlan (DEV, as eth0.5, is made when it is missing, and stays), tun or tap (DEV is made when it is missing, goes with the guest, and is for its root, or owner UID and group GID, to open; with ncaps tun_create), nodev, peer A, broadcast A, scope S or name N behind it" default:"one of the host's pool; with link bridge or macvlan none"`
	Gateway   []netip.Addr `yaml:"gateway" doc:"routers of the guest's own default routes, one for IPv4 and one for IPv6" default:"as the host routes"`
	Table     uint32       `yaml:"table" doc:"routing table for what the guest sends; its gateway is put there" default:"with a gateway 1000 + xid, else the host's"`
	Flags     []string     `yaml:"flags" doc:"shared: hide_netif, single_ip or lback_allow added to the default hide_lback and lback_remap, or taken from it with a '!'"`
	NCaps     []string     `yaml:"ncaps" doc:"tun_create, multicast or broadcast added to the default raw_icmp, or taken from it with a '!'"`
	Lback     netip.Addr   `yaml:"lback" doc:"shared: address of the host's 127.0.0.0/8 that is the guest's 127.0.0.1" default:"127.(xid / 256).(xid % 256).1"`
	Firewall  []Rule       `yaml:"firewall" doc:"rules for packets to and from the guest, as in: allow tcp from 10.0.0.0/8 port 22; the first that matches decides, and what no rule matches is allowed"`
	Egress    Egress       `yaml:"egress" doc:"what the guest may send through the links of the host"`
	Ingress   Ingress      `yaml:"ingress" doc:"what the guest may be sent through the links of the host"`
	Link      NetLink      `yaml:"link" doc:"private: routed: the host is the router of the guest's own addresses. bridge: a port of a bridge. macvlan: a second hardware address on a link of the host" default:"routed"`
	Bridge    string       `yaml:"bridge" doc:"private, link bridge: the bridge; one that is not there is made, and has the gateway as its address" default:"vsbr0"`
	Parent    string       `yaml:"parent" doc:"private, link macvlan: the host's link"`
	DHCP      bool         `yaml:"dhcp" doc:"private, link bridge or macvlan: vserverd gets the guest's IPv4 address and router by DHCP; IPv6 ones come by router advertisements"`
	Publish   []Publish    `yaml:"publish" doc:"private: ports of the host that lead to the guest, as [HOST:]PORT[-LAST]:[GUEST:]PORT/tcp or /udp with host and guest addresses"`
	Sockets   int          `yaml:"sockets" doc:"shared: sockets that the guest may have at once; 0 is no limit"`
	Conns     int          `yaml:"connections" doc:"shared: TCP connections that the guest may have at once; 0 is no limit"`
	Netns     string       `yaml:"netns" doc:"host: a network namespace of the host's by its name, as ip-netns(8) has them, in the place of its first" default:"the host's first"`
	DNS       []netip.Addr `yaml:"dns" doc:"name servers for the guest's resolv.conf" default:"the host's"`
	Search    []string     `yaml:"search" doc:"search list for the guest's resolv.conf" default:"the host's"`
}

// NetMode is the kind of network a guest has.
type NetMode string

// The network modes.
const (
	NetShared  NetMode = "shared"
	NetPrivate NetMode = "private"
	NetHost    NetMode = "host"
	NetNone    NetMode = "none"
)

// OwnNet tells whether guests of the mode have a network namespace of their own.
func (m NetMode) OwnNet() bool { return m == NetPrivate || m == NetNone }

// OwnNet tells whether the guest has a network namespace of its own, be it one that
// only shows its addresses: see Hidden. n has its defaults.
func (n *Network) OwnNet() bool { return n.Mode.OwnNet() || n.Hidden() }

// Hidden tells whether the guest sits beside the host's network and has sockets of it
// handed in (hide_netif). n has its defaults.
func (n *Network) Hidden() bool {
	f, err := n.NetFlags()
	return n.Mode == NetShared && err == nil && f&HideNetif != 0
}

// NetFlags is a set of network flags (Linux-VServer's nflags).
type NetFlags uint32

// The network flags. Their numbers are ours.
const (
	HideNetif  NetFlags = 1 << iota // interfaces and addresses of others cannot be seen
	HideLback                       // the own loopback address is shown as 127.0.0.1
	SingleIP                        // a wildcard is really bound to the only address
	LbackRemap                      // 127.0.0.1 is the own loopback address
	LbackAllow                      // the host's 127.0.0.1 may be reached
)

// NetCaps is a set of network capabilities (Linux-VServer's ncaps).
type NetCaps uint32

// The network capabilities. Their numbers are ours.
const (
	RawICMP   NetCaps = 1 << iota // ping
	TunCreate                     // tun and tap devices
	Multicast                     // join multicast groups and send to them
	Broadcast                     // send to the broadcast addresses
)

// NetFlagNames are the names of the flags, by bit.
func NetFlagNames() []string {
	return []string{"hide_netif", "hide_lback", "single_ip", "lback_remap", "lback_allow"}
}

// NetCapNames are the names of the capabilities, by bit.
func NetCapNames() []string { return []string{"raw_icmp", "tun_create", "multicast", "broadcast"} }

// DefaultNetFlags are the flags of a guest whose spec names none.
const DefaultNetFlags = HideLback | LbackRemap

// DefaultNetCaps are the capabilities of a guest whose spec names none: pinging needs
// no more than the right to ask.
const DefaultNetCaps = RawICMP

// Change gives the set changed by words, as network.flags has them: a name adds, with
// a '!' or '~' in front it takes away. "nxf_" and "info_" in front are passed over, as
// by Linux-VServer.
func (f NetFlags) Change(words []string) (NetFlags, error) {
	set, err := changeSet(uint32(f), words, NetFlagNames(), "flag", "nxf_", "info_")
	return NetFlags(set), err
}

// Change gives the set changed by words, as network.ncaps has them.
func (c NetCaps) Change(words []string) (NetCaps, error) {
	words = slices.Clone(words)
	for i, w := range words {
		words[i] = NetCapWord(w)
	}
	set, err := changeSet(uint32(c), words, NetCapNames(), "network capability", "nxc_")
	return NetCaps(set), err
}

// NetCapWord is a word of network.ncaps that says a bit of Linux-VServer's, as ^12, by its
// name; multicast had none there.
func NetCapWord(word string) string {
	bare := strings.TrimLeft(word, "!~")
	name, ok := map[string]string{"^0": "tun_create", "^8": "raw_icmp", "^12": "multicast"}[bare]
	if !ok {
		return word
	}
	return strings.TrimSuffix(word, bare) + name
}

// Names are the names of the flags in the set.
func (f NetFlags) Names() []string { return setNames(uint32(f), NetFlagNames()) }

// Names are the names of the capabilities in the set.
func (c NetCaps) Names() []string { return setNames(uint32(c), NetCapNames()) }

// NetFlags are the guest's flags: the default ones changed by network.flags.
func (n *Network) NetFlags() (NetFlags, error) { return DefaultNetFlags.Change(n.Flags) }

// NetCaps are the guest's network capabilities: the default ones changed by
// network.ncaps.
func (n *Network) NetCaps() (NetCaps, error) { return DefaultNetCaps.Change(n.NCaps) }

func changeSet(set uint32, words, names []string, what string, prefixes ...string) (uint32, error) {
	for _, word := range words {
		bare := strings.TrimLeft(word, "!~")
		name := strings.ToLower(bare)
		for _, p := range prefixes {
			name = strings.TrimPrefix(name, p)
		}
		switch name { // Linux-VServer's other spelling, and its words for phases that we have not
		case "remap_lback":
			name = "lback_remap"
		case "allow_lback":
			name = "lback_allow"
		}
		i := slices.Index(names, name)
		if i < 0 {
			return 0, unknown(what, word, name, names, "want "+strings.Join(names, ", "))
		}
		if (len(word)-len(bare))%2 == 1 {
			set &^= 1 << i
		} else {
			set |= 1 << i
		}
	}
	return set, nil
}

func setNames(set uint32, names []string) (out []string) {
	for i, name := range names {
		if set>>i&1 == 1 {
			out = append(out, name)
		}
	}
	return out
}

// Lback is the loopback address of a guest whose spec names none: 127.0.0.1 with the
// number in octets 2 and 3, as Linux-VServer made it.
func (x XID) Lback() netip.Addr {
	return netip.AddrFrom4([4]byte{127, byte(x >> 8), byte(x), 1})
}

// Table is the routing table of a guest that has a gateway and names no table.
func (x XID) Table() uint32 { return firstTable + uint32(x) }

// firstTable is where the tables of guests begin: above those that iproute2 and
// people number by hand.
const firstTable = 1000
