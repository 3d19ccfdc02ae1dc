package private

import (
	"errors"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"

	"vserver/fault"
	"vserver/guest"
	"vserver/ncontext/private/rtm"
)

// TestReach opens connections between all who should reach each other, and looks at
// who the other end says it is.
func TestReach(t *testing.T) {
	w := newWorld(t)
	a := w.guest(8, "192.0.2.10/24", "192.0.2.11/24", "2001:db8:1::10/64")
	b := w.guest(49151, "192.0.2.20/24", "2001:db8:1::20/64", "198.51.100.7/32")
	for _, c := range []struct {
		from, to   netns.NsHandle
		addr, seen string
	}{
		{w.outside, a, "192.0.2.10", "192.0.2.9"},
		{w.outside, a, "192.0.2.11", "192.0.2.9"},
		{w.outside, b, "192.0.2.20", "192.0.2.9"},
		{w.outside, a, "2001:db8:1::10", "2001:db8:1::9"},
		{a, w.outside, "192.0.2.9", "192.0.2.10"},
		{a, w.outside, "2001:db8:1::9", "2001:db8:1::10"},
		{w.host, a, "192.0.2.10", "192.0.2.1"},
		{w.host, a, "2001:db8:1::10", "2001:db8:1::1"},
		{a, w.host, "192.0.2.1", "192.0.2.10"},
		{a, w.host, "2001:db8:1::1", "2001:db8:1::10"},
		{a, b, "192.0.2.20", "192.0.2.10"},
		{b, a, "192.0.2.11", "192.0.2.20"},
		{b, a, "2001:db8:1::10", "2001:db8:1::20"},
		{a, b, "198.51.100.7", "192.0.2.10"},
		{a, a, "192.0.2.11", "192.0.2.10"},
	} {
		begin := time.Now()
		seen, err := w.reaches(c.from, c.to, c.addr)
		if err != nil || seen != c.seen {
			t.Errorf("to %s: seen %q, want %q, %v", c.addr, seen, c.seen, err)
		}
		if d := time.Since(begin); d > 500*time.Millisecond {
			t.Errorf("to %s: took %v", c.addr, d)
		}
	}
}

// TestView looks at the guest's end as its owner would.
func TestView(t *testing.T) {
	w := newWorld(t)
	up, err := netlink.LinkByName("up0")
	must(t, err)
	must(t, netlink.LinkSetMTU(up, 1400))
	g := w.guest(8, "192.0.2.10/24", "2001:db8:1::10/64")
	w.in(g, func() {
		l, err := netlink.LinkByName("eth0")
		must(t, err)
		if l.Attrs().MTU != 1400 || l.Attrs().HardwareAddr.String() != "02:76:73:00:08:00" {
			t.Errorf("link %+v", l.Attrs())
		}
		addrs, err := netlink.AddrList(l, netlink.FAMILY_ALL)
		must(t, err)
		var got []string
		for _, a := range addrs {
			if !a.IP.IsLinkLocalUnicast() {
				got = append(got, a.IPNet.String())
			}
		}
		if s := strings.Join(got, " "); s != "192.0.2.10/24 2001:db8:1::10/64" {
			t.Errorf("addresses %s", s)
		}
		routes, err := netlink.RouteList(l, netlink.FAMILY_V4)
		must(t, err)
		if len(routes) != 1 || routes[0].Gw.String() != "169.254.1.1" || routes[0].Src.String() != "192.0.2.10" {
			t.Errorf("routes %v", routes)
		}
	})
	host, err := netlink.LinkByName(Link(8))
	must(t, err)
	if host.Attrs().Alias != "g8" || host.Attrs().MTU != 1400 {
		t.Errorf("host's end %+v", host.Attrs())
	}
	if addrs, err := netlink.AddrList(host, netlink.FAMILY_ALL); err != nil || len(addrs) > 0 {
		t.Errorf("host's end has addresses %v, %v", addrs, err)
	}
}

