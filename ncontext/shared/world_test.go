package shared

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

	"vserver/guest"
	"vserver/internal/agent"
	"vserver/internal/need"
	"vserver/internal/networld"
)

func TestMain(m *testing.M) {
	agent.Be()
	need.Main(m)
}

// ground puts the test's own thread into a network namespace made for it, with two
// links: eth0 has 192.0.2.1/24 and 2001:db8:1::1/64, eth1 nothing but its carrier.
func ground(t testing.TB) {
	t.Helper()
	networld.Host(t)
	for _, conf := range []string{"default", "all"} {
		must(t, os.WriteFile("/proc/sys/net/ipv6/conf/"+conf+"/dad_transmits", []byte("0"), 0))
	}
	for i, a := range [][]string{{"192.0.2.1/24", "2001:db8:1::1/64"}, nil} {
		veth := &netlink.Veth{LinkAttrs: netlink.NewLinkAttrs(), PeerName: fmt.Sprint("far", i)}
		veth.Name = fmt.Sprint("eth", i)
		must(t, netlink.LinkAdd(veth))
		for _, name := range []string{veth.Name, veth.PeerName} {
			l, err := netlink.LinkByName(name)
			must(t, err)
			must(t, netlink.LinkSetUp(l))
		}
		for _, p := range a {
			hostAddr(t, veth.Name, p)
		}
	}
	settled(t)
}

func hostAddr(t testing.TB, link, p string) {
	t.Helper()
	l, err := netlink.LinkByName(link)
	must(t, err)
	a, err := netlink.ParseAddr(p)
	must(t, err)
	if a.IP.To4() == nil {
		a.Flags = syscall.IFA_F_NODAD
	}
	must(t, netlink.AddrAdd(l, a))
}

// settled waits until what the kernel does in its own time is done: no address that is
// being checked, and the route of every IPv6 address there.
func settled(t testing.TB) {
	t.Helper()
	for end := time.Now().Add(5 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		list, err := complete(func() ([]netlink.Addr, error) { return netlink.AddrList(nil, netlink.FAMILY_V6) })
		must(t, err)
		links := 0
		ok := true
		for _, a := range list {
			ok = ok && a.Flags&syscall.IFA_F_TENTATIVE == 0
			if a.IP.IsLinkLocalUnicast() {
				links++
			}
			routes, err := netlink.RouteGet(a.IP)
			ok = ok && (a.IP.IsLinkLocalUnicast() || err == nil && len(routes) > 0 && routes[0].Type == syscall.RTN_LOCAL)
		}
		if ok && links == 4 {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("addresses are not settled: %v", list)
		}
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	networld.Must(t, err)
}

// state is all addresses, rules and routes of the namespace, a line for each.
func state(t testing.TB) (out []string) {
	t.Helper()
	addrs, err := complete(func() ([]netlink.Addr, error) { return netlink.AddrList(nil, netlink.FAMILY_ALL) })
	must(t, err)
	for _, a := range addrs {
		out = append(out, fmt.Sprintf("address %s %d", a.IPNet, a.LinkIndex))
	}
	for _, f := range []int{netlink.FAMILY_V4, netlink.FAMILY_V6} {
		rules, err := complete(func() ([]netlink.Rule, error) { return netlink.RuleList(f) })
		must(t, err)
		for _, r := range rules {
			out = append(out, "rule "+r.String())
		}
		routes, err := complete(func() ([]netlink.Route, error) {
			return netlink.RouteListFiltered(f, &netlink.Route{Table: syscall.RT_TABLE_UNSPEC}, netlink.RT_FILTER_TABLE)
		})
		must(t, err)
		for _, r := range routes {
			if r.Dst != nil && r.Dst.IP.IsMulticast() {
				continue
			}
			out = append(out, fmt.Sprintf("route %v via %v dev %d table %d metric %#x", r.Dst, r.Gw, r.LinkIndex, r.Table, r.Priority))
		}
	}
	slices.Sort(out)
	return out
}

// complete asks again when the answer changed while it was given.
func complete[T any](ask func() ([]T, error)) (list []T, err error) {
	for range 20 {
		if list, err = ask(); !errors.Is(err, netlink.ErrDumpInterrupted) {
			break
		}
	}
	return list, err
}

// same fails when the state is another than before.
func same(t testing.TB, before []string) {
	t.Helper()
	now := state(t)
	for _, l := range now {
		if !slices.Contains(before, l) {
			t.Errorf("left: %s", l)
		}
	}
	for _, l := range before {
		if !slices.Contains(now, l) {
			t.Errorf("gone: %s", l)
		}
	}
}

// has fails unless the state has a line with each of the words.
func has(t testing.TB, words ...string) {
	t.Helper()
	now := state(t)
	for _, w := range words {
		if !slices.ContainsFunc(now, func(l string) bool { return strings.Contains(l, w) }) {
			t.Errorf("no %q in\n%s", w, strings.Join(now, "\n"))
		}
	}
}

func want(t testing.TB, xid guest.XID, lines ...string) Want {
	t.Helper()
	w := Want{XID: xid, Groups: 100000}
	for _, l := range lines {
		a, err := guest.ParseAddress(l)
		must(t, err)
		w.Addresses = append(w.Addresses, a)
	}
	return w
}

func up(t testing.TB, w Want) {
	t.Helper()
	must(t, Up(w))
}

func down(xid guest.XID) error {
	_, err := Down(0, xid)
	return err
}

func refused(t testing.TB, w Want, is error, says string) {
	t.Helper()
	before := state(t)
	err := Up(w)
	if !errors.Is(err, is) || !strings.Contains(err.Error(), says) {
		t.Errorf("%v: %v, want %q", w.Addresses, err, says)
	}
	must(t, down(w.XID))
	same(t, before)
}

// sourced says from which address the host would send to another.
func sourced(t testing.TB, to string) string {
	t.Helper()
	routes, err := netlink.RouteGet(net.ParseIP(to))
	must(t, err)
	return routes[0].Src.String()
}

// leaves says by which router a packet from one address to another leaves.
func leaves(t testing.TB, from, to string) string {
	t.Helper()
	routes, err := netlink.RouteGetWithOptions(net.ParseIP(to), &netlink.RouteGetOptions{SrcAddr: net.ParseIP(from)})
	must(t, err)
	return routes[0].Gw.String()
}

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }
