package private

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"

	"vserver/guest"
	"vserver/internal/need"
	"vserver/internal/networld"
	"vserver/ncontext/private/port"
	"vserver/ncontext/private/rtm"
)

func TestMain(m *testing.M) { need.Main(m) }

// world is a host and a machine on its link, each a network namespace made for the
// test. The test's own thread is in the host's.
//
//	outside eth 192.0.2.9/24 2001:db8:1::9/64 --- up0 192.0.2.1/24 2001:db8:1::1/64 host
type world struct {
	t             testing.TB
	host, outside netns.NsHandle
	dirs          guest.Dirs
}

func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{t: t, host: networld.Host(t), outside: networld.Namespace(t), dirs: guest.DefaultDirs(t.TempDir())}
	// A machine that has been up for a second: addresses are no longer being checked
	// for duplicates, and the ends of the link have different numbers, or the kernel
	// takes a second to see the carrier.
	for _, h := range []netns.NsHandle{w.host, w.outside} {
		w.in(h, func() { must(t, writeSysctl("0", "ipv6", "conf", "default", "dad_transmits")) })
	}
	spare := &netlink.Veth{LinkAttrs: netlink.NewLinkAttrs(), PeerName: "spare1"}
	spare.Name = "spare0"
	must(t, netlink.LinkAdd(spare))
	networld.Pair(t, "up0", "eth", w.outside, 0)
	w.address("up0", "192.0.2.1/24", "2001:db8:1::1/64")
	w.in(w.outside, func() { w.address("eth", "192.0.2.9/24", "2001:db8:1::9/64") })
	w.ready("up0")
	w.local("2001:db8:1::1")
	w.in(w.outside, func() { w.local("2001:db8:1::9") })
	return w
}

func (w *world) namespace() netns.NsHandle { return networld.Namespace(w.t) }

// in does something in a namespace.
func (w *world) in(h netns.NsHandle, do func()) {
	w.t.Helper()
	networld.In(w.t, h, do)
}

// address gives a link of this namespace addresses and sets it up.
func (w *world) address(link string, addrs ...string) { networld.Address(w.t, link, addrs...) }

// ready waits until the kernel has seen a link's carrier, local until it owns to an
// address.
func (w *world) ready(link string) { networld.Ready(w.t, link) }

func (w *world) local(addr string) { networld.Local(w.t, addr) }

// guest makes a namespace and connects it.
func (w *world) guest(xid guest.XID, addrs ...string) netns.NsHandle {
	w.t.Helper()
	h := w.namespace()
	must(w.t, w.up(spec(xid, addrs...), h))
	w.ready(Link(xid))
	w.in(h, func() {
		for _, a := range addrs {
			w.local(netip.MustParsePrefix(a).Addr().String())
		}
	})
	return h
}

// up connects a namespace as a guest.
func (w *world) up(s *guest.Spec, h netns.NsHandle) error {
	return Up(Guest{Spec: s, Name: guest.Name(fmt.Sprint("g", s.XID)), Netns: int(h), Dirs: w.dirs})
}

func spec(xid guest.XID, addrs ...string) *guest.Spec {
	s := &guest.Spec{XID: xid}
	s.Network.Mode = guest.NetPrivate
	for _, a := range addrs {
		s.Network.Addresses = append(s.Network.Addresses, guest.Address{Prefix: netip.MustParsePrefix(a)})
	}
	return s
}

// reaches opens a connection from one namespace to an address of another and sends a
// line; it gives the address that the other end saw, or "" and an error.
func (w *world) reaches(from, to netns.NsHandle, addr string) (seen string, err error) {
	w.t.Helper()
	var l net.Listener
	w.in(to, func() { l, err = net.Listen("tcp", net.JoinHostPort(addr, "0")) })
	if err != nil {
		return "", err
	}
	defer l.Close()
	port := l.Addr().(*net.TCPAddr).Port
	got := make(chan string, 1)
	go func() {
		c, err := l.Accept()
		if err != nil {
			got <- ""
			return
		}
		defer c.Close()
		got <- c.RemoteAddr().(*net.TCPAddr).IP.String()
	}()
	var c net.Conn
	w.in(from, func() { c, err = net.DialTimeout("tcp", net.JoinHostPort(addr, fmt.Sprint(port)), 3*time.Second) })
	if err != nil {
		return "", err
	}
	defer c.Close()
	select {
	case seen = <-got:
	case <-time.After(3 * time.Second):
		err = os.ErrDeadlineExceeded
	}
	return seen, err
}

// setting reads a file of /proc/sys/net in the host's namespace.
func (w *world) setting(path string) string {
	w.t.Helper()
	v, err := readSysctl(strings.Split(path, "|")...)
	must(w.t, err)
	return v
}

// marks lists what the host's namespace has of ours: links, routes, proxies.
func (w *world) marks() (out []string) {
	w.t.Helper()
	links, err := dump(netlink.LinkList)
	must(w.t, err)
	for _, l := range links {
		if g := l.Attrs().Group; g == group || g == port.Group || g == switchGroup {
			out = append(out, "link "+l.Attrs().Name)
		}
	}
	for _, f := range []family{ipv4(), ipv6()} {
		routes, err := dump(func() ([]netlink.Route, error) {
			return netlink.RouteListFiltered(f.number, &netlink.Route{Protocol: rtm.Protocol}, netlink.RT_FILTER_PROTOCOL)
		})
		must(w.t, err)
		for _, r := range routes {
			out = append(out, "route "+r.Dst.IP.String())
		}
		list, err := dump(func() ([]rtm.Proxy, error) { return rtm.Proxies(f.number) })
		must(w.t, err)
		for _, p := range list {
			out = append(out, "proxy "+p.IP.String())
		}
	}
	return out
}

func must(t testing.TB, err error) {
	t.Helper()
	networld.Must(t, err)
}
