package ncontext

import (
	"errors"
	"net"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"

	"vserver/guest"
	"vserver/internal/need"
	"vserver/internal/networld"
	"vserver/ncontext/firewall"
	"vserver/ncontext/private"
)

func TestMain(m *testing.M) { need.Main(m) }

// TestRatesPastTheHost has guests whose frames leave without passing the host's routing:
// what they send is in their class on the link that it leaves by, and what they are sent
// in that of their own link, where they have one; nothing of it is left.
//
//	b 10.9.0.8 --- bridge br0, port up0 --- 10.9.0.1 outside
//	m 10.8.0.9 --- macvlan on side0 ------- 10.8.0.1 outside
func TestRatesPastTheHost(t *testing.T) {
	networld.Host(t)
	dirs := need.Dirs(t)
	outside := networld.Namespace(t)
	for name, far := range map[string]string{"up0": "10.9.0.1/24", "side0": "10.8.0.1/24"} {
		networld.Pair(t, name, "far"+name, outside, 0)
		networld.In(t, outside, func() { networld.Address(t, "far"+name, far) })
		link, err := netlink.LinkByName(name)
		networld.Must(t, err)
		networld.Must(t, netlink.LinkSetUp(link))
	}
	bridge := &netlink.Bridge{LinkAttrs: netlink.NewLinkAttrs()}
	bridge.Name = "br0"
	networld.Must(t, netlink.LinkAdd(bridge))
	networld.Must(t, netlink.LinkSetUp(bridge))
	port, err := netlink.LinkByName("up0")
	networld.Must(t, err)
	networld.Must(t, netlink.LinkSetMaster(port, bridge))

	for _, c := range []struct {
		xid                 guest.XID
		set                 guest.Network
		addr, far, by, into string
	}{
		{8, guest.Network{Link: guest.LinkBridge, Bridge: "br0"}, "10.9.0.8", "10.9.0.1", "up0", private.Link(8)},
		{9, guest.Network{Link: guest.LinkMacvlan, Parent: "side0"}, "10.8.0.9", "10.8.0.1", "side0", ""},
	} {
		g := &Guest{Name: guest.Name("g" + c.addr), Dirs: dirs, Netns: int(networld.Namespace(t)), Spec: &guest.Spec{XID: c.xid, Network: c.set}}
		n := &g.Spec.Network
		n.Mode = guest.NetPrivate
		n.Addresses = []guest.Address{{Prefix: netip.PrefixFrom(netip.MustParseAddr(c.addr), 24)}}
		n.Egress.Rate, n.Ingress.Rate = 1e9, 1e9
		_, err := Up(g)
		networld.Must(t, err)
		for _, link := range []string{c.by, c.into} {
			if link == "" {
				continue
			}
			got := 0 // a new port of a bridge drops what comes before it is known to be up
			for end := time.Now().Add(20 * time.Second); got < 50*1000 && time.Now().Before(end); got = counted(t, link, c.xid) {
				sent(t, netns.NsHandle(g.Netns), c.far)
				sent(t, outside, c.addr)
			}
			if got < 50*1000 {
				t.Errorf("guest %d: class on %s has %d bytes", c.xid, link, got)
			}
		}
		if missing, err := Unfiltered(g); missing || err != nil {
			t.Errorf("guest %d: said to have lost its rules: %v", c.xid, err)
		}
		n.Egress, n.Ingress = guest.Egress{}, guest.Ingress{}
		networld.Must(t, Refresh(g))
		for _, link := range []string{c.by, c.into} {
			if link != "" && counted(t, link, c.xid) >= 0 {
				t.Errorf("guest %d: is still shaped on %s", c.xid, link)
			}
		}
		n.Egress.Share = 5
		networld.Must(t, Refresh(g))
		if counted(t, c.by, c.xid) < 0 {
			t.Errorf("guest %d: is not shaped on %s again", c.xid, c.by)
		}
		networld.Must(t, errors.Join(Down(g, guest.NetPrivate), Down(g, guest.NetPrivate)))
		if held, err := firewall.Holds(c.xid); held || err != nil || counted(t, c.by, c.xid) >= 0 {
			t.Errorf("guest %d: left: %v, %v", c.xid, held, err)
		}
	}
}

// sent sends datagrams to an address from a namespace, once its neighbour is known.
func sent(t testing.TB, from netns.NsHandle, to string) {
	t.Helper()
	networld.In(t, from, func() {
		var c net.Conn
		var err error
		for end := time.Now().Add(5 * time.Second); ; time.Sleep(10 * time.Millisecond) {
			if c, err = net.Dial("udp", to+":9"); err == nil || time.Now().After(end) {
				break
			}
		}
		networld.Must(t, err)
		defer c.Close()
		for range 100 {
			if _, err := c.Write(make([]byte, 1000)); err != nil && !errors.Is(err, syscall.ECONNREFUSED) {
				t.Fatal(err)
			}
			time.Sleep(100 * time.Microsecond)
		}
	})
}

// counted is what the class of a guest has sent on a link, in bytes; -1 when there is no
// such class.
func counted(t testing.TB, link string, xid guest.XID) int {
	t.Helper()
	l, err := netlink.LinkByName(link)
	networld.Must(t, err)
	list, err := netlink.ClassList(l, netlink.HANDLE_NONE)
	networld.Must(t, err)
	for _, class := range list {
		if a := class.Attrs(); a.Handle == firewall.Class(xid) {
			return int(a.Statistics.Basic.Bytes)
		}
	}
	return -1
}