// TestSettings looks at what keeps the host from believing its guests.
func TestSettings(t *testing.T) {
	w := newWorld(t)
	must(t, writeSysctl("1", "ipv6", "conf", "up0", "accept_ra"))
	must(t, writeSysctl("0", "ipv4", "ip_forward"))
	w.guest(8, "192.0.2.10/24")
	if got := w.setting("ipv6|conf|all|forwarding"); got != "0" {
		t.Errorf("IPv6 forwarding is %s for an IPv4 guest", got)
	}
	w.guest(9, "2001:db8:1::10/64")
	for path, want := range map[string]string{
		"ipv4|ip_forward":                   "0",
		"ipv4|conf|vs8|forwarding":          "1",
		"ipv4|conf|up0|forwarding":          "1",
		"ipv4|conf|vs8|rp_filter":           "1",
		"ipv4|conf|vs8|accept_redirects":    "0",
		"ipv4|conf|vs8|secure_redirects":    "0",
		"ipv4|conf|vs8|accept_source_route": "0",
		"ipv4|neigh|up0|proxy_delay":        "0",
		"ipv6|conf|vs8|disable_ipv6":        "1",
		"ipv6|conf|vs9|disable_ipv6":        "0",
		"ipv6|conf|vs9|accept_ra":           "0",
		"ipv6|conf|vs9|addr_gen_mode":       "1",
		"ipv6|conf|all|forwarding":          "1",
		"ipv6|conf|up0|accept_ra":           "2",
		"ipv6|conf|up0|proxy_ndp":           "1",
	} {
		if got := w.setting(path); got != want {
			t.Errorf("%s is %s, want %s", path, got, want)
		}
	}
}

// TestFalseSource has guests send as somebody else, on a host that has loosened its
// reverse path filter.
func TestFalseSource(t *testing.T) {
	w := newWorld(t)
	must(t, writeSysctl("2", "ipv4", "conf", "all", "rp_filter"))
	g := w.guest(8, "192.0.2.10/24", "2001:db8:1::10/64")
	w.guest(9, "192.0.2.20/24", "2001:db8:1::20/64")
	for _, c := range []struct {
		from, to string
		arrives  bool
	}{
		{"192.0.2.10", "192.0.2.9", true},
		{"192.0.2.10", "192.0.2.1", true},
		{"192.0.2.20", "192.0.2.9", false},  // another guest
		{"192.0.2.1", "192.0.2.9", false},   // the host
		{"192.0.2.77", "192.0.2.9", false},  // a neighbour
		{"203.0.113.5", "192.0.2.9", false}, // anybody
		{"203.0.113.5", "192.0.2.1", false}, // to the host itself
		{"2001:db8:1::10", "2001:db8:1::9", true},
		{"2001:db8:1::20", "2001:db8:1::9", false},
		{"2001:db8:1::77", "2001:db8:1::9", false},
		{"2001:db8:9::1", "2001:db8:1::1", false},
	} {
		to := w.outside
		if strings.HasSuffix(c.to, ".1") || strings.HasSuffix(c.to, "::1") {
			to = w.host
		}
		var in, out net.PacketConn
		var err error
		w.in(to, func() { in, err = net.ListenPacket("udp", net.JoinHostPort(c.to, "0")) })
		must(t, err)
		w.in(g, func() {
			l, err := netlink.LinkByName("eth0")
			must(t, err)
			addr, _ := netlink.ParseAddr(c.from + map[bool]string{true: "/128", false: "/32"}[strings.Contains(c.from, ":")])
			addr.Flags = 2 // IFA_F_NODAD
			if addr.IP.To4() != nil {
				addr.Flags = 0
			}
			netlink.AddrAdd(l, addr) // fails for its own, which is there
			out, err = net.ListenPacket("udp", net.JoinHostPort(c.from, "0"))
			must(t, err)
		})
		_, err = out.WriteTo([]byte("x"), in.LocalAddr())
		must(t, err)
		in.SetReadDeadline(time.Now().Add(300 * time.Millisecond))
		_, _, err = in.ReadFrom(make([]byte, 9))
		if (err == nil) != c.arrives {
			t.Errorf("from %s to %s: %v, arrives: %v", c.from, c.to, err, c.arrives)
		}
		in.Close()
		out.Close()
	}
}

