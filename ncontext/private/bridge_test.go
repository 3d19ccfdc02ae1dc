package private

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"

	"vserver/guest"
	"vserver/internal/need"
	"vserver/ncontext/firewall"
	"vserver/ncontext/private/announce"
	"vserver/ncontext/private/port"
)

// bridged is the spec of a guest on the bridge vsbr0, whose router is the host.
func bridged(xid guest.XID, addrs ...string) *guest.Spec {
	s := spec(xid, addrs...)
	s.Network.Link = guest.LinkBridge
	for _, g := range []string{"198.51.100.1", "2001:db8:2::1"} {
		gw := netip.MustParseAddr(g)
		if slices.ContainsFunc(s.Network.Addresses, func(a guest.Address) bool { return a.Prefix.Contains(gw) }) {
			s.Network.Gateway = append(s.Network.Gateway, gw)
		}
	}
	return s
}

// on makes a namespace and connects it by the spec.
func (w *world) on(s *guest.Spec) netns.NsHandle {
	w.t.Helper()
	h := w.namespace()
	must(w.t, w.up(s, h))
	w.in(h, func() {
		w.ready("eth0")
		for _, a := range s.Network.Addresses {
			w.local(a.Addr().String())
		}
	})
	return h
}

// routeBack tells the outside that the bridge's networks are behind the host.
func (w *world) routeBack() {
	w.in(w.outside, func() {
		for to, via := range map[string]string{"198.51.100.0/24": "192.0.2.1", "2001:db8:2::/64": "2001:db8:1::1"} {
			_, dst, _ := net.ParseCIDR(to)
			must(w.t, netlink.RouteAdd(&netlink.Route{Dst: dst, Gw: net.ParseIP(via)}))
		}
	})
}

// TestBridge has two guests on a bridge of ours reach each other, the host and the
// outside, and sees the bridge go with the last.
func TestBridge(t *testing.T) {
	w := newWorld(t)
	w.routeBack()
	w.in(w.outside, func() {
		must(t, netlink.RouteAdd(&netlink.Route{Dst: ipv4().everything(), Gw: net.ParseIP("192.0.2.1")}))
	})
	must(t, netlink.RouteAdd(&netlink.Route{Dst: ipv4().everything(), Gw: net.ParseIP("192.0.2.9")}))
	must(t, netlink.RouteAdd(&netlink.Route{Dst: ipv6().everything(), Gw: net.ParseIP("2001:db8:1::9")}))
	a := w.on(bridged(8, "198.51.100.10/24", "2001:db8:2::10/64"))
	b := w.on(bridged(9, "198.51.100.20/24", "2001:db8:2::20/64"))
	for _, c := range []struct {
		from, to   netns.NsHandle
		addr, seen string
	}{
		{a, b, "198.51.100.20", "198.51.100.10"},
		{b, a, "2001:db8:2::10", "2001:db8:2::20"},
		{a, w.host, "198.51.100.1", "198.51.100.10"},
		{w.host, a, "198.51.100.10", "198.51.100.1"},
		{w.host, b, "2001:db8:2::20", "2001:db8:2::1"},
		{a, w.outside, "192.0.2.9", "198.51.100.10"},
		{w.outside, b, "198.51.100.20", "192.0.2.9"},
		{w.outside, b, "2001:db8:2::20", "2001:db8:1::9"},
	} {
		if seen, err := w.reaches(c.from, c.to, c.addr); err != nil || seen != c.seen {
			t.Errorf("to %s: seen %q, want %q, %v", c.addr, seen, c.seen, err)
		}
	}
	must(t, Down(8, w.dirs))
	if got := w.marks(); !slices.Contains(got, "link vsbr0") {
		t.Errorf("the bridge went with the first: %q", got)
	}
	if seen, err := w.reaches(w.host, b, "198.51.100.20"); err != nil {
		t.Errorf("the other is cut off: %q, %v", seen, err)
	}
	must(t, Down(9, w.dirs))
	must(t, Down(9, w.dirs))
	if got := w.marks(); slices.Contains(got, "link vsbr0") {
		t.Errorf("left: %q", got)
	}
	if there, err := port.Guarded(Link(9)); there || err != nil {
		t.Error("left: rules of a port", err)
	}
}

