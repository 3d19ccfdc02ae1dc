package private

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"

	"vserver/guest"
	"vserver/internal/need"
)

// leasing is dnsmasq in a namespace of the test.
type leasing struct {
	w    *world
	in   netns.NsHandle
	args []string
	cmd  *exec.Cmd
}

// dnsmasq leases addresses of a link's prefix in a namespace.
func (w *world) dnsmasq(in netns.NsHandle, link string, args ...string) *leasing {
	w.t.Helper()
	program := need.Command(w.t, "dnsmasq")
	dir := w.t.TempDir()
	d := &leasing{w: w, in: in, args: append([]string{program, "--keep-in-foreground", "--conf-file=/dev/null",
		"--port=0", "--interface=" + link, "--bind-interfaces", "--no-ping", "--user=root", "--leasefile-ro",
		"--pid-file=" + filepath.Join(dir, "pid"), "--dhcp-authoritative"}, args...)}
	d.start()
	w.t.Cleanup(d.stop)
	return d
}

func (d *leasing) start() {
	d.w.in(d.in, func() {
		d.cmd = exec.Command(d.args[0], d.args[1:]...)
		d.cmd.Stderr = os.Stderr
		must(d.w.t, d.cmd.Start())
	})
}

func (d *leasing) stop() {
	if d.cmd != nil {
		d.cmd.Process.Kill()
		d.cmd.Wait()
		d.cmd = nil
	}
}

// attend has a guest attended, as by vserverd, until the function is called.
func (w *world) attend(s *guest.Spec, h netns.NsHandle) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		w.in(w.host, func() {
			Attend(ctx, Guest{Spec: s, Name: guest.Name(fmt.Sprint("g", s.XID)), Netns: int(h), Dirs: w.dirs}, w.t.Logf)
		})
	})
	var once sync.Once
	stop = func() { once.Do(func() { cancel(); wg.Wait() }) }
	w.t.Cleanup(stop)
	return stop
}

// addresses lists the IPv4 addresses of a link of a namespace.
func (w *world) addresses(h netns.NsHandle, link string) (out []string) {
	w.in(h, func() {
		l, err := netlink.LinkByName(link)
		must(w.t, err)
		list, err := netlink.AddrList(l, netlink.FAMILY_V4)
		must(w.t, err)
		for _, a := range list {
			out = append(out, a.IPNet.String())
		}
	})
	return out
}

// until waits for something to be so.
func (w *world) until(what string, is func() bool) {
	w.t.Helper()
	for end := time.Now().Add(30 * time.Second); !is(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			w.t.Fatalf("%s: not within half a minute", what)
		}
	}
}

// bridgedUp0 puts the host's link and its addresses on a bridge br0.
func (w *world) bridgedUp0() {
	attrs := netlink.NewLinkAttrs()
	attrs.Name = "br0"
	must(w.t, netlink.LinkAdd(&netlink.Bridge{LinkAttrs: attrs}))
	up0, err := netlink.LinkByName("up0")
	must(w.t, err)
	br, err := netlink.LinkByName("br0")
	must(w.t, err)
	addr, _ := netlink.ParseAddr("192.0.2.1/24")
	must(w.t, netlink.AddrDel(up0, addr))
	must(w.t, netlink.LinkSetMaster(up0, br))
	w.address("br0", "192.0.2.1/24")
	w.ready("br0")
}

// TestLease has guests get their addresses from a server outside, by a bridge and
// beside the host's link.
func TestLease(t *testing.T) {
	for _, link := range []guest.NetLink{guest.LinkBridge, guest.LinkMacvlan} {
		t.Run(string(link), func(t *testing.T) {
			w := newWorld(t)
			s := spec(8)
			s.Hostname = "web1"
			s.Network.DHCP, s.Network.Link = true, link
			if link == guest.LinkBridge {
				w.bridgedUp0()
				s.Network.Bridge = "br0"
				published(s, "8080:80")
			} else {
				s.Network.Parent = "up0"
			}
			w.dnsmasq(w.outside, "eth", "--dhcp-range=192.0.2.100,192.0.2.110,255.255.255.0,2m",
				"--dhcp-option=option:router,192.0.2.9", "--dhcp-option=option:T1,1", "--dhcp-option=option:T2,4",
				"--dhcp-host=web1,192.0.2.107")
			g := w.on(s)
			if !Attended(w.dirs, "g8") {
				t.Error("vserverd is not told")
			}
			if now, err := Leased(int(g)); err != nil || len(now) > 0 || Said(w.dirs, "g8") == "" {
				t.Errorf("not yet: %v, %v, %q", now, err, Said(w.dirs, "g8"))
			}
			stop := w.attend(s, g)
			w.until("an address", func() bool { return slices.Equal(w.addresses(g, "eth0"), []string{"192.0.2.107/24"}) })
			if now, err := Leased(int(g)); err != nil || fmt.Sprint(now) != "[192.0.2.107/24]" {
				t.Errorf("leased: %v, %v", now, err)
			}
			w.served(w.outside, "tcp", "81")
			w.served(g, "tcp", "80")
			if seen := w.asks(g, "tcp", "192.0.2.9:81", long); seen != "192.0.2.107" {
				t.Errorf("seen as %q", seen)
			}
			w.in(g, func() {
				routes, err := netlink.RouteGet(net.ParseIP("203.0.113.1"))
				if err != nil || routes[0].Gw.String() != "192.0.2.9" {
					t.Errorf("routes %v, %v", routes, err)
				}
			})
			if link == guest.LinkBridge {
				if seen := w.asks(w.outside, "tcp", "192.0.2.1:8080", long); seen != "192.0.2.1" {
					t.Errorf("published: seen as %q", seen)
				}
			}
			// It is renewed, and another who attends finds the same.
			deadline := func() (left int) {
				w.in(g, func() {
					l, _ := netlink.LinkByName("eth0")
					list, err := netlink.AddrList(l, netlink.FAMILY_V4)
					must(t, err)
					if len(list) == 1 {
						left = list[0].ValidLft
					}
				})
				return left
			}
			low := 1 << 30
			w.until("a renewal", func() bool { left := deadline(); low = min(low, left); return left > low })
			stop()
			stop = w.attend(s, g)
			low = 1 << 30
			w.until("a renewal by another", func() bool { left := deadline(); low = min(low, left); return left > low })
			if got := w.addresses(g, "eth0"); !slices.Equal(got, []string{"192.0.2.107/24"}) {
				t.Errorf("addresses %q", got)
			}
			stop()
			if left := deadline(); left < 60 || left > 120 {
				t.Errorf("nobody renews it any more, and it lasts %d s", left)
			}
			must(t, Down(8, w.dirs))
		})
	}
}

