package shared

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/vishvananda/netlink"

	"vserver/fault"
	"vserver/guest"
	"vserver/internal/need"
	"vserver/internal/networld"
)

// TestUp: addresses are there, on the right links, and gone after Down; what the host
// had stays.
func TestUp(t *testing.T) {
	ground(t)
	before := state(t)
	w := want(t, 8, "192.0.2.10/24", "203.0.113.11/24 dev eth1 name web broadcast 203.0.113.99 scope link", "2001:db8:1::10/64",
		"198.51.100.7/24", "2001:db8:7::7/64", "192.0.2.1/24 nodev")
	up(t, w)
	settled(t)
	has(t, "address 192.0.2.10/24 3", "address 203.0.113.11/24 5", "address 2001:db8:1::10/64 3",
		"address 198.51.100.7/32 1", "address 2001:db8:7::7/128 1", "address fd76:7365:7276:7f::8/128 1")
	l, err := net.InterfaceByName("eth0")
	must(t, err)
	if l.Index != 3 {
		t.Skip("numbers of links are not what they were")
	}
	for to, from := range map[string]string{"192.0.2.77": "192.0.2.1", "2001:db8:1::77": "2001:db8:1::1"} {
		if got := sourced(t, to); got != from {
			t.Errorf("the host itself sends to %s from %s", to, got)
		}
	}
	for _, a := range w.Addresses {
		if s, err := net.Listen("tcp", net.JoinHostPort(a.Addr().String(), "0")); err != nil {
			t.Errorf("bind: %v", err)
		} else {
			s.Close()
		}
	}
	list, err := netlink.AddrList(nil, netlink.FAMILY_V4)
	must(t, err)
	for _, a := range list {
		if a.IP.Equal(net.IPv4(203, 0, 113, 11)) && (a.Label != "eth1:web" || a.Broadcast.String() != "203.0.113.99" || a.Scope != syscall.RT_SCOPE_LINK) {
			t.Errorf("%+v", a)
		}
		if a.IP.Equal(net.IPv4(192, 0, 2, 10)) && a.Broadcast.String() != "192.0.2.255" {
			t.Errorf("%+v", a)
		}
	}
	must(t, down(9)) // another guest
	has(t, "address 192.0.2.10/24")
	must(t, down(8))
	must(t, down(8))
	same(t, before)
}

// TestRefused: what cannot be leaves nothing, and says why.
func TestRefused(t *testing.T) {
	ground(t)
	up(t, want(t, 9, "192.0.2.20/24"))
	networld.Local(t, "fd76:7365:7276:7f::9") // the kernel routes it a moment later
	refused(t, want(t, 8, "192.0.2.10/24", "192.0.2.20/24"), guest.ErrBusy, "192.0.2.20/24: is that of the guest with xid 9")
	refused(t, want(t, 8, "192.0.2.10/24", "192.0.2.1/24"), guest.ErrBusy, "192.0.2.1/24")
	refused(t, want(t, 8, "2001:db8:1::1/64 dev eth0"), guest.ErrBusy, "is there already")
	refused(t, want(t, 8, "192.0.2.10/24", "192.0.2.11/24 dev eth7"), guest.ErrInvalid, "dev eth7: no such link")
	refused(t, want(t, 8, "192.0.2.10/24", "192.0.2.11/24 nodev"), guest.ErrInvalid, "192.0.2.11: nodev, but the host has it not")
	refused(t, Want{XID: 8, Table: 1008, Gateway: []netip.Addr{addr("203.0.113.1")}, Addresses: want(t, 8, "192.0.2.10/24").Addresses}, guest.ErrInvalid,
		"gateway 203.0.113.1: is on no link")
	must(t, os.WriteFile("/proc/sys/net/ipv6/conf/eth1/disable_ipv6", []byte("1"), 0))
	w := want(t, 8, "2001:db8:5::1/64 dev eth1")
	if err := Up(w); !errors.Is(err, syscall.EACCES) || fault.HintOf(err) != "`sysctl net.ipv6.conf.eth1.disable_ipv6=0`" {
		t.Errorf("%v, hint %q", err, fault.HintOf(err))
	}
	must(t, errors.Join(down(8), down(9)))
}

