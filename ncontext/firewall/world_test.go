package firewall

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"

	"vserver/guest"
	"vserver/internal/need"
	"vserver/internal/networld"
	"vserver/kernel/nft"
)

func TestMain(m *testing.M) { need.Main(m) }

// world is a host and a machine on its link, each a network namespace made for the
// test. The test's own thread is in the host's.
//
//	outside eth 198.51.100.99/24 2001:db8::99/64 --- up0 198.51.100.1/24 2001:db8::1/64 host
type world struct {
	t             testing.TB
	host, outside netns.NsHandle
}

func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{t: t, host: networld.Host(t), outside: networld.Namespace(t)}
	w.pair("up0", "eth", w.outside)
	w.address("up0", "198.51.100.1/24", "2001:db8::1/64")
	w.in(w.outside, func() { w.address("eth", "198.51.100.99/24", "2001:db8::99/64") })
	return w
}

func (w *world) namespace() netns.NsHandle { return networld.Namespace(w.t) }

// in does something in a namespace.
func (w *world) in(h netns.NsHandle, do func()) {
	w.t.Helper()
	networld.In(w.t, h, do)
}

// pair connects the host with another namespace.
func (w *world) pair(name, peer string, other netns.NsHandle) {
	w.t.Helper()
	group := uint32(0)
	if strings.HasPrefix(name, "vs") {
		group = linkGroup
	}
	networld.Pair(w.t, name, peer, other, group)
}

// address gives a link addresses, which are there at once, and sets it up.
func (w *world) address(link string, addrs ...string) {
	w.t.Helper()
	networld.Address(w.t, link, addrs...)
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
		if l, err := netlink.LinkByName(link); err == nil && l.Attrs().OperState != netlink.OperLowerLayerDown {
			return
		}
	}
}

// private makes a namespace that is connected as a guest with a routed link is.
func (w *world) private(xid guest.XID, addrs ...string) netns.NsHandle {
	w.t.Helper()
	h := w.namespace()
	name := Guest{XID: xid}.link()
	w.pair(name, "eth0", h)
	must(w.t, os.WriteFile("/proc/sys/net/ipv4/conf/all/forwarding", []byte("1"), 0))
	w.in(h, func() {
		w.address("eth0", addrs...)
		l, _ := netlink.LinkByName("eth0")
		must(w.t, netlink.RouteAdd(&netlink.Route{LinkIndex: l.Attrs().Index, Scope: netlink.SCOPE_LINK,
			Dst: &net.IPNet{IP: net.IPv4zero.To4(), Mask: net.CIDRMask(0, 32)}}))
	})
	w.address(name)
	must(w.t, os.WriteFile("/proc/sys/net/ipv4/conf/"+name+"/proxy_arp", []byte("1"), 0))
	must(w.t, os.WriteFile("/proc/sys/net/ipv4/neigh/"+name+"/proxy_delay", []byte("0"), 0))
	l, _ := netlink.LinkByName(name)
	for _, a := range addrs {
		p := netip.MustParsePrefix(a)
		must(w.t, netlink.RouteAdd(&netlink.Route{LinkIndex: l.Attrs().Index, Scope: netlink.SCOPE_LINK,
			Dst: &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(32, 32)}}))
	}
	return h
}

func (g Guest) link() string { return fmt.Sprintf("vs%d", g.XID) }

// end is a place to listen at or to connect from.
type end struct {
	ns   netns.NsHandle
	addr string // of the sender; "" is the kernel's choice
}

// served is what a server saw of the first connection.
type served struct{ from string }

// wait is how long something that comes is waited for, and little how long something
// that must not.
const (
	wait   = 20 * time.Second
	little = 150 * time.Millisecond
)

// tcp connects to addr, where a server listens in another place, and tells what the
// server saw; refused or lost connections give an error.
func (w *world) tcp(from end, to netns.NsHandle, listen, dial string, patience time.Duration) (served, error) {
	w.t.Helper()
	var l net.Listener
	var err error
	w.in(to, func() { l, err = net.Listen("tcp", listen) })
	must(w.t, err)
	defer l.Close()
	seen := make(chan string, 1)
	go func() {
		c, err := l.Accept()
		if err != nil {
			seen <- ""
			return
		}
		c.Write([]byte("x"))
		seen <- c.RemoteAddr().(*net.TCPAddr).IP.String()
		c.Close()
	}()
	d := net.Dialer{Timeout: patience}
	if from.addr != "" {
		d.LocalAddr = &net.TCPAddr{IP: net.ParseIP(from.addr)}
	}
	var c net.Conn
	w.in(from.ns, func() { c, err = d.Dial("tcp", dial) })
	if err != nil {
		return served{}, err
	}
	defer c.Close()
	c.SetReadDeadline(time.Now().Add(patience))
	if _, err := c.Read(make([]byte, 1)); err != nil {
		return served{}, err
	}
	return served{<-seen}, nil
}

// passes and blocked hold what tcp gives against what is wanted.
func (w *world) passes(from end, to netns.NsHandle, addr string) {
	w.t.Helper()
	if _, err := w.tcp(from, to, addr, addr, wait); err != nil {
		w.t.Errorf("from %q to %s: %v", from.addr, addr, err)
	}
}

func (w *world) blocked(from end, to netns.NsHandle, addr string) {
	w.t.Helper()
	if _, err := w.tcp(from, to, addr, addr, little); err == nil {
		w.t.Errorf("from %q to %s: passed", from.addr, addr)
	}
}

func (w *world) refused(from end, to netns.NsHandle, addr string) {
	w.t.Helper()
	if _, err := w.tcp(from, to, addr, addr, wait); !errors.Is(err, syscall.EHOSTUNREACH) && !errors.Is(err, syscall.EACCES) {
		w.t.Errorf("from %q to %s: %v, want it refused", from.addr, addr, err)
	}
}

// left names what the table still has.
func (w *world) left() []string {
	w.t.Helper()
	conn, err := nft.Open()
	must(w.t, err)
	defer conn.Close()
	chains, err := conn.Chains(table())
	must(w.t, err)
	sets, err := conn.Sets(table())
	must(w.t, err)
	out := slices.DeleteFunc(slices.Concat(chains, sets), func(s string) bool { return s == sourceChain }) // which stays
	slices.Sort(out)
	return out
}

func parsed(t testing.TB, lines ...string) (out []guest.Rule) {
	for _, line := range lines {
		r, err := guest.ParseRule(line)
		must(t, err)
		out = append(out, r)
	}
	return out
}

func addrs(list ...string) (out []netip.Addr) {
	for _, a := range list {
		out = append(out, netip.MustParseAddr(a))
	}
	return out
}

func must(t testing.TB, err error) {
	t.Helper()
	networld.Must(t, err)
}