// TestBridgeFails has starts fail half-way, and be killed: nothing is left, and the next
// start is none the wiser.
func TestBridgeFails(t *testing.T) {
	w := newWorld(t)
	bad := bridged(8, "198.51.100.10/24")
	bad.Network.Gateway = []netip.Addr{netip.MustParseAddr("203.0.113.1")}
	h := w.namespace()
	if err := w.up(bad, h); !errors.Is(err, guest.ErrInvalid) {
		t.Errorf("a gateway elsewhere: %v", err)
	}
	must(t, Down(8, w.dirs))
	h.Close()
	if got := w.marks(); len(got) > 0 {
		t.Errorf("left: %q", got)
	}
	holder := w.on(published(bridged(7, "198.51.100.7/24"), "8080:80"))
	clash := published(bridged(8, "198.51.100.10/24"), "8080:80")
	h = w.namespace()
	if err := w.up(clash, h); !errors.Is(err, guest.ErrBusy) {
		t.Errorf("a port of another's: %v", err)
	}
	must(t, Down(8, w.dirs))
	h.Close()
	w.until("the end of the link", func() bool { return !slices.Contains(w.marks(), "link vs8") })
	for range 2 { // the first is killed: nobody takes it down
		g := w.on(bridged(8, "198.51.100.10/24"))
		if _, err := w.reaches(g, holder, "198.51.100.7"); err != nil {
			t.Error(err)
		}
	}
	must(t, Down(8, w.dirs))
	must(t, Down(7, w.dirs))
	if got := w.marks(); slices.Contains(got, "link vsbr0") {
		t.Errorf("left: %q", got)
	}
	must(t, firewall.Prune())
	for _, table := range []string{"inet", "bridge"} {
		if out, err := exec.Command(need.Command(t, "nft"), "list", "tables", table).CombinedOutput(); err != nil || len(out) > 0 {
			t.Errorf("left: %s %v", out, err)
		}
	}
}

// TestForeignBridge joins a bridge of the host's, and leaves it alone.
func TestForeignBridge(t *testing.T) {
	w := newWorld(t)
	attrs := netlink.NewLinkAttrs()
	attrs.Name = "br0"
	must(t, netlink.LinkAdd(&netlink.Bridge{LinkAttrs: attrs}))
	br, err := netlink.LinkByName("br0")
	must(t, err)
	up0, err := netlink.LinkByName("up0")
	must(t, err)
	must(t, netlink.LinkSetMaster(up0, br))
	must(t, netlink.LinkSetUp(br))
	w.ready("br0")
	br, err = netlink.LinkByName("br0")
	must(t, err)
	hw := br.Attrs().HardwareAddr.String()
	s := spec(8, "192.0.2.10/24", "2001:db8:1::10/64")
	s.Network.Link, s.Network.Bridge = guest.LinkBridge, "br0"
	s.Network.Gateway = []netip.Addr{netip.MustParseAddr("192.0.2.9")}
	g := w.on(s)
	for _, c := range [][3]string{{"192.0.2.9", "192.0.2.10"}, {"2001:db8:1::9", "2001:db8:1::10"}} {
		if seen, err := w.reaches(g, w.outside, c[0]); err != nil || seen != c[1] {
			t.Errorf("to %s: seen %q, %v", c[0], seen, err)
		}
		if seen, err := w.reaches(w.outside, g, c[1]); err != nil || seen != c[0] {
			t.Errorf("to %s: seen %q, %v", c[1], seen, err)
		}
	}
	if br, err := netlink.LinkByName("br0"); err != nil || br.Attrs().HardwareAddr.String() != hw || br.Attrs().Group != 0 {
		t.Errorf("the bridge was changed: %+v, %v", br.Attrs(), err)
	}
	must(t, Down(8, w.dirs))
	if _, err := netlink.LinkByName("br0"); err != nil {
		t.Error(err)
	}
	s.Network.Bridge = "up0"
	if err := w.up(s, w.namespace()); !errors.Is(err, guest.ErrInvalid) || !strings.Contains(err.Error(), "up0") {
		t.Errorf("a bridge that is none: %v", err)
	}
	must(t, Down(8, w.dirs))
}

// TestBridgeFalseSource has a guest on a bridge send as somebody else.
func TestBridgeFalseSource(t *testing.T) {
	w := newWorld(t)
	g := w.on(bridged(8, "198.51.100.10/24", "2001:db8:2::10/64"))
	other := w.on(bridged(9, "198.51.100.20/24", "2001:db8:2::20/64"))
	for _, c := range []struct {
		from, hw string
		arrives  bool
	}{
		{"198.51.100.10", "", true},
		{"198.51.100.77", "", false},
		{"2001:db8:2::10", "", true},
		{"2001:db8:2::77", "", false},
		{"198.51.100.10", "02:00:00:00:00:07", false},
	} {
		to := "198.51.100.20"
		if strings.Contains(c.from, ":") {
			to = "2001:db8:2::20"
		}
		var in, out net.PacketConn
		var err error
		w.in(other, func() { in, err = net.ListenPacket("udp", net.JoinHostPort(to, "0")) })
		must(t, err)
		w.in(g, func() {
			l, err := netlink.LinkByName("eth0")
			must(t, err)
			own := l.Attrs().HardwareAddr
			if c.hw != "" {
				hw, _ := net.ParseMAC(c.hw)
				must(t, netlink.LinkSetHardwareAddr(l, hw))
				defer func() { must(t, netlink.LinkSetHardwareAddr(l, own)) }()
			}
			addr, _ := netlink.ParseAddr(c.from + map[bool]string{true: "/128", false: "/32"}[strings.Contains(c.from, ":")])
			if addr.IP.To4() == nil {
				addr.Flags = syscall.IFA_F_NODAD
			}
			netlink.AddrAdd(l, addr) // fails for its own, which is there
			out, err = net.ListenPacket("udp", net.JoinHostPort(c.from, "0"))
			must(t, err)
			for range 3 { // the first may find the other's neighbour entry stale
				_, err = out.WriteTo([]byte("x"), in.LocalAddr())
				must(t, err)
				time.Sleep(20 * time.Millisecond)
			}
		})
		in.SetReadDeadline(time.Now().Add(300 * time.Millisecond))
		_, _, err = in.ReadFrom(make([]byte, 9))
		if (err == nil) != c.arrives {
			t.Errorf("from %s %s: %v, arrives: %v", c.from, c.hw, err, c.arrives)
		}
		in.Close()
		out.Close()
	}
}

