package real_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"

	"vserver/internal/need"
	"vserver/internal/threats/probe/answer"
)

// elsewhere is an address that is reached by any of the routers; each says there which
// it is and whom it sees.
const elsewhere = "10.99.0.1"

// TestNetWays has guests leave and be reached by the links of their host: two routers,
// a network with a DHCP server, ports of the host.
//
//	isp1 10.1.0.1 --- isp1 10.1.0.2 host br0 --- lan 10.3.0.1, DHCP
//	isp2 10.2.0.1 --- isp2 10.2.0.2 host
func TestNetWays(t *testing.T) {
	w := newWorld(t)
	w.ownNet()
	isp1, isp2 := w.router("isp1", 1), w.router("isp2", 2)
	lan := w.router("lan", 3)
	w.route("default", "10.1.0.1")
	t.Run("uplinks", func(t *testing.T) { w.uplinks(t) })
	t.Run("dhcp", func(t *testing.T) { w.lease(t, lan) })
	t.Run("publish", func(t *testing.T) { w.published(t, isp1, isp2) })
}

// TestNetNewcomer makes a guest as somebody does who knows nothing of networks: no
// address, no mode. It reaches a name server and gets its packages.
func TestNetNewcomer(t *testing.T) {
	need.Long(t)
	w := newWorld(t)
	need.Mirror(t)
	w.keepImages()
	w.ownNet()
	isp := w.router("isp1", 1)
	w.route("default", "10.1.0.1")
	w.inside(isp, func() error { return names(t) })
	proxy := w.proxyIn(isp, elsewhere)
	w.images(t, []string{"bookworm"})
	w.do(t, "create", "new1", "-d", "bookworm", "--set", "network.dns="+elsewhere, "--wait-ready")
	s := &server{world: w, name: "new1"}
	eventually(t, time.Minute, s.healthy)
	if out := w.sh(t, "new1", "bash -c 'cat < /dev/tcp/"+elsewhere+"/7000'"); out != "isp1 10.1.0.2" {
		t.Errorf("outside is seen %q, want the host's address", out)
	}
	if out := w.sh(t, "new1", "getent ahostsv4 deb.example.org"); !strings.HasPrefix(out, elsewhere+" ") {
		t.Errorf("a name is %q", out)
	}
	w.sh(t, "new1", aptSetup(proxy)+"apt-get -qq update\n"+aptInstall("busybox-static")+"\nbusybox true")
}

// router makes a network namespace with a link of this name to the host, at 10.N.0.1,
// the host being 10.N.0.2; elsewhere is behind it. The lan's end at the host is a port
// of the bridge br0.
func (w *world) router(name string, n int) netns.NsHandle {
	w.t.Helper()
	var h netns.NsHandle
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked, as in ownNet
		var err error
		h, err = netns.New()
		done <- err
	}()
	if err := <-done; err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { h.Close() })
	err := w.inNet(func() error {
		veth := &netlink.Veth{LinkAttrs: netlink.NewLinkAttrs(), PeerName: "eth0", PeerNamespace: netlink.NsFd(h)}
		veth.Name = name
		if err := netlink.LinkAdd(veth); err != nil {
			return err
		}
		if name == "lan" {
			bridge := &netlink.Bridge{LinkAttrs: netlink.NewLinkAttrs()}
			bridge.Name = "br0"
			if err := netlink.LinkAdd(bridge); err != nil {
				return err
			}
			if err := netlink.LinkSetMaster(veth, bridge); err != nil {
				return err
			}
			return linkUp("br0", "", linkUp(name, "", nil))
		}
		return linkUp(name, fmt.Sprintf("10.%d.0.2/24", n), nil)
	})
	if err != nil {
		w.t.Fatal(err)
	}
	w.inside(h, func() error {
		err := linkUp("lo", elsewhere+"/32", linkUp("eth0", fmt.Sprintf("10.%d.0.1/24", n), nil))
		if err != nil {
			return err
		}
		s, err := answer.Serve(name, 7000, 0)
		if err == nil {
			w.t.Cleanup(func() { s.Close() })
		}
		return err
	})
	return h
}

// linkUp gives a link an address, if any, and sets it up, unless something went wrong
// before.
func linkUp(name, addr string, before error) error {
	if before != nil {
		return before
	}
	l, err := netlink.LinkByName(name)
	if err != nil {
		return err
	}
	if addr != "" {
		p := netip.MustParsePrefix(addr)
		a := &netlink.Addr{IPNet: &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}}
		if err := netlink.AddrAdd(l, a); err != nil {
			return err
		}
	}
	return netlink.LinkSetUp(l)
}

// inside does something in a network namespace, which must succeed.
func (w *world) inside(h netns.NsHandle, do func() error) {
	w.t.Helper()
	other := *w
	other.net = h
	if err := other.inNet(do); err != nil {
		w.t.Fatal(err)
	}
}

