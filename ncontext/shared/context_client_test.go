package shared

import (
	"net/netip"
	"testing"
	"time"

	"vserver/internal/agent"
	"vserver/internal/networld"
)

// A client of the host's that has no address sends to a guest's address on lo from that
// address, as the kernel chooses it, and gets its answers all the same: from the guest's
// service, and from nobody else.
func TestClientOfHost(t *testing.T) {
	a := guestContext("127.0.8.1", "203.0.113.8/32", "2001:db8:9::8/128")
	a.Lback6 = netip.MustParseAddr("fd76::a")
	set, agents, _ := stage(t, map[string]*Context{"a": a})
	steering(t, set)
	hostAddr(t, "lo", "203.0.113.8/32")
	hostAddr(t, "lo", "2001:db8:9::8/128")
	networld.Local(t, "2001:db8:9::8")
	agent.Play(t, agents, `
		a udp4 s
		a bind s 0.0.0.0:4000
		a udp4 p
		a bind p 0.0.0.0:53
		a udp6 x
		a bind x [2001:db8:9::8]:4000
		host udp4 c
		host bind c 0.0.0.0:40000
		host send c 203.0.113.8:4000 one
		a recv s = one 203.0.113.8
		a send s 203.0.113.8:40000 two
		host recv c = two 203.0.113.8
		host udp6 d
		host bind d [::]:40001
		host send d [2001:db8:9::8]:4000 three
		a recv x = three [2001:db8:9::8]*
		a send x [2001:db8:9::8]:40001 four
		host recv d = four [2001:db8:9::8]*
		# a service of the host's does not hear of what comes there
		host udp4 w
		host bind w 0.0.0.0:4001
		a send s 203.0.113.8:4001 no
		host recv w = EAGAIN
		# nor a client of what others send there
		host udp4 e
		host bind e 0.0.0.0:40002
		host udp4 f
		host send f 203.0.113.8:40002 no
		host recv e = EAGAIN
	`)
}

// Such a client gets the answers of a service on all of the guest's addresses too, which is bound
// to one of them.
func TestClientOfHostSteered(t *testing.T) {
	a := guestContext("127.0.8.1", "203.0.113.8/32", "203.0.113.9/32", "2001:db8:9::8/128")
	a.Lback6 = netip.MustParseAddr("fd76::a")
	set, agents, _ := stage(t, map[string]*Context{"a": a})
	steering(t, set)
	for _, p := range []string{"203.0.113.8/32", "203.0.113.9/32", "2001:db8:9::8/128"} {
		hostAddr(t, "lo", p)
	}
	networld.Local(t, "2001:db8:9::8")
	agent.Play(t, agents, `
		a udp6 s
		a bind s [::]:4000
		a udp4 v
		a bind v 0.0.0.0:4001
		host udp6 d
		host bind d [::]:40001
		host udp4 c
		host bind c 0.0.0.0:40002
	`)
	awaits(t, agents, "a", "d", "[2001:db8:9::8]:4000")
	awaits(t, agents, "a", "c", "203.0.113.9:4000")
	agent.Play(t, agents, `
		host send d [2001:db8:9::8]:4000 three
		a recv s = three [2001:db8:9::8]*
		a send s [2001:db8:9::8]:40001 four
		host recv d = four [2001:db8:9::8]*
		a send v 203.0.113.9:40002 five 203.0.113.9
		host recv c = five 203.0.113.9*
	`)
}

// Guests that may join groups are at the wildcard of one port with others: what is sent to an
// address of one is for it, and for the next of its sockets when the first is closed.
func TestSharedPort(t *testing.T) {
	a, b := guestContext("127.0.8.1", "192.0.2.10/24", "2001:db8:1::10/64"), guestContext("127.0.9.1", "192.0.2.11/24", "2001:db8:1::11/64")
	for i, c := range []*Context{a, b} {
		c.Lback6 = netip.AddrFrom16([16]byte{0xfd, 0x76, 15: byte(10 + i)})
		c.Multicast, c.Broadcast = true, true
	}
	set, agents, _ := stage(t, map[string]*Context{"a": a, "b": b})
	for _, who := range []string{"a", "b"} {
		agent.Play(t, agents, who+" udp4 s\n"+who+" set s 1 2 1\n"+who+" bind s 0.0.0.0:5353")
		agent.Play(t, agents, who+" udp6 x\n"+who+" set x 1 2 1\n"+who+" set x 41 26 1\n"+who+" bind x [::]:5353")
	}
	agent.Play(t, agents, "host udp4 d\nhost udp6 e")
	steering(t, set)
	awaits(t, agents, "a", "d", "192.0.2.10:5353")
	awaits(t, agents, "b", "d", "192.0.2.11:5353")
	agent.Play(t, agents, `
		host send d 192.0.2.10:5353 one
		host send d 192.0.2.11:5353 two
		a recv s = one 192.0.2.*
		a recv s = EAGAIN
		b recv s = two 192.0.2.*
		b recv s = EAGAIN
		host send e [2001:db8:1::10]:5353 three
		host send e [2001:db8:1::11]:5353 four
		a recv x = three *
		b recv x = four *
		a udp4 r
		a set r 1 2 1
		a bind r 0.0.0.0:5353
		a close s
	`)
	for end := time.Now().Add(20 * time.Second); agents["a"].Do("recv r") == "EAGAIN"; {
		agents["host"].Do("send d 192.0.2.10:5353 five")
		if time.Now().After(end) {
			t.Fatal("the next socket gets nothing")
		}
	}
}
