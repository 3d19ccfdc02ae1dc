package firewall

import (
	"errors"
	"net"
	"net/netip"
	"syscall"
	"testing"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"

	"vserver/guest"
	"vserver/kernel/nft"
)

// TestPublish reaches guests through ports of the host: from another machine, from the
// host, from another guest and from the guest itself; at all addresses and at one.
func TestPublish(t *testing.T) {
	w := newWorld(t)
	w.address("up0", "198.51.100.2/24")
	one, two := w.private(8, "10.1.0.8/32"), w.private(9, "10.1.0.9/32")
	w.shared(7, "198.51.100.7")
	must(t, Up(Guest{XID: 8, Link: "vs8", Addresses: addrs("10.1.0.8"),
		Publish: published(t, "8080:80", "9000-9010:9000-9010", "7000-7001:70-71")}))
	must(t, Up(Guest{XID: 9, Link: "vs9", Addresses: addrs("10.1.0.9"), Publish: published(t, "198.51.100.2:8080:81")}))

	out := end{w.outside, ""}
	for _, c := range []struct {
		from       end
		dial       string
		listen     string
		firstGuest bool
		seen       string
	}{
		{out, "198.51.100.1:8080", "10.1.0.8:80", true, "198.51.100.99"},
		{out, "198.51.100.1:9005", "10.1.0.8:9005", true, "198.51.100.99"},
		{out, "198.51.100.1:7001", "10.1.0.8:71", true, "198.51.100.99"},
		{out, "198.51.100.2:8080", "10.1.0.9:81", false, "198.51.100.99"},
		{end{w.host, ""}, "198.51.100.1:8080", "10.1.0.8:80", true, "198.51.100.1"},
		{end{two, ""}, "198.51.100.1:8080", "10.1.0.8:80", true, ""},
		{end{one, ""}, "198.51.100.1:8080", "10.1.0.8:80", true, ""},
	} {
		to := two
		if c.firstGuest {
			to = one
		}
		if got, err := w.tcp(c.from, to, c.listen, c.dial, wait); err != nil || c.seen != "" && got.from != c.seen {
			t.Errorf("%s: %v, %v; want %s", c.dial, got, err, c.seen)
		}
	}
	// What is a shared guest's stays its own, and so does what is not published.
	w.passes(out, w.host, "198.51.100.7:8080")
	w.passes(out, w.host, "198.51.100.1:8081")
	must(t, Up(Guest{XID: 6, Addresses: addrs("198.51.100.1")})) // comes later
	w.passes(out, w.host, "198.51.100.1:8080")

	for _, do := range []func(Guest) error{Check, Up} {
		if err := do(Guest{XID: 10, Link: "vs10", Addresses: addrs("10.1.0.10"), Publish: published(t, "9010:1")}); !errors.Is(err, guest.ErrBusy) {
			t.Errorf("a port published twice: %v", err)
		}
	}
	must(t, Check(Guest{XID: 10, Link: "vs10", Addresses: addrs("10.1.0.10"), Publish: published(t, "9012:1")}))
	for xid := guest.XID(6); xid < 10; xid++ {
		must(t, Down(xid))
	}
	if left := w.left(); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

// TestMasquerade hides a pool from other machines, and from nobody else.
func TestMasquerade(t *testing.T) {
	w := newWorld(t)
	w.address("up0", "10.7.0.5/32")
	guest9 := w.private(9, "10.1.0.9/32")
	pool, other := netip.MustParsePrefix("10.7.0.0/16"), netip.MustParsePrefix("2001:db8:7::/64")
	must(t, Masquerade(pool))
	must(t, Masquerade(pool))
	must(t, Masquerade(other))
	me := end{w.host, "10.7.0.5"}
	for _, c := range []struct {
		to         bool // outside
		addr, seen string
	}{{true, "198.51.100.99:80", "198.51.100.1"}, {false, "10.1.0.9:80", "10.7.0.5"}} {
		ns := guest9
		if c.to {
			ns = w.outside
		}
		if got, err := w.tcp(me, ns, c.addr, c.addr, wait); err != nil || got.from != c.seen {
			t.Errorf("%s: %v, %v; want %s", c.addr, got, err, c.seen)
		}
	}
	must(t, Up(Guest{XID: 8, Addresses: addrs("10.7.0.5"), Rules: parsed(t, "deny in")}))
	must(t, Down(8))
	if got, err := w.tcp(me, w.outside, "198.51.100.99:80", "198.51.100.99:80", wait); err != nil || got.from != "198.51.100.1" {
		t.Errorf("after a guest went: %v, %v", got, err)
	}
	must(t, Unmasquerade(other))
	must(t, Unmasquerade(pool))
	must(t, Unmasquerade(pool))
	if left := w.left(); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

// shared gives the host an address of a guest's, marked as package shared does.
func (w *world) shared(xid guest.XID, addr string) {
	w.t.Helper()
	up, err := netlink.LinkByName("up0")
	must(w.t, err)
	req := nl.NewNetlinkRequest(syscall.RTM_NEWADDR, syscall.NLM_F_CREATE|syscall.NLM_F_ACK)
	msg := nl.NewIfAddrmsg(syscall.AF_INET)
	msg.Prefixlen, msg.Index = 24, uint32(up.Attrs().Index)
	req.AddData(msg)
	for _, kind := range []int{syscall.IFA_LOCAL, syscall.IFA_ADDRESS} {
		req.AddData(nl.NewRtAttr(kind, netip.MustParseAddr(addr).AsSlice()))
	}
	req.AddData(nl.NewRtAttr(ifaMetric, nl.Uint32Attr(addressMark<<24|uint32(xid))))
	req.AddData(nl.NewRtAttr(ifaProto, []byte{addressMark}))
	_, err = req.Execute(syscall.NETLINK_ROUTE, 0)
	must(w.t, err)
}

func published(t testing.TB, lines ...string) (out []guest.Publish) {
	for _, line := range lines {
		p, err := guest.ParsePublish(line)
		must(t, err)
		out = append(out, p)
	}
	return out
}

// TestPrune leaves the table as long as a guest has a link, or an address of the host's.
func TestPrune(t *testing.T) {
	w := newWorld(t)
	must(t, Prune())
	pool := netip.MustParsePrefix("10.7.0.0/16")
	use := func() {
		t.Helper()
		must(t, Up(Guest{XID: 9, Link: "vs9"}))
		must(t, Masquerade(pool))
	}
	stays := func(want bool) {
		t.Helper()
		must(t, Prune())
		for _, c := range []string{sourceChain, masqueradeChain, poolChain(pool)} {
			if there, err := nft.Exists(table(), c); err != nil || there != want {
				t.Errorf("%s: %v, %v, want %v", c, there, err, want)
			}
		}
	}
	use()
	w.shared(7, "198.51.100.7")
	stays(true)
	up, err := netlink.LinkByName("up0")
	must(t, err)
	must(t, netlink.AddrDel(up, &netlink.Addr{IPNet: &net.IPNet{IP: net.ParseIP("198.51.100.7").To4(), Mask: net.CIDRMask(24, 32)}}))
	must(t, netlink.LinkSetGroup(up, linkGroup))
	stays(true)
	must(t, netlink.LinkSetGroup(up, 0))
	must(t, Up(Guest{XID: 9, Addresses: addrs("198.51.100.9"), Rules: parsed(t, "deny")}))
	stays(true)
	must(t, Down(9))
	stays(false)
	use()
	stays(false)
}
