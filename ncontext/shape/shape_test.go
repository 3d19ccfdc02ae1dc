package shape

import (
	"errors"
	"fmt"
	"math"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"

	"vserver/guest"
	"vserver/internal/need"
	"vserver/internal/networld"
	"vserver/ncontext/firewall"
)

func TestMain(m *testing.M) { need.Main(m) }

// world is a host, in whose namespace the test's thread is, and a router behind its
// link.
//
//	router eth 198.51.100.99/24 2001:db8::99/64 --- up0 198.51.100.1/24 2001:db8::1/64 host
type world struct {
	t      testing.TB
	router netns.NsHandle
	inner  netns.NsHandle // where 10.1.0.8 is, if anywhere
	up     netlink.Link
}

func newWorld(t testing.TB) *world {
	t.Helper()
	networld.Host(t)
	w := &world{t: t, router: networld.Namespace(t)}
	networld.Pair(t, "up0", "eth", w.router, 0)
	var err error
	w.up, err = netlink.LinkByName("up0")
	must(t, err)
	w.in(func() { w.address("eth", "198.51.100.99/24", "2001:db8::99/64") })
	w.address("up0", "198.51.100.1/24", "2001:db8::1/64", "198.51.100.8/24", "198.51.100.9/24", "198.51.100.10/24", "2001:db8::9/64")
	must(t, netlink.RouteAdd(&netlink.Route{LinkIndex: w.up.Attrs().Index, Gw: net.ParseIP("198.51.100.99")}))
	return w
}

// in does something in the router's namespace.
func (w *world) in(do func()) { w.within(w.router, do) }

func (w *world) within(h netns.NsHandle, do func()) {
	w.t.Helper()
	networld.In(w.t, h, do)
}

func (w *world) address(link string, addrs ...string) { networld.Address(w.t, link, addrs...) }

// guest has its packets marked and shaped.
func (w *world) guest(xid guest.XID, e guest.Egress, addrs ...string) {
	w.t.Helper()
	g := Guest{XID: xid, Egress: e}
	for _, a := range addrs {
		g.Addresses = append(g.Addresses, netip.MustParseAddr(a))
	}
	must(w.t, firewall.Change(firewall.Guest{XID: xid, Addresses: g.Addresses, Shaped: e.Asked()}))
	must(w.t, Change(g))
}

// line gives the link's class a rate, as a line behind it would have.
func (w *world) line(rate guest.Rate) {
	w.t.Helper()
	attrs := netlink.ClassAttrs{LinkIndex: w.up.Attrs().Index, Parent: netlink.MakeHandle(major, 0), Handle: netlink.MakeHandle(major, linkClass)}
	must(w.t, netlink.ClassChange(netlink.NewHtbClass(attrs, netlink.HtbClassAttrs{Rate: uint64(rate), Ceil: uint64(rate), Buffer: 32 << 10, Cbuffer: 32 << 10})))
}

// flood sends to the router from each address as fast as the socket takes it, until
// the router has got that many bytes of all, and gives what it got of each.
func (w *world) flood(total int64, from ...string) []int64 {
	w.t.Helper()
	got := make([]int64, len(from))
	stop := make(chan struct{})
	defer close(stop)
	type part struct{ from, bytes int }
	parts := make(chan part, 1<<10)
	for i, a := range from {
		to := "198.51.100.99:0"
		if netip.MustParseAddr(a).Is6() {
			to = "[2001:db8::99]:0"
		}
		var sink net.PacketConn
		w.in(func() { sink, _ = net.ListenPacket("udp", to) })
		if sink == nil {
			w.t.Fatal("no sink")
		}
		defer sink.Close()
		var c *net.UDPConn
		var err error
		dial := func() { c, err = net.DialUDP("udp", &net.UDPAddr{IP: net.ParseIP(a)}, sink.LocalAddr().(*net.UDPAddr)) }
		if a == "10.1.0.8" {
			w.within(w.inner, dial)
		} else {
			dial()
		}
		must(w.t, err)
		defer c.Close()
		go func() {
			for b := make([]byte, 1400); ; {
				select {
				case <-stop:
					return
				default:
					c.Write(b) // an error is a full queue
				}
			}
		}()
		go func() {
			for b := make([]byte, 2048); ; {
				n, _, err := sink.ReadFrom(b)
				if err != nil {
					return
				}
				select {
				case <-stop:
					return
				case parts <- part{i, n}:
				}
			}
		}()
	}
	for left, end := total, time.After(time.Minute); left > 0; {
		select {
		case p := <-parts:
			got[p.from] += int64(p.bytes)
			left -= int64(p.bytes)
		case <-end:
			w.t.Fatalf("after a minute: %v of %d", got, total)
		}
	}
	return got
}

// ratio has two send, and holds what they got against each other, generously: the machine is
// busy. An emulated one keeps no time, and a sender there may wait long for a processor: in it
// only the order is held.
func (w *world) ratio(want float64, total int64, from ...string) {
	w.t.Helper()
	if need.InVM() {
		w.between(1.1, math.Inf(1), total, from...)
		return
	}
	w.between(want*0.6, want*1.6, total, from...)
}

// between has two send until the second gets so many times as much as the first. One of them may
// stand still a while with its processor: three looks are had at most.
func (w *world) between(least, most float64, total int64, from ...string) {
	w.t.Helper()
	var amiss [][]int64
	for len(amiss) < 3 {
		got := w.flood(total, from...)
		if r := float64(got[1]) / float64(max(got[0], 1)); least <= r && r <= most {
			return
		}
		amiss = append(amiss, got)
	}
	w.t.Errorf("%v: not between %.2f and %.2f times as much", amiss, least, most)
}

// root names the discipline of a link.
func (w *world) root(l netlink.Link) string {
	w.t.Helper()
	list, err := netlink.QdiscList(l)
	must(w.t, err)
	for _, q := range list {
		if q.Attrs().Parent == netlink.HANDLE_ROOT {
			return fmt.Sprint(q.Type(), " ", netlink.HandleStr(q.Attrs().Handle))
		}
	}
	return ""
}

func TestRates(t *testing.T) {
	w := newWorld(t)
	before := w.root(w.up)
	w.guest(8, guest.Egress{Rate: 4e6}, "198.51.100.8")
	w.guest(9, guest.Egress{Rate: 16e6}, "198.51.100.9", "2001:db8::9")
	w.ratio(4, 3e6, "198.51.100.8", "198.51.100.9")
	w.ratio(4, 3e6, "198.51.100.8", "2001:db8::9")
	// Who asks for nothing is not slowed: it gets many times as much, on a slow machine too.
	w.guest(8, guest.Egress{Rate: 4e5}, "198.51.100.8")
	w.between(8, math.Inf(1), 20e6, "198.51.100.8", "198.51.100.10")
	w.guest(8, guest.Egress{Rate: 4e6}, "198.51.100.8")
	w.guest(9, guest.Egress{Rate: 8e6}, "198.51.100.9")
	w.ratio(2, 2e6, "198.51.100.8", "198.51.100.9")
	for _, xid := range []guest.XID{8, 8, 9} {
		must(t, Down(xid))
		must(t, firewall.Down(xid))
	}
	if after := w.root(w.up); after != before {
		t.Errorf("discipline %q, before %q", after, before)
	}
}

func TestShares(t *testing.T) {
	w := newWorld(t)
	w.guest(8, guest.Egress{Share: 10}, "198.51.100.8")
	w.guest(9, guest.Egress{Share: 40}, "198.51.100.9")
	w.line(8e6)
	w.ratio(4, 2e6, "198.51.100.8", "198.51.100.9")
	// What is reserved comes first: 4.8 and a tenth of 3.2 against nine tenths of 3.2.
	w.guest(8, guest.Egress{Reserved: 48e5, Share: 10}, "198.51.100.8")
	w.guest(9, guest.Egress{Share: 90}, "198.51.100.9")
	w.line(8e6)
	w.ratio(5.12/2.88, 2e6, "198.51.100.9", "198.51.100.8")
	// The host has ten times the share of a guest.
	w.guest(8, guest.Egress{Share: 10}, "198.51.100.8")
	w.guest(9, guest.Egress{}, "198.51.100.9")
	w.line(8e6)
	w.ratio(10, 2e6, "198.51.100.8", "198.51.100.9")
}

// What a guest is sent is bounded on its own link by a queue, and in the host's network
// by the packet filter.
func TestIngress(t *testing.T) {
	w := newWorld(t)
	must(t, netlink.LinkSetGroup(w.up, group)) // now the router is a guest
	must(t, Up(Guest{XID: 8, Link: "up0", Ingress: 4e6}))
	must(t, Change(Guest{XID: 8, Link: "up0", Ingress: 8e6}))
	began := time.Now()
	w.flood(2e6, "198.51.100.8")
	if took := time.Since(began); took < time.Second { // 2 seconds, less what a bucket holds
		t.Errorf("2 MB at 8M in %v", took)
	}
	must(t, Change(Guest{XID: 8, Link: "up0"}))
	if root := w.root(w.up); root != "noqueue none" {
		t.Errorf("discipline %q", root)
	}
}

// TestForwarded shapes a guest behind a link of its own where its packets leave the host.
func TestForwarded(t *testing.T) {
	w := newWorld(t)
	inner := networld.Namespace(t)
	networld.Pair(t, "vs8", "eth0", inner, group)
	w.address("vs8", "10.1.0.1/24")
	must(t, os.WriteFile("/proc/sys/net/ipv4/conf/all/forwarding", []byte("1"), 0))
	w.within(inner, func() {
		w.address("eth0", "10.1.0.8/24")
		must(t, netlink.RouteAdd(&netlink.Route{Gw: net.ParseIP("10.1.0.1")}))
	})
	w.in(func() { must(t, netlink.RouteAdd(&netlink.Route{Gw: net.ParseIP("198.51.100.1")})) })
	w.guest(8, guest.Egress{Rate: 4e6}, "10.1.0.8")
	w.guest(9, guest.Egress{Rate: 16e6}, "198.51.100.9")
	w.inner = inner
	w.ratio(4, 3e6, "10.1.0.8", "198.51.100.9")
}

// A discipline of the host's own stays, and the guest is told.
func TestForeign(t *testing.T) {
	w := newWorld(t)
	attrs := netlink.QdiscAttrs{LinkIndex: w.up.Attrs().Index, Parent: netlink.HANDLE_ROOT, Handle: netlink.MakeHandle(1, 0)}
	asks := Guest{XID: 8, Egress: guest.Egress{Rate: 1e6}}
	must(t, Check(asks))
	must(t, netlink.QdiscAdd(netlink.NewHtb(attrs)))
	for _, do := range []func(Guest) error{Check, Up} {
		if err := do(asks); !errors.Is(err, guest.ErrBusy) {
			t.Errorf("up: %v", err)
		}
	}
	must(t, Check(Guest{XID: 8}))
	must(t, Down(8))
	if root := w.root(w.up); root != "htb 1:0" {
		t.Errorf("discipline %q", root)
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	networld.Must(t, err)
}