// TestPeer: an address with a peer is there with it, the host reaches the peer by the link, and
// all of it goes again.
func TestPeer(t *testing.T) {
	ground(t)
	before := state(t)
	w := want(t, 8, "192.0.2.10/24", "203.0.113.11/24 dev eth1 peer 198.51.100.1", "203.0.113.12/32 dev eth1 peer 198.51.102.7/24")
	up(t, w)
	must(t, Check(w))
	list, err := netlink.AddrList(nil, netlink.FAMILY_V4)
	must(t, err)
	peers := map[string]string{}
	for _, a := range list {
		if a.Peer != nil {
			peers[a.IP.String()] = a.Peer.String()
		}
	}
	if peers["203.0.113.11"] != "198.51.100.1/32" || peers["203.0.113.12"] != "198.51.102.7/24" {
		t.Errorf("peers: %v", peers)
	}
	for to, from := range map[string]string{"198.51.100.1": "203.0.113.11", "198.51.102.9": "203.0.113.12"} {
		if got := sourced(t, to); got != from {
			t.Errorf("%s is reached from %s", to, got)
		}
	}
	must(t, down(8))
	settled(t)
	same(t, before)
}

// TestVLAN: the link of a VLAN is made for an address, once, and stays.
func TestVLAN(t *testing.T) {
	need.VM(t) // not every kernel has VLANs
	ground(t)
	refused(t, want(t, 8, "203.0.113.11/24 dev eth1.5"), guest.ErrInvalid, "dev eth1.5: no such link")
	refused(t, want(t, 8, "203.0.113.11/24 dev eth7.5 vlan"), guest.ErrInvalid, "dev eth7: no such link")
	for range 2 {
		w := want(t, 8, "203.0.113.11/24 dev eth1.5 vlan", "203.0.113.12/24 dev eth1.5 vlan")
		up(t, w)
		must(t, Check(w))
		has(t, "address 203.0.113.11/24", "address 203.0.113.12/24")
		l, err := netlink.LinkByName("eth1.5")
		must(t, err)
		if v, ok := l.(*netlink.Vlan); !ok || v.VlanId != 5 || v.Attrs().Flags&net.FlagUp == 0 {
			t.Errorf("%+v", l)
		}
		must(t, down(8))
	}
}

// TestTun: a link for programs of the guest is made for an address, for the guest's ids, and
// goes with the last of its addresses; one of the host's own stays, another guest's is refused.
func TestTun(t *testing.T) {
	need.Tun(t)
	ground(t)
	before := state(t)
	w := want(t, 8, "10.9.0.1/24 dev tun7 tun owner 1000", "10.9.0.2/24 dev tun7 tun", "10.9.1.1/24 dev tap7 tap")
	w.Base = 1 << 19
	must(t, Check(w))
	up(t, w)
	must(t, Check(w))
	for name, owner := range map[string]uint32{"tun7": 1<<19 + 1000, "tap7": 1 << 19} {
		l, err := netlink.LinkByName(name)
		must(t, err)
		if v, ok := l.(*netlink.Tuntap); !ok || v.Owner != owner || v.Mode == netlink.TUNTAP_MODE_TAP != (name == "tap7") || v.Attrs().Flags&net.FlagUp == 0 {
			t.Errorf("%+v", l)
		}
	}
	refused(t, want(t, 9, "10.9.0.3/24 dev tun7 tun"), guest.ErrBusy, "dev tun7: is another guest's")
	must(t, Take(0, 8, addr("10.9.0.1")))
	if _, err := netlink.LinkByName("tun7"); err != nil {
		t.Error(err)
	}
	must(t, Take(0, 8, addr("10.9.0.2")))
	if _, err := netlink.LinkByName("tun7"); err == nil {
		t.Error("the link of no address is there")
	}
	must(t, down(8))
	same(t, before)
	must(t, netlink.LinkAdd(&netlink.Tuntap{LinkAttrs: netlink.LinkAttrs{Name: "tun8"}, Mode: netlink.TUNTAP_MODE_TUN}))
	before = state(t)
	up(t, want(t, 8, "10.9.0.1/24 dev tun8 tun"))
	must(t, down(8))
	if _, err := netlink.LinkByName("tun8"); err != nil {
		t.Errorf("the host's own: %v", err)
	}
	same(t, before)
}

