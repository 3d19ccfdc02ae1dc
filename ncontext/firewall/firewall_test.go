package firewall

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/nftables/expr"

	"vserver/guest"
	"vserver/kernel/nft"
)

// TestShared holds the rules of a guest in the host's network against packets from
// another machine, from the host, from another guest and from itself.
func TestShared(t *testing.T) {
	w := newWorld(t)
	w.address("up0", "198.51.100.8/24", "198.51.100.10/24", "2001:db8::8/64")
	must(t, Up(Guest{XID: 8, Addresses: addrs("198.51.100.8", "2001:db8::8"),
		Rules: parsed(t, "allow in tcp from 198.51.100.99 port 80,8000-8080", "allow in tcp from 2001:db8::/64 port 80",
			"deny out tcp to 198.51.100.99 port 7", "deny in")}))
	out, me, other := end{w.outside, ""}, end{w.host, "198.51.100.8"}, end{w.host, "198.51.100.10"}

	w.passes(out, w.host, "198.51.100.8:80")
	w.passes(out, w.host, "198.51.100.8:8001")
	w.passes(out, w.host, "[2001:db8::8]:80")
	w.blocked(out, w.host, "198.51.100.8:81")
	w.blocked(out, w.host, "[2001:db8::8]:81")
	w.passes(out, w.host, "198.51.100.10:81") // no rules of its own
	w.blocked(other, w.host, "198.51.100.8:80")
	w.blocked(end{w.host, "198.51.100.1"}, w.host, "198.51.100.8:80")
	w.passes(me, w.host, "198.51.100.8:81") // itself
	w.passes(me, w.outside, "198.51.100.99:80")
	w.passes(end{w.host, "2001:db8::8"}, w.outside, "[2001:db8::99]:80")
	w.refused(me, w.outside, "198.51.100.99:7")
	w.passes(other, w.outside, "198.51.100.99:7")

	must(t, Change(Guest{XID: 8, Addresses: addrs("198.51.100.8"), Rules: parsed(t, "deny in tcp port 80")}))
	w.blocked(out, w.host, "198.51.100.8:80")
	w.passes(out, w.host, "198.51.100.8:81")
	w.passes(out, w.host, "[2001:db8::8]:80")
	w.passes(me, w.outside, "198.51.100.99:7")

	must(t, Change(Guest{XID: 8, Addresses: addrs("198.51.100.8")}))
	w.passes(out, w.host, "198.51.100.8:80")
	if left := w.left(); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

// Answers come through, of TCP and of UDP, where nothing new does.
func TestAnswers(t *testing.T) {
	w := newWorld(t)
	w.address("up0", "198.51.100.8/24")
	must(t, Up(Guest{XID: 8, Addresses: addrs("198.51.100.8"), Rules: parsed(t, "deny in")}))
	var server net.PacketConn
	var err error
	w.in(w.outside, func() { server, err = net.ListenPacket("udp", "198.51.100.99:53") })
	must(t, err)
	defer server.Close()
	c, err := net.DialUDP("udp", &net.UDPAddr{IP: net.ParseIP("198.51.100.8")}, server.LocalAddr().(*net.UDPAddr))
	must(t, err)
	defer c.Close()
	c.Write([]byte("?"))
	b := make([]byte, 8)
	_, from, err := server.ReadFrom(b)
	must(t, err)
	server.WriteTo([]byte("!"), from)
	c.SetReadDeadline(time.Now().Add(wait))
	if n, err := c.Read(b); err != nil || string(b[:n]) != "!" {
		t.Errorf("answer %q, %v", b[:n], err)
	}
	w.passes(end{w.host, "198.51.100.8"}, w.outside, "198.51.100.99:80")
	w.blocked(end{w.outside, ""}, w.host, "198.51.100.8:80")
}

// TestPrivate does the same for guests behind links of their own.
func TestPrivate(t *testing.T) {
	w := newWorld(t)
	one, two := w.private(8, "10.1.0.8/32"), w.private(9, "10.1.0.9/32")
	must(t, Up(Guest{XID: 8, Link: "vs8", Addresses: addrs("10.1.0.8"),
		Rules: parsed(t, "allow in tcp port 80", "deny in", "deny out tcp port 7")}))
	must(t, Up(Guest{XID: 9, Link: "vs9", Addresses: addrs("10.1.0.9")}))
	w.passes(end{w.host, ""}, one, "10.1.0.8:80")
	w.blocked(end{w.host, ""}, one, "10.1.0.8:81")
	w.passes(end{two, ""}, one, "10.1.0.8:80")
	w.blocked(end{two, ""}, one, "10.1.0.8:81")
	w.passes(end{one, ""}, two, "10.1.0.9:81")
	w.refused(end{one, ""}, two, "10.1.0.9:7")
	w.refused(end{one, ""}, w.host, "198.51.100.1:7")
	w.passes(end{one, ""}, w.host, "198.51.100.1:81")

	// A false source never gets in, whatever the rules say.
	w.in(two, func() { w.address("eth0", "10.1.0.77/32") })
	w.blocked(end{two, "10.1.0.77"}, w.host, "198.51.100.1:81")
	must(t, Down(8))
	w.passes(end{two, ""}, one, "10.1.0.8:81")
	must(t, Down(9))
	must(t, Down(9))
	if left := w.left(); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

// A table of others stays as it is.
func TestOthers(t *testing.T) {
	newWorld(t)
	theirs := nft.Table{Family: nft.Inet, Name: "filter"}
	conn, err := nft.Open()
	must(t, err)
	defer conn.Close()
	b := nft.NewBatch(theirs)
	b.AddTable()
	b.AddChain("guest-8", nil)
	must(t, conn.Commit(b))
	must(t, Up(Guest{XID: 8, Addresses: addrs("198.51.100.8"), Rules: parsed(t, "deny")}))
	must(t, Down(8))
	if there, err := conn.HasChain(theirs, "guest-8"); err != nil || !there {
		t.Errorf("their chain: %v, %v", there, err)
	}
	if there, err := conn.HasChain(table(), "guest-8"); err != nil || there {
		t.Errorf("our chain: %v, %v", there, err)
	}
}

// As many rules as a spec can have are taken in one piece, and an address that is
// another guest's is refused with nothing changed.
func TestMany(t *testing.T) {
	newWorld(t)
	g := Guest{XID: 8, Addresses: addrs("198.51.100.8")}
	for i := range guest.MaxItems {
		g.Rules = append(g.Rules, guest.Rule{Deny: i%2 == 1, Protocol: guest.TCP, Ports: []guest.PortRange{{Low: uint16(i + 1), High: uint16(i + 1)}}})
	}
	must(t, Up(g))
	g.XID = 9
	if err := Up(g); err == nil {
		t.Error("two guests with one address")
	}
	conn, err := nft.Open()
	must(t, err)
	defer conn.Close()
	if there, err := conn.HasChain(table(), "guest-9"); err != nil || there {
		t.Errorf("of the second guest: %v, %v", there, err)
	}
	for xid := guest.XID(100); xid < 400; xid++ { // more than fit into one message
		must(t, Up(Guest{XID: xid, Addresses: addrs(fmt.Sprintf("10.0.%d.%d", xid>>8, xid&255)), Rules: parsed(t, "deny in")}))
	}
	list, err := conn.Elements(table(), "in4")
	if err != nil || len(list) != 301 {
		t.Errorf("%d elements, %v", len(list), err)
	}
	must(t, Down(399))
	list, err = conn.Elements(table(), "in4")
	if err != nil || len(list) != 300 {
		t.Errorf("%d elements, %v", len(list), err)
	}
}

// Who has a published port already is named, whatever of it is wanted.
func TestPublishedTwice(t *testing.T) {
	newWorld(t)
	port := func(xid guest.XID, text string) error {
		return Up(Guest{XID: xid, Link: fmt.Sprint("vs", xid), Addresses: addrs(fmt.Sprintf("198.51.100.%d", xid)), Publish: published(t, text)})
	}
	must(t, port(8, "8080-8090:80"))
	must(t, port(9, "192.0.2.1:8080:80"))
	must(t, port(10, "8080:80/udp"))
	for text, want := range map[string]string{"8085:80": "8085:80/tcp: the guest with xid 8 ", "192.0.2.1:8000-9000:1": "the guest with xid 9 ", "8080:1/udp": "the guest with xid 10 "} {
		if err := port(11, text); !errors.Is(err, guest.ErrBusy) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
}

func TestCompile(t *testing.T) {
	for line, want := range map[string]int{"deny": 1, "deny icmp": 2, "deny port 53": 2, "deny tcp port 1,2-3,9": 3,
		"deny port 1,2": 4, "deny udp from 10.0.0.0/8 to 10.0.0.1": 1} {
		if got := compile(parsed(t, line)[0]); len(got) != want {
			t.Errorf("%q: %d rules, want %d", line, len(got), want)
		}
	}
	mask := within(parsed(t, "deny from 10.0.0.0/9")[0].From)[0].(*expr.Bitwise).Mask
	if !slices.Equal(mask, []byte{255, 128, 0, 0}) {
		t.Errorf("mask of /9: %v", mask)
	}
	if got := relevant(parsed(t, "allow in", "deny out", "allow in tcp"), guest.In); len(got) != 0 {
		t.Errorf("nothing is denied, and yet %v", got)
	}
}

// TestPolice sends a guest much more than it may be sent: what comes is no more than a
// bucket and what the rate allows in the time it took; what comes over lo is not counted.
func TestPolice(t *testing.T) {
	w := newWorld(t)
	w.address("up0", "198.51.100.8/24")
	const rate = 1_000_000
	must(t, Up(Guest{XID: 8, Addresses: addrs("198.51.100.8"), Ingress: rate}))
	send := func(from end, count int) (got int) {
		l, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.ParseIP("198.51.100.8")})
		must(t, err)
		defer l.Close()
		var c net.Conn
		w.in(from.ns, func() { c, err = net.Dial("udp", l.LocalAddr().String()) })
		must(t, err)
		defer c.Close()
		packet := make([]byte, 1400)
		read := func(patience time.Duration) {
			l.SetReadDeadline(time.Now().Add(patience))
			for n, err := l.Read(packet); err == nil; n, err = l.Read(packet) {
				got += n
			}
		}
		for i := range count {
			c.Write(packet)
			if i%20 == 0 { // what came is read before the socket is full
				read(time.Millisecond)
			}
		}
		read(wait / 40)
		return got
	}
	began := time.Now()
	const count = 600 // 840 KB, three buckets
	got := send(end{w.outside, ""}, count)
	if most := 2<<16 + rate/8 + int(time.Since(began).Seconds()*rate/8) + 1400; got > most || got < 1<<16 {
		t.Errorf("got %d bytes, want at most %d", got, most)
	}
	if got := send(end{w.host, ""}, count); got != count*1400 {
		t.Errorf("over lo got %d bytes of %d", got, count*1400)
	}
}