// TestLeaseLost has a server change its mind.
func TestLeaseLost(t *testing.T) {
	w := newWorld(t)
	w.bridgedUp0()
	s := spec(8)
	s.Network.DHCP, s.Network.Link, s.Network.Bridge = true, guest.LinkBridge, "br0"
	g := w.on(s)
	w.attend(s, g)
	dns := w.dnsmasq(w.outside, "eth", "--dhcp-range=192.0.2.100,192.0.2.100,255.255.255.0,2m", "--dhcp-option=option:T1,1", "--dhcp-option=option:T2,4")
	w.until("an address", func() bool { return slices.Equal(w.addresses(g, "eth0"), []string{"192.0.2.100/24"}) })
	dns.stop()
	dns.args[slices.IndexFunc(dns.args, func(a string) bool { return strings.HasPrefix(a, "--dhcp-range") })] =
		"--dhcp-range=192.0.2.120,192.0.2.120,255.255.255.0,2m"
	dns.start()
	w.until("another address", func() bool { return slices.Equal(w.addresses(g, "eth0"), []string{"192.0.2.120/24"}) })
	if said := Said(w.dirs, "g8"); !strings.Contains(said, "192.0.2.100 is lost") {
		t.Errorf("said %q", said)
	}
	must(t, Down(8, w.dirs))
}

// TestOwnClient has a guest at a bridge be its own DHCP client.
func TestOwnClient(t *testing.T) {
	w := newWorld(t)
	w.bridgedUp0()
	busybox := need.Command(t, "busybox")
	s := spec(8)
	s.Network.Link, s.Network.Bridge = guest.LinkBridge, "br0"
	g := w.on(s)
	w.dnsmasq(w.outside, "eth", "--dhcp-range=192.0.2.100,192.0.2.100,255.255.255.0,1h")
	script := filepath.Join(t.TempDir(), "script")
	must(t, os.WriteFile(script, []byte("#!"+busybox+" sh\n[ \"$1\" = bound ] && ip addr add $ip/$mask dev $interface\n"), 0o700))
	w.in(g, func() {
		out, err := exec.Command(busybox, "udhcpc", "-f", "-q", "-n", "-i", "eth0", "-s", script).CombinedOutput()
		if err != nil {
			t.Errorf("%v: %s", err, out)
		}
	})
	w.served(g, "tcp", "80")
	if seen := w.asks(w.outside, "tcp", "192.0.2.100:80", long); seen != "192.0.2.9" {
		t.Errorf("seen as %q", seen)
	}
	must(t, Down(8, w.dirs))
}

// TestRoutedAnnounced has neighbours told by whom a routed guest is reached now.
func TestRoutedAnnounced(t *testing.T) {
	w := newWorld(t)
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
	s := spec(8, "192.0.2.10/24", "2001:db8:1::10/64")
	g := w.on(s)
	if !Attended(w.dirs, "g8") {
		t.Error("vserverd is not told")
	}
	w.attend(s, g)()
	up0, err := netlink.LinkByName("up0")
	must(t, err)
	for _, a := range addrs {
		w.until(a+" known at the host", func() bool {
			got := ""
			w.in(w.outside, func() {
				list, err := netlink.NeighList(eth.Attrs().Index, netlink.FAMILY_ALL)
				must(t, err)
				for _, n := range list {
					if n.IP.Equal(net.ParseIP(a)) {
						got = n.HardwareAddr.String()
					}
				}
			})
			return got == up0.Attrs().HardwareAddr.String()
		})
	}
	w.on(spec(9, "198.51.100.7/32"))
	if Attended(w.dirs, "g9") {
		t.Error("vserverd is bothered with a guest that nobody on a link has for a neighbour")
	}
}
