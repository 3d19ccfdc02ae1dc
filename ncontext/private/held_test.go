package private

import (
	"errors"
	"net"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"

	"vserver/guest"
)

// TestHeld has guests at a bridge and beside a link held to their rules, which stand in
// their own namespace, and to what is set while they run.
func TestHeld(t *testing.T) {
	w := newWorld(t)
	macvlan := spec(10, "192.0.2.10/24", "2001:db8:1::10/64")
	macvlan.Network.Link, macvlan.Network.Parent = guest.LinkMacvlan, "up0"
	for _, c := range []struct {
		name        string
		spec        *guest.Spec
		other       func() netns.NsHandle
		its, other4 string
	}{
		{"bridge", bridged(8, "198.51.100.10/24"), func() netns.NsHandle { return w.on(bridged(9, "198.51.100.20/24")) }, "198.51.100.10", "198.51.100.20"},
		{"macvlan", macvlan, func() netns.NsHandle { return w.outside }, "192.0.2.10", "192.0.2.9"},
	} {
		c.spec.Network.Firewall = rulesOf(t, "deny in tcp", "deny out udp")
		g := w.on(c.spec)
		other := c.other()
		if seen, err := w.reaches(g, other, c.other4); err != nil || seen != c.its {
			t.Errorf(c.name+": out: seen %q, %v", seen, err)
		}
		if seen, err := w.reaches(other, g, c.its); err == nil {
			t.Errorf(c.name+": in: seen %q", seen)
		}
		if seen, err := w.reaches(g, g, c.its); err != nil {
			t.Errorf(c.name+": to itself: seen %q, %v", seen, err)
		}
		w.in(g, func() {
			u, err := net.Dial("udp", c.other4+":9")
			must(t, err)
			if _, err := u.Write([]byte("x")); !errors.Is(err, syscall.EHOSTUNREACH) && !errors.Is(err, syscall.EPERM) {
				t.Errorf(c.name+": a datagram: %v", err)
			}
			u.Close()
		})
		c.spec.Network.Firewall = nil
		must(t, Refresh(Guest{Spec: c.spec, Name: "g", Netns: int(g), Dirs: w.dirs}))
		if seen, err := w.reaches(other, g, c.its); err != nil || seen != c.other4 {
			t.Errorf(c.name+": in, without rules: seen %q, %v", seen, err)
		}
		must(t, Down(c.spec.XID, w.dirs))
	}
}

// rulesOf reads rules.
func rulesOf(t testing.TB, lines ...string) (out []guest.Rule) {
	t.Helper()
	for _, l := range lines {
		r, err := guest.ParseRule(l)
		must(t, err)
		out = append(out, r)
	}
	return out
}

// TestAnnounced has a guest's address move from one hardware address to another: its
// neighbours know at once.
func TestAnnounced(t *testing.T) {
	for _, link := range []guest.NetLink{guest.LinkBridge, guest.LinkMacvlan} {
		t.Run(string(link), func(t *testing.T) {
			w := newWorld(t)
			s := spec(8, "192.0.2.10/24", "2001:db8:1::10/64")
			if s.Network.Link = link; link == guest.LinkMacvlan {
				s.Network.Parent = "up0"
			} else {
				s.Network.Bridge = "br0"
				attrs := netlink.NewLinkAttrs()
				attrs.Name = "br0"
				must(t, netlink.LinkAdd(&netlink.Bridge{LinkAttrs: attrs}))
				up0, err := netlink.LinkByName("up0")
				must(t, err)
				br, err := netlink.LinkByName("br0")
				must(t, err)
				must(t, netlink.LinkSetMaster(up0, br))
				must(t, netlink.LinkSetUp(br))
				w.ready("br0")
			}
			old, _ := net.ParseMAC("02:00:00:00:00:99")
			addrs := []string{"192.0.2.10", "2001:db8:1::10"}
			var eth netlink.Link
			w.in(w.outside, func() {
				var err error
				eth, err = netlink.LinkByName("eth")
				must(t, err)
				for _, a := range addrs {
					must(t, netlink.NeighSet(&netlink.Neigh{LinkIndex: eth.Attrs().Index, IP: net.ParseIP(a), HardwareAddr: old, State: netlink.NUD_STALE}))
				}
			})
			w.on(s)
			want := station(w.dirs, 8).String()
			for _, a := range addrs {
				got := ""
				for end := time.Now().Add(5 * time.Second); got != want && time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
					w.in(w.outside, func() {
						list, err := netlink.NeighList(eth.Attrs().Index, netlink.FAMILY_ALL)
						must(t, err)
						for _, n := range list {
							if n.IP.Equal(net.ParseIP(a)) {
								got = n.HardwareAddr.String()
							}
						}
					})
				}
				if got != want {
					t.Errorf("%s: the outside thinks of %s, is at %s", a, got, want)
				}
			}
		})
	}
}