// TestRouters has two guests leave by two routers, and reach each other without either.
func TestRouters(t *testing.T) {
	w := newWorld(t)
	second := w.namespace()
	veth := &netlink.Veth{LinkAttrs: netlink.NewLinkAttrs(), PeerName: "eth", PeerNamespace: netlink.NsFd(second)}
	veth.Name = "up1"
	must(t, netlink.LinkAdd(veth))
	w.address("up1", "203.0.113.1/24", "2001:db8:9::1/64")
	w.in(second, func() { w.address("eth", "203.0.113.9/24", "2001:db8:9::9/64") })
	w.ready("up1")
	for _, h := range []netns.NsHandle{w.outside, second} {
		w.in(h, func() { w.address("lo", "10.99.0.1/32", "2001:db8:99::1/128") })
	}
	routed := func(xid guest.XID, gateways []string, addrs ...string) netns.NsHandle {
		s := spec(xid, addrs...)
		for _, g := range gateways {
			s.Network.Gateway = append(s.Network.Gateway, netip.MustParseAddr(g))
		}
		return w.on(s)
	}
	a := routed(8, []string{"192.0.2.9", "2001:db8:1::9"}, "192.0.2.10/24", "2001:db8:1::10/64")
	b := routed(9, []string{"203.0.113.9", "2001:db8:9::9"}, "203.0.113.10/24", "2001:db8:9::10/64")
	w.served(w.outside, "tcp", "81")
	w.served(second, "tcp", "82")
	w.served(a, "tcp", "80")
	for _, c := range []struct {
		from     netns.NsHandle
		to, seen string
	}{
		{a, "10.99.0.1:81", "192.0.2.10"},
		{a, "[2001:db8:99::1]:81", "2001:db8:1::10"},
		{b, "10.99.0.1:82", "203.0.113.10"},
		{b, "[2001:db8:99::1]:82", "2001:db8:9::10"},
		{b, "192.0.2.10:80", "203.0.113.10"},
		{b, "[2001:db8:1::10]:80", "2001:db8:9::10"},
		{w.host, "192.0.2.10:80", "192.0.2.1"},
	} {
		if seen := w.asks(c.from, "tcp", c.to, long); seen != c.seen {
			t.Errorf("to %s: seen as %q, want %q", c.to, seen, c.seen)
		}
	}
	must(t, Down(8, w.dirs))
	must(t, Down(9, w.dirs))
	for _, f := range []int{netlink.FAMILY_V4, netlink.FAMILY_V6} {
		rules, err := netlink.RuleList(f)
		must(t, err)
		routes, err := netlink.RouteListFiltered(f, &netlink.Route{Protocol: rtm.Protocol}, netlink.RT_FILTER_PROTOCOL|netlink.RT_FILTER_TABLE)
		must(t, err)
		for _, r := range rules {
			if r.Protocol == rtm.Protocol {
				t.Errorf("left: %v", r)
			}
		}
		if len(routes) > 0 {
			t.Errorf("left: %v", routes)
		}
	}
	s := spec(10, "192.0.2.30/24")
	s.Network.Gateway = []netip.Addr{netip.MustParseAddr("10.1.2.3")}
	if err := w.up(s, w.namespace()); !errors.Is(err, guest.ErrInvalid) || fault.HintOf(err) == "" {
		t.Errorf("a router on no link: %v", err)
	}
	must(t, Down(10, w.dirs))
}

func TestDown(t *testing.T) {
	w := newWorld(t)
	must(t, Down(8, w.dirs)) // nothing there
	a := w.guest(8, "192.0.2.10/24", "2001:db8:1::10/64", "198.51.100.7/32")
	w.guest(9, "192.0.2.20/24", "2001:db8:1::20/64")
	left := []string{"link vs9", "proxy 192.0.2.20", "proxy 2001:db8:1::20", "route 192.0.2.20", "route 2001:db8:1::20"}
	must(t, Down(8, w.dirs))
	got := slices.DeleteFunc(w.marks(), func(s string) bool { return s == "link vs8" })
	if slices.Sort(got); !slices.Equal(got, left) {
		t.Errorf("after Down: %q", got)
	}
	must(t, Down(8, w.dirs))
	a.Close()
	for end := time.Now().Add(3 * time.Second); slices.Contains(w.marks(), "link vs8"); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the link stays")
		}
	}
}

