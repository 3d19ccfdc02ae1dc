package private

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"

	"vserver/guest"
)

// published adds published ports to a spec.
func published(s *guest.Spec, lines ...string) *guest.Spec {
	for _, l := range lines {
		p, err := guest.ParsePublish(l)
		if err != nil {
			panic(err)
		}
		s.Network.Publish = append(s.Network.Publish, p)
	}
	return s
}

// served has somebody listen in a namespace and say who speaks to it.
func (w *world) served(in netns.NsHandle, proto, port string) {
	w.t.Helper()
	w.in(in, func() {
		if proto == "udp" {
			c, err := net.ListenPacket("udp", ":"+port)
			must(w.t, err)
			w.t.Cleanup(func() { c.Close() })
			go func() {
				for buf := make([]byte, 9); ; {
					_, from, err := c.ReadFrom(buf)
					if err != nil {
						return
					}
					c.WriteTo([]byte(from.(*net.UDPAddr).IP.String()), from)
				}
			}()
			return
		}
		l, err := net.Listen("tcp", ":"+port)
		must(w.t, err)
		w.t.Cleanup(func() { l.Close() })
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				fmt.Fprint(c, c.RemoteAddr().(*net.TCPAddr).IP)
				c.Close()
			}
		}()
	})
}

// asks gives what somebody who listens says of whom asks it; "" when nobody answers.
func (w *world) asks(from netns.NsHandle, proto, to string, patience time.Duration) (seen string) {
	w.in(from, func() {
		c, err := net.DialTimeout(proto, to, patience)
		if err != nil {
			return
		}
		defer c.Close()
		buf := make([]byte, 64)
		for end := time.Now().Add(patience); time.Now().Before(end) && seen == ""; {
			c.SetDeadline(time.Now().Add(min(patience, time.Second)))
			if proto == "udp" {
				c.Write([]byte("x"))
			}
			n, err := c.Read(buf)
			if seen = string(buf[:n]); err != nil && proto == "tcp" {
				return
			}
		}
	})
	return seen
}

const (
	long  = 10 * time.Second       // for what is to be answered
	short = 300 * time.Millisecond // for what is not
)