// TestWorlds: guests of one number in two installations are not taken for each other.
func TestWorlds(t *testing.T) {
	ground(t)
	one, two := WorldOf(guest.Dirs{Cgroup: "vserver"}), WorldOf(guest.Dirs{Cgroup: "vserver-01234567"})
	if one != 0 || two == 0 || two == WorldOf(guest.Dirs{Cgroup: "vserver-01234568"}) {
		t.Fatal(one, two)
	}
	w := want(t, 8, "192.0.2.10/24", "2001:db8:1::10/64")
	w.Table = 7
	up(t, w)
	up(t, want(t, 8)) // again
	settled(t)
	before := state(t)
	v := want(t, 8, "192.0.2.11/24")
	v.World, v.Table = two, 7
	if err := Up(v); !errors.Is(err, guest.ErrBusy) || !strings.Contains(err.Error(), "another installation has xid 8") {
		t.Error(err)
	}
	if foreign, err := Down(two, 8); !foreign || err != nil {
		t.Error(foreign, err)
	}
	must(t, Take(two, 8, addr("192.0.2.10")))
	same(t, before)
	if foreign, err := Down(one, 8); foreign || err != nil {
		t.Error(foreign, err)
	}
	must(t, Up(v))
	_, err := Down(two, 8)
	must(t, err)
}

// TestPromoted: the guest whose address was the first of its prefix does not take the
// others' with it.
func TestPromoted(t *testing.T) {
	ground(t)
	must(t, os.WriteFile("/proc/sys/net/ipv4/conf/eth1/promote_secondaries", []byte("0"), 0))
	before := state(t)
	up(t, want(t, 8, "198.51.100.8/24 dev eth1", "2001:db8:5::8/64 dev eth1"))
	up(t, want(t, 9, "198.51.100.9/24 dev eth1", "2001:db8:5::9/64 dev eth1"))
	must(t, down(8))
	has(t, "address 198.51.100.9/24", "route 198.51.100.0/24", "route 2001:db8:5::/64", "address 2001:db8:5::9/64")
	must(t, down(9))
	same(t, before)
}

// TestGateway: each guest leaves by its own router, whatever the host does with its
// addresses and routes, and nothing of it stays.
func TestGateway(t *testing.T) {
	ground(t)
	hostAddr(t, "eth1", "198.51.100.1/24")
	must(t, netlink.RouteAdd(&netlink.Route{Gw: net.IPv4(192, 0, 2, 254)}))
	before := state(t)
	one, two, three := want(t, 8, "192.0.2.10/24", "2001:db8:1::10/64"), want(t, 9, "198.51.100.9/24"), want(t, 10, "192.0.2.12/24")
	one.Table, one.Gateway = guest.XID(8).Table(), []netip.Addr{addr("192.0.2.253"), addr("fe80::1")}
	one.Gateway[1] = addr("2001:db8:1::fffe")
	two.Table, two.Gateway = 7, []netip.Addr{addr("198.51.100.254")}
	for _, w := range []Want{one, two, three} {
		up(t, w)
	}
	check := func() {
		t.Helper()
		for from, via := range map[string]string{"192.0.2.10": "192.0.2.253", "198.51.100.9": "198.51.100.254", "192.0.2.12": "192.0.2.254"} {
			if got := leaves(t, from, "203.0.113.5"); got != via {
				t.Errorf("from %s by %s, want %s", from, got, via)
			}
		}
		if got := leaves(t, "192.0.2.10", "192.0.2.77"); got != "<nil>" {
			t.Errorf("to a neighbour by %s", got)
		}
		if got := leaves(t, "2001:db8:1::10", "2001:db8:99::1"); got != "2001:db8:1::fffe" {
			t.Errorf("IPv6 by %s", got)
		}
	}
	check()
	up(t, Want{XID: 8, Table: 1008, Gateway: one.Gateway, Addresses: want(t, 8, "192.0.2.1/24 nodev").Addresses}) // again, and more
	check()
	l, err := netlink.LinkByName("eth1")
	must(t, err)
	gone := &netlink.Addr{IPNet: &net.IPNet{IP: net.IPv4(198, 51, 100, 1).To4(), Mask: net.CIDRMask(24, 32)}}
	must(t, netlink.AddrDel(l, gone))
	check()
	hostAddr(t, "eth1", "198.51.100.1/24")
	check()
	must(t, down(8))
	if got := leaves(t, "198.51.100.9", "203.0.113.5"); got != "198.51.100.254" {
		t.Errorf("the other guest leaves by %s", got)
	}
	must(t, errors.Join(down(9), down(10)))
	same(t, before)
}