// TestDownAfterDeath takes down what is left of a guest that ended by itself: its
// link and routes are gone, its proxies are not. Another guest's Down does it too.
func TestDownAfterDeath(t *testing.T) {
	w := newWorld(t)
	for _, who := range []guest.XID{8, 30} {
		a := w.guest(8, "192.0.2.10/24", "2001:db8:1::10/64")
		a.Close()
		for slices.Contains(w.marks(), "link vs8") {
			time.Sleep(time.Millisecond)
		}
		if !slices.Contains(w.marks(), "proxy 192.0.2.10") {
			t.Error("the kernel removes proxies by itself; the sweep is not needed")
		}
		must(t, Down(who, w.dirs))
		if got := w.marks(); len(got) > 0 {
			t.Errorf("left: %q", got)
		}
	}
}

// TestForeignProxy leaves alone what an administrator has made.
func TestForeignProxy(t *testing.T) {
	w := newWorld(t)
	up, err := netlink.LinkByName("up0")
	must(t, err)
	theirs := &netlink.Neigh{LinkIndex: up.Attrs().Index, IP: net.IPv4(192, 0, 2, 200), Flags: netlink.NTF_PROXY, Family: netlink.FAMILY_V4}
	must(t, netlink.NeighAdd(theirs))
	w.guest(8, "192.0.2.10/24")
	must(t, Down(8, w.dirs))
	list, err := netlink.NeighProxyList(0, netlink.FAMILY_V4)
	must(t, err)
	if len(list) != 1 || !list[0].IP.Equal(theirs.IP) {
		t.Errorf("proxies %v", list)
	}
}

// TestAgain connects a guest whose former link is still there.
func TestAgain(t *testing.T) {
	w := newWorld(t)
	first := w.guest(8, "192.0.2.10/24")
	must(t, Down(8, w.dirs))
	for range 3 {
		g := w.guest(8, "192.0.2.10/24")
		if _, err := w.reaches(w.outside, g, "192.0.2.10"); err != nil {
			t.Error(err)
		}
	}
	if _, err := w.reaches(first, w.outside, "192.0.2.9"); err == nil {
		t.Error("the former namespace still reaches out")
	}
	must(t, Down(8, w.dirs))
}

func TestRefused(t *testing.T) {
	w := newWorld(t)
	w.guest(8, "192.0.2.10/24")
	for addr, want := range map[string]error{
		"192.0.2.1/24":     guest.ErrInvalid,
		"192.0.2.255/24":   guest.ErrInvalid,
		"2001:db8:1::1/64": guest.ErrInvalid,
		"192.0.2.10/24":    guest.ErrBusy,
	} {
		err := w.up(spec(9, addr), w.namespace())
		if !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", addr, err, want)
		}
		if want == guest.ErrInvalid && fault.HintOf(err) == "" {
			t.Errorf("%s: no hint", addr)
		}
	}
}

// TestNothing sees that without addresses not even the namespace is looked at.
func TestNothing(t *testing.T) {
	if err := Up(Guest{Spec: spec(8), Name: "g8", Netns: -1}); err != nil {
		t.Error(err)
	}
}

func BenchmarkUp(b *testing.B) {
	w := newWorld(b)
	for name, addrs := range map[string][]string{"v4": {"192.0.2.10/24"}, "v4v6": {"192.0.2.10/24", "2001:db8:1::10/64"}} {
		b.Run(name, func(b *testing.B) {
			s := spec(8, addrs...)
			for b.Loop() {
				b.StopTimer()
				h := w.namespace()
				b.StartTimer()
				must(b, w.up(s, h))
				b.StopTimer()
				must(b, Down(8, w.dirs))
				h.Close()
				l, err := netlink.LinkByName(Link(8))
				if err == nil {
					netlink.LinkDel(l)
				}
				b.StartTimer()
			}
		})
	}
}
