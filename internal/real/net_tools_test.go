package real_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"vserver/internal/need"
)

// TestNetTools has guests of the host's network look names up at a server in another
// guest, by both families and by TCP, and look at the way to others with what Debian has
// for that.
func TestNetTools(t *testing.T) {
	need.Long(t)
	w := newWorld(t)
	need.Mirror(t)
	w.keepImages()
	w.ownNet()
	w.address("2001:db8:5::1/64")
	here := *w
	here.net = -1
	packages := "traceroute,iputils-ping,iputils-tracepath,dnsmasq,bind9-dnsutils"
	here.do(t, "build", "origin", "-d", "bookworm", "--packages", packages)
	for i, n := range []string{"ns1", "cl1"} {
		here.do(t, "create", n, "-d", "bookworm", "--packages", packages, "--no-start",
			"--ip", address(byte(31+i))+"/24", "--ip", fmt.Sprintf("2001:db8:5::%d/64", 31+i))
		here.do(t, "set", n, "init.style=command", "init.command=[/bin/sleep, infinity]")
		w.do(t, "start", n)
	}
	w.sh(t, "ns1", `
		printf 'address=/example.test/192.0.2.77\naddress=/example.test/2001:db8::77\n' > /etc/dnsmasq.d/names
		dnsmasq --no-resolv --user=root --conf-dir=/etc/dnsmasq.d
		echo nameserver `+address(31)+` > /etc/resolv.conf`)
	w.sh(t, "cl1", "echo nameserver "+address(31)+" > /etc/resolv.conf")
	eventually(t, time.Minute, func() error {
		if out := w.sh(t, "cl1", "dig +short +time=2 +tries=1 @"+address(31)+" example.test || true"); out != "192.0.2.77" {
			return fmt.Errorf("dig: %q", out)
		}
		return nil
	})
	for _, c := range []struct{ in, command, says string }{
		{"cl1", "dig +short @2001:db8:5::31 example.test AAAA", "2001:db8::77"},
		{"cl1", "dig +short +tcp @" + address(31) + " example.test", "192.0.2.77"},
		{"cl1", "dig +short +tcp @2001:db8:5::31 example.test", "192.0.2.77"},
		{"cl1", "getent ahosts example.test", "2001:db8::77"},
		{"ns1", "dig +short @127.0.0.1 example.test", "192.0.2.77"},
		{"cl1", "ping -c 1 " + address(31), "1 received"},
		{"cl1", "ping -c 1 " + gateway, "1 received"},
		{"cl1", "ping -6 -c 1 2001:db8:5::1", "1 received"},
		{"cl1", "traceroute -n " + gateway, " 1  " + gateway + " "},
		{"cl1", "traceroute -n -I -s " + address(32) + " " + gateway, " 1  " + gateway + " "},
		{"cl1", "traceroute -n -6 -s 2001:db8:5::32 2001:db8:5::1", " 1  2001:db8:5::1 "},
		{"cl1", "tracepath -n " + address(31), "reached"},
		{"cl1", "tracepath -n -6 2001:db8:5::31", "reached"},
	} {
		if out := w.sh(t, c.in, c.command); !strings.Contains(out, c.says) {
			t.Errorf("%s: %s: %s", c.in, c.command, out)
		}
	}
}