// route gives the host a route.
func (w *world) route(dst, via string) {
	w.t.Helper()
	err := w.inNet(func() error {
		_, all, _ := net.ParseCIDR("0.0.0.0/0")
		return netlink.RouteReplace(&netlink.Route{Dst: all, Gw: net.ParseIP(via)})
	})
	if err != nil {
		w.t.Fatal(dst, err)
	}
}

// linked is small for a guest that has a network.
func (w *world) linked(t *testing.T, n string, settings ...string) {
	t.Helper()
	args := []string{"create", n, "-m", "host", "--init", "command", "--command", "/bin/sleep", "--command", "infinity"}
	for _, s := range settings {
		args = append(args, "--set", s)
	}
	w.do(t, args...)
}

// uplinks has each guest leave by its own router, and one by that of the host.
func (w *world) uplinks(t *testing.T) {
	w.linked(t, "a1", "network.addresses=10.1.0.10/24 dev isp1", "network.gateway=10.1.0.1")
	w.linked(t, "a2", "network.addresses=10.2.0.10/24 dev isp2", "network.gateway=10.2.0.1")
	w.linked(t, "a3", "network.addresses=10.1.0.11/24 dev isp1")
	look := func(when string) {
		t.Helper()
		for n, want := range map[string]string{"a1": "isp1 10.1.0.10", "a2": "isp2 10.2.0.10", "a3": "isp1 10.1.0.11"} {
			if out := w.sh(t, n, "bash -c 'cat < /dev/tcp/"+elsewhere+"/7000'"); out != want {
				t.Errorf("%s: %s leaves as %q, want %q", when, n, out, want)
			}
		}
	}
	look("at first")
	w.do(t, "stop", "a2", "--kill")
	w.do(t, "start", "a2")
	look("after a restart")
	w.do(t, "exec", "a1", "true")
	err := w.inNet(func() error { // the host gets another address at the second router
		l, err := netlink.LinkByName("isp2")
		if err != nil {
			return err
		}
		old := &netlink.Addr{IPNet: &net.IPNet{IP: net.IPv4(10, 2, 0, 2).To4(), Mask: net.CIDRMask(24, 32)}}
		if err := netlink.AddrDel(l, old); err != nil {
			return err
		}
		return linkUp("isp2", "10.2.0.3/24", nil)
	})
	if err != nil {
		t.Fatal(err)
	}
	look("with another address of the host")
	w.route("default", "10.2.0.1")
	for n, want := range map[string]string{"a1": "isp1 10.1.0.10", "a2": "isp2 10.2.0.10"} {
		if out := w.sh(t, n, "bash -c 'cat < /dev/tcp/"+elsewhere+"/7000'"); out != want {
			t.Errorf("with another router of the host's: %s leaves as %q, want %q", n, out, want)
		}
	}
	w.route("default", "10.1.0.1")
	w.do(t, "stop", "a1", "a2", "a3", "--kill")
	err = w.inNet(func() error {
		rules, err := netlink.RuleList(netlink.FAMILY_V4)
		if len(rules) != 3 { // local, main, default
			t.Errorf("rules stay: %v", rules)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// lease has a guest in a bridge get its address from a DHCP server behind it.
func (w *world) lease(t *testing.T, lan netns.NsHandle) {
	dir := t.TempDir()
	conf := filepath.Join(dir, "conf")
	text := "interface eth0\nstart 10.3.0.50\nend 10.3.0.60\noption subnet 255.255.255.0\noption router 10.3.0.1\noption dns " + elsewhere + "\n" +
		"lease_file " + dir + "/leases\npidfile " + dir + "/pid\n"
	if err := os.WriteFile(conf, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(dir+"/leases", nil, 0o644); err != nil {
		t.Fatal(err)
	}
	c := exec.Command(need.Command(t, "busybox"), "udhcpd", "-f", conf)
	w.inside(lan, c.Start)
	t.Cleanup(func() {
		c.Process.Kill()
		c.Wait()
	})
	w.linked(t, "d1", "network.mode=private", "network.link=bridge", "network.bridge=br0", "network.dhcp=true")
	eventually(t, 30*time.Second, w.says("d1", "bash -c 'cat < /dev/tcp/"+elsewhere+"/7000'", "lan 10.3.0.5"))
	if out := w.sh(t, "d1", "ip -o -4 address show scope global; ip route"); !strings.Contains(out, "inet 10.3.0.5") || !strings.Contains(out, "default via 10.3.0.1 ") {
		t.Errorf("the guest has\n%s", out)
	}
	eventually(t, 30*time.Second, w.says("d1", "grep ^nameserver /etc/resolv.conf", "nameserver "+elsewhere))
	w.do(t, "stop", "d1", "--kill")
	w.ownClient(t)
}

// ownClient has a guest be its own DHCP client: its root sets addresses and routes.
func (w *world) ownClient(t *testing.T) {
	w.linked(t, "d2", "network.mode=private", "network.link=bridge", "network.bridge=br0", "rights.bcaps=net_admin", "rights.syscalls=AF_PACKET")
	w.sh(t, "d2", "cat >/root/leased <<'END'\n"+`#!/bin/sh
[ "$1" = bound ] || exit 0
ip address replace "$ip/$mask" dev "$interface"
ip route replace default via "$router"
echo "nameserver $dns" >/etc/resolv.conf
`+"END\nchmod +x /root/leased; busybox udhcpc -n -i eth0 -s /root/leased")
	eventually(t, 30*time.Second, w.says("d2", "bash -c 'cat < /dev/tcp/"+elsewhere+"/7000'", "lan 10.3.0.5"))
	if out := w.sh(t, "d2", "cat /etc/resolv.conf; pidof busybox udhcpc | wc -w"); out != "nameserver "+elsewhere+"\n1" {
		t.Errorf("the client: %q", out)
	}
	w.do(t, "stop", "d2", "--kill")
}

// published has a port of the host lead to a guest: from one router and the other, at
// every address of the host, and at one alone.
func (w *world) published(t *testing.T, from ...netns.NsHandle) {
	w.linked(t, "p1", "network.mode=private", "network.addresses=10.4.0.10/24",
		"network.publish=8080:80,10.1.0.2:8081:80")
	w.sh(t, "p1", "mkdir -p /srv/page; echo from p1 > /srv/page/index.html; busybox httpd -p 80 -h /srv/page")
	get := func(h netns.NsHandle, at string) string {
		var out string
		w.inside(h, func() error {
			c, err := net.DialTimeout("tcp", at, 2*time.Second)
			if err != nil {
				out = err.Error()
				return nil
			}
			defer c.Close()
			fmt.Fprint(c, "GET / HTTP/1.0\r\n\r\n")
			b, err := io.ReadAll(c)
			out = string(b)
			return err
		})
		return out
	}
	for at, h := range map[string]netns.NsHandle{"10.1.0.2:8080": from[0], "10.2.0.3:8080": from[1], "10.1.0.2:8081": from[0]} {
		if out := get(h, at); !strings.HasSuffix(out, "from p1\n") {
			t.Errorf("%s: %q", at, out)
		}
	}
	if out := get(from[1], "10.2.0.3:8081"); !strings.Contains(out, "refused") {
		t.Errorf("a port of another address: %q", out)
	}
	w.do(t, "stop", "p1", "--kill")
	if out := get(from[0], "10.1.0.2:8080"); !strings.Contains(out, "refused") {
		t.Errorf("after the stop: %q", out)
	}
}

// names is a name server, for which everything is elsewhere.
func names(t *testing.T) error {
	at, err := net.ListenPacket("udp", elsewhere+":53")
	if err != nil {
		return err
	}
	t.Cleanup(func() { at.Close() })
	go func() {
		buf := make([]byte, 1500)
		for {
			n, from, err := at.ReadFrom(buf)
			if err != nil {
				return
			}
			if reply := resolve(buf[:n]); reply != nil {
				at.WriteTo(reply, from)
			}
		}
	}()
	return nil
}

// resolve answers a question for an IPv4 address, and says that there is none of
// another kind.
func resolve(ask []byte) []byte {
	const header, address = 12, 1
	end := header
	for end < len(ask) && ask[end] != 0 {
		end += int(ask[end]) + 1
	}
	end += 5 // the last label, type and class
	if end > len(ask) {
		return nil
	}
	reply := append([]byte{ask[0], ask[1], 0x81, 0x80, 0, 1, 0, 0, 0, 0, 0, 0}, ask[header:end]...)
	if ask[end-3] == address {
		reply[7] = 1
		a := netip.MustParseAddr(elsewhere).As4()
		reply = append(append(reply, 0xc0, header, 0, address, 0, 1, 0, 0, 0, 60, 0, 4), a[:]...)
	}
	return reply
}

// proxyIn is proxy at an address of a router.
func (w *world) proxyIn(h netns.NsHandle, addr string) (url string) {
	w.t.Helper()
	var at net.Listener
	w.inside(h, func() (err error) {
		at, err = net.Listen("tcp", addr+":3142")
		return err
	})
	server := &http.Server{Handler: mirror{filepath.Join(kept(w.t), "packages")}, ReadHeaderTimeout: time.Minute}
	go server.Serve(at)
	w.t.Cleanup(func() {
		server.Close()
		http.DefaultClient.CloseIdleConnections()
	})
	return "http://" + at.Addr().String()
}