// TestPutTake: one address more and one less.
func TestPutTake(t *testing.T) {
	ground(t)
	before := state(t)
	w := want(t, 8, "192.0.2.10/24")
	w.Table = 7
	up(t, w)
	must(t, Put(w, want(t, 8, "192.0.2.11/24").Addresses[0]))
	has(t, "address 192.0.2.11/24", "from 192.0.2.11/32 to all table 7")
	if err := Put(w, want(t, 8, "192.0.2.11/24").Addresses[0]); !errors.Is(err, guest.ErrBusy) {
		t.Error(err)
	}
	must(t, Take(0, 8, addr("192.0.2.11")))
	must(t, Take(0, 8, addr("192.0.2.1"))) // the host's
	has(t, "address 192.0.2.10/24", "address 192.0.2.1/24", "from 192.0.2.10/32")
	must(t, down(8))
	same(t, before)
}

// TestKill closes the connections on one address and no others; a group that none of
// them is in saves them.
func TestKill(t *testing.T) {
	ground(t)
	dial := func(at string) net.Conn {
		l, err := net.Listen("tcp", at+":0")
		must(t, err)
		t.Cleanup(func() { l.Close() })
		from := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(at)}}
		c, err := from.Dial("tcp", l.Addr().String())
		must(t, err)
		t.Cleanup(func() { c.Close() })
		return c
	}
	hostAddr(t, "eth0", "192.0.2.2/24")
	one, other := dial("192.0.2.1"), dial("192.0.2.2")
	if n, err := Kill(addr("192.0.2.1"), []uint64{1 << 40}); err != nil || n != 0 {
		t.Errorf("of another group: %d, %v", n, err)
	}
	if n, err := Kill(addr("192.0.2.1"), nil); errors.Is(err, syscall.EOPNOTSUPP) {
		t.Skip("CONFIG_INET_DIAG_DESTROY")
	} else if err != nil || n == 0 {
		t.Errorf("%d, %v", n, err)
	}
	if _, err := one.Write([]byte("x")); err == nil {
		t.Error("still connected")
	}
	if _, err := other.Write([]byte("x")); err != nil {
		t.Errorf("the other address: %v", err)
	}
}

func TestPool(t *testing.T) {
	ground(t)
	path := filepath.Join(t.TempDir(), "pool")
	p, err := ReadPool(path)
	if err != nil || p != DefaultPool() {
		t.Fatal(p, err)
	}
	if a := p.Address(guest.MaxXID); a.Prefix.String() != "10.118.191.255/32" || !p.Has(a.Addr()) || p.Has(addr("10.119.0.1")) {
		t.Errorf("%v", a)
	}
	for text, good := range map[string]bool{"10.7.0.0/16\n": true, "172.16.0.0/12": true, "10.7.0.0/24": false, "10.7.1.0/16": false,
		"2001:db8::/32": false, "": false, "127.0.0.0/8": false, "0.0.0.0/0": false} {
		must(t, os.WriteFile(path, []byte(text), 0o600))
		if _, err := ReadPool(path); (err == nil) != good || !good && !errors.Is(err, guest.ErrInvalid) {
			t.Errorf("%q: %v", text, err)
		}
	}
	w := want(t, 8)
	w.Addresses = []guest.Address{p.Address(8)}
	up(t, w)
	has(t, "address 10.118.0.8/32 1")
	must(t, down(8))
}