// TestPublish asks for published ports from everywhere.
func TestPublish(t *testing.T) {
	for _, on := range []string{"routed", "bridge", "bridge with br_netfilter"} {
		t.Run(on, func(t *testing.T) {
			w := newWorld(t)
			link, filter := guest.LinkBridge, "0"
			if on == "routed" {
				link = guest.LinkRouted
			} else if on != "bridge" {
				filter = "1"
			}
			for _, setting := range []string{"bridge-nf-call-iptables", "bridge-nf-call-ip6tables"} {
				if err := writeSysctl(filter, "bridge", setting); err != nil && filter == "1" {
					t.Skip(err)
				}
			}
			lines := []string{"8080:80", "5353:53/udp", "10000-10003:20000-20003", "127.0.0.1:7000:80", "192.0.2.1:7001:80", "[2001:db8:1::1]:7002:80"}
			var a, b netns.NsHandle
			if link == guest.LinkRouted {
				a = w.on(published(spec(8, "192.0.2.10/24", "2001:db8:1::10/64"), lines...))
				b = w.on(spec(9, "192.0.2.20/24", "2001:db8:1::20/64"))
			} else {
				a = w.on(published(bridged(8, "198.51.100.10/24", "2001:db8:2::10/64"), lines...))
				b = w.on(bridged(9, "198.51.100.20/24", "2001:db8:2::20/64"))
				w.in(b, func() { w.ready("eth0") })
			}
			for _, port := range []string{"80", "20000", "20003"} {
				w.served(a, "tcp", port)
			}
			w.served(a, "udp", "53")
			for _, c := range []struct {
				who       string
				from      netns.NsHandle
				proto, to string
				seen      string // "+" for anybody, "" for no answer
			}{
				{"outside", w.outside, "tcp", "192.0.2.1:8080", "192.0.2.9"},
				{"outside", w.outside, "tcp", "[2001:db8:1::1]:8080", "2001:db8:1::9"},
				{"outside", w.outside, "udp", "192.0.2.1:5353", "192.0.2.9"},
				{"outside", w.outside, "udp", "[2001:db8:1::1]:5353", "2001:db8:1::9"},
				{"outside", w.outside, "tcp", "192.0.2.1:10000", "192.0.2.9"},
				{"outside", w.outside, "tcp", "192.0.2.1:10003", "192.0.2.9"},
				{"outside", w.outside, "tcp", "192.0.2.1:7001", "192.0.2.9"},
				{"outside", w.outside, "tcp", "[2001:db8:1::1]:7002", "2001:db8:1::9"},
				{"outside", w.outside, "tcp", "192.0.2.1:7000", ""},
				{"outside", w.outside, "tcp", "192.0.2.1:7002", ""},
				{"outside", w.outside, "tcp", "192.0.2.1:5353", ""},
				{"host", w.host, "tcp", "192.0.2.1:8080", "+"},
				{"host", w.host, "tcp", "[2001:db8:1::1]:8080", "+"},
				{"host", w.host, "udp", "192.0.2.1:5353", "+"},
				{"host", w.host, "tcp", "127.0.0.1:8080", "+"},
				{"host", w.host, "udp", "127.0.0.1:5353", "+"},
				{"host", w.host, "tcp", "127.0.0.1:7000", "+"},
				{"host", w.host, "tcp", "127.0.8.1:8080", ""},
				{"other guest", b, "tcp", "192.0.2.1:8080", "+"},
				{"other guest", b, "tcp", "[2001:db8:1::1]:8080", "+"},
				{"itself", a, "tcp", "192.0.2.1:8080", "+"},
				{"itself", a, "tcp", "[2001:db8:1::1]:8080", "+"},
			} {
				if c.who == "itself" && filter == "1" && link == guest.LinkBridge {
					c.seen = "" // the kernel leads it away in the bridge, which sends nothing back by the port it came from
				}
				patience := long
				if c.seen == "" {
					patience = short
				}
				seen := w.asks(c.from, c.proto, c.to, patience)
				if seen != c.seen && !(c.seen == "+" && seen != "") {
					t.Errorf("%s to %s %s: seen as %q, want %q", c.who, c.proto, c.to, seen, c.seen)
				}
			}
			err := w.up(published(spec(10, "192.0.2.30/24"), "10002:1"), w.namespace())
			if !errors.Is(err, guest.ErrBusy) {
				t.Errorf("a port of another's: %v", err)
			}
			must(t, Down(10, w.dirs))
			must(t, Down(8, w.dirs))
			if seen := w.asks(w.outside, "tcp", "192.0.2.1:8080", short); seen != "" {
				t.Errorf("still published: seen as %q", seen)
			}
			must(t, Down(9, w.dirs))
		})
	}
}

// TestRepublish publishes other ports while a guest runs, and none.
func TestRepublish(t *testing.T) {
	w := newWorld(t)
	s := bridged(8, "198.51.100.10/24", "2001:db8:2::10/64")
	a := w.on(published(s, "8080:80"))
	w.served(a, "tcp", "80")
	for _, c := range []struct {
		publish        []string
		answers, quiet string
	}{
		{[]string{"8088:80"}, "8088", "8080"}, {nil, "", "8088"}, {[]string{"8080:80", "8088:80"}, "8080", "8089"},
	} {
		s.Network.Publish = nil
		must(t, Refresh(Guest{Spec: published(s, c.publish...), Name: "g8", Netns: int(a), Dirs: w.dirs}))
		for port, seen := range map[string]string{c.answers: "192.0.2.9", c.quiet: ""} {
			patience := long
			if seen == "" {
				patience = short
			}
			if got := w.asks(w.outside, "tcp", "192.0.2.1:"+port, patience); port != "" && got != seen {
				t.Errorf("%q: port %s: seen as %q, want %q", c.publish, port, got, seen)
			}
		}
	}
	must(t, Down(8, w.dirs))
}