// TestBridgeFalseNeighbour has a guest on a bridge say that it is the router, and that
// it is itself.
func TestBridgeFalseNeighbour(t *testing.T) {
	w := newWorld(t)
	g := w.on(bridged(8, "198.51.100.10/24", "2001:db8:2::10/64"))
	other := w.on(bridged(9, "198.51.100.20/24", "2001:db8:2::20/64"))
	old, _ := net.ParseMAC("02:00:00:00:00:99")
	var eth netlink.Link
	heard := []string{"198.51.100.10", "2001:db8:2::10"}
	lies := []string{"198.51.100.1", "2001:db8:2::1", "198.51.100.77", "2001:db8:2::77"}
	w.in(other, func() {
		var err error
		eth, err = netlink.LinkByName("eth0")
		must(t, err)
		for _, a := range append(lies, heard...) {
			must(t, netlink.NeighSet(&netlink.Neigh{LinkIndex: eth.Attrs().Index, IP: net.ParseIP(a), HardwareAddr: old, State: netlink.NUD_STALE}))
		}
	})
	w.in(g, func() {
		l, err := netlink.LinkByName("eth0")
		must(t, err)
		for _, a := range append(lies, heard...) {
			must(t, announce.At(l.Attrs().Index, l.Attrs().HardwareAddr, netip.MustParseAddr(a)))
		}
	})
	known := func(a string) (hw string) {
		w.in(other, func() {
			list, err := netlink.NeighList(eth.Attrs().Index, netlink.FAMILY_ALL)
			must(t, err)
			for _, n := range list {
				if n.IP.Equal(net.ParseIP(a)) {
					hw = n.HardwareAddr.String()
				}
			}
		})
		return hw
	}
	for _, a := range heard { // sent last
		w.until(a+" is heard of", func() bool { return known(a) == station(w.dirs, 8).String() })
	}
	for _, a := range lies {
		if got := known(a); got != old.String() {
			t.Errorf("%s is believed to be at %s", a, got)
		}
	}
}

// TestBridgeParallel has guests come to and go from one bridge at once.
func TestBridgeParallel(t *testing.T) {
	w := newWorld(t)
	const n = 8
	guests := make([]netns.NsHandle, n)
	for i := range guests {
		guests[i] = w.namespace()
	}
	var wg sync.WaitGroup
	for round := range 4 {
		for i := range n {
			wg.Go(func() {
				w.in(w.host, func() {
					xid := guest.XID(100 + i)
					if i%2 == 0 && round%2 == 1 {
						if err := Down(xid, w.dirs); err != nil {
							t.Error(i, err)
						}
					} else if i%2 == 0 || round == 0 {
						if err := w.up(bridged(xid, fmt.Sprintf("198.51.100.%d/24", 100+i)), guests[i]); err != nil {
							t.Error(i, err)
						}
					}
				})
			})
		}
		wg.Wait()
	}
	for i := 1; i < n; i += 2 {
		if _, err := w.reaches(w.host, guests[i], fmt.Sprintf("198.51.100.%d", 100+i)); err != nil {
			t.Error(i, err)
		}
	}
	for i := range n {
		must(t, Down(guest.XID(100+i), w.dirs))
	}
	if got := w.marks(); slices.Contains(got, "link vsbr0") {
		t.Errorf("left: %q", got)
	}
}

// TestMacvlan puts a guest beside the host's link.
func TestMacvlan(t *testing.T) {
	w := newWorld(t)
	s := spec(8, "192.0.2.10/24", "2001:db8:1::10/64")
	s.Network.Link, s.Network.Parent = guest.LinkMacvlan, "up0"
	g := w.on(s)
	for _, c := range [][2]string{{"192.0.2.9", "192.0.2.10"}, {"2001:db8:1::9", "2001:db8:1::10"}} {
		if seen, err := w.reaches(g, w.outside, c[0]); err != nil || seen != c[1] {
			t.Errorf("to %s: seen %q, %v", c[0], seen, err)
		}
		if seen, err := w.reaches(w.outside, g, c[1]); err != nil || seen != c[0] {
			t.Errorf("to %s: seen %q, %v", c[1], seen, err)
		}
	}
	must(t, Down(8, w.dirs))
	s.Network.Parent = "nosuch0"
	if err := w.up(s, w.namespace()); err == nil || !strings.Contains(err.Error(), "nosuch0") {
		t.Error(err)
	}
}