// TestPublishLoopback has the wire speak to 127.0.0.1, where guests' ports and the
// host's own servers are.
func TestPublishLoopback(t *testing.T) {
	w := newWorld(t)
	a := w.on(published(spec(8, "192.0.2.10/24"), "127.0.0.1:7000:80", "8080:80"))
	w.served(a, "tcp", "80")
	w.served(w.host, "tcp", "9000")
	for _, from := range []netns.NsHandle{w.outside, a} {
		w.in(from, func() {
			loopback, err := netlink.ParseAddr("127.0.0.1/8")
			must(t, err)
			must(t, netlink.AddrDel(byIndex(1), loopback)) // or 127.0.0.1 is its own
			link, via := "eth", "192.0.2.1"
			if from == a {
				link, via = "eth0", "169.254.1.1"
			}
			l, err := netlink.LinkByName(link)
			must(t, err)
			must(t, writeSysctl("1", "ipv4", "conf", link, "route_localnet"))
			_, dst, _ := net.ParseCIDR("127.0.0.1/32")
			must(t, netlink.RouteReplace(&netlink.Route{Dst: dst, Gw: net.ParseIP(via), LinkIndex: l.Attrs().Index, Flags: int(netlink.FLAG_ONLINK)}))
		})
		for _, port := range []string{"7000", "8080", "9000"} {
			if seen := w.asks(from, "tcp", "127.0.0.1:"+port, short); seen != "" {
				t.Errorf("port %s of 127.0.0.1 answers the wire", port)
			}
		}
	}
	if seen := w.asks(w.host, "tcp", "127.0.0.1:7000", long); seen == "" {
		t.Error("nor does it answer the host")
	}
}

// TestPublishForeign publishes a port of a guest whose router is another machine.
func TestPublishForeign(t *testing.T) {
	w := newWorld(t)
	attrs := netlink.NewLinkAttrs()
	attrs.Name = "br0"
	must(t, netlink.LinkAdd(&netlink.Bridge{LinkAttrs: attrs}))
	w.address("br0", "198.51.100.1/24", "2001:db8:2::1/64")
	s := published(spec(8, "198.51.100.10/24", "2001:db8:2::10/64"), "8080:80")
	s.Network.Link, s.Network.Bridge = guest.LinkBridge, "br0"
	s.Network.Gateway = []netip.Addr{netip.MustParseAddr("198.51.100.254")} // nobody
	a := w.on(s)
	s = spec(9, "198.51.100.20/24", "2001:db8:2::20/64")
	s.Network.Link, s.Network.Bridge = guest.LinkBridge, "br0"
	s.Network.Gateway = []netip.Addr{netip.MustParseAddr("198.51.100.1")}
	b := w.on(s)
	w.served(a, "tcp", "80")
	w.ready("br0")
	for _, c := range []struct {
		from netns.NsHandle
		to   string
		seen string
	}{
		{w.outside, "192.0.2.1:8080", "198.51.100.1"},
		{w.outside, "[2001:db8:1::1]:8080", "2001:db8:2::1"},
		{w.host, "192.0.2.1:8080", "198.51.100.1"},
		{b, "198.51.100.1:8080", "198.51.100.1"},
		{b, "[2001:db8:2::1]:8080", "2001:db8:2::1"},
	} {
		if seen := w.asks(c.from, "tcp", c.to, long); seen != c.seen {
			t.Errorf("to %s: seen as %q, want %q", c.to, seen, c.seen)
		}
	}
	must(t, Down(8, w.dirs))
	must(t, Down(9, w.dirs))
}

// TestNoSource speaks to a guest from a host that has no address at all.
func TestNoSource(t *testing.T) {
	w := newWorld(t)
	l, err := netlink.LinkByName("up0")
	must(t, err)
	must(t, netlink.LinkDel(l))
	a := w.on(published(spec(8, "192.0.2.10/24", "2001:db8:1::10/64"), "8080:80"))
	w.served(a, "tcp", "80")
	for _, to := range []string{"192.0.2.10:80", "[2001:db8:1::10]:80", "127.0.0.1:8080"} {
		seen := w.asks(w.host, "tcp", to, long)
		if !slices.Contains([]string{"169.254.1.1", "fe80::1"}, seen) {
			t.Errorf("to %s: seen as %q", to, seen)
		}
	}
}
