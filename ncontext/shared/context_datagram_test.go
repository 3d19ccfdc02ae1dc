package shared

import (
	"net/netip"
	"testing"

	"vserver/internal/agent"
)

func TestUDP6(t *testing.T) {
	a := guestContext("127.0.8.1", "192.0.2.10/24", "2001:db8:1::10/64")
	b := guestContext("127.0.9.1", "2001:db8:1::11/64")
	a.Lback6, b.Lback6 = netip.MustParseAddr("fd76::a"), netip.MustParseAddr("fd76::b")
	_, agents, _ := stage(t, map[string]*Context{"a": a, "b": b})
	agent.Play(t, agents, `
		a udp6 s
		a set s 41 26 1
		a bind s [::]:53
		a name s = [::]:53
		a udp4 t
		a bind t 0.0.0.0:53
		b udp6 s
		b bind s [::]:53
		b bind s [2001:db8:1::10]:54 = EADDRNOTAVAIL
		host udp6 c
		host send c [2001:db8:1::10]:53 one
		a recv s = one [2001:db8:1::*
		host send c [::ffff:192.0.2.10]:53 two
		a recv t = two 192.0.2.1
		host send c [2001:db8:1::11]:53 three
		b recv s = three [2001:db8:1::*
		b udp6 c
		b send c [2001:db8:1::10]:53 four
		a recv s = four [2001:db8:1::11]
		b send c [2001:db8:1::10]:53 no 2001:db8:1::1 = EADDRNOTAVAIL
		b send c [::ffff:192.0.2.10]:53 no = ENETUNREACH
		b udp6 k
		b connect k [2001:db8:1::10]:53
		b name k = [2001:db8:1::11]:*
		a udp6 c
		a send c [::1]:53 five
		a recv s = five [::1]
		a udp6 l
		a bind l [::1]:53
		a name l = [::1]:53
		a send c [::1]:53 six
		a recv l = six [::1]
		a send c [ff02::1]:53 no = EACCES
		host send c [fd76::a]:53 no
		a recv l = EAGAIN
		a tcp6 tl
		a bind tl [::1]:99
		a listen tl
		a tcp6 tc
		a connect tc [::1]:99
		a tcp6 td
		a connect td [::1]:98 = ECONNREFUSED
		host tcp6 hc
		host connect hc [fd76::a]:99 = EINPROGRESS
		# for both families, from a port that the kernel finds
		a udp6 d
		a send d [2001:db8:1::11]:53 seven
		b recv s = seven [2001:db8:1::10]
		host udp4 e
		host bind e 192.0.2.1:7
		a send d [::ffff:192.0.2.1]:7 eight
		host recv e = eight 192.0.2.10
	`)
}

// Echo requests leave from the guest's address or not at all.
func TestPing(t *testing.T) {
	_, agents, _ := stage(t, map[string]*Context{"a": guestContext("127.0.8.1", "192.0.2.10/24")})
	agent.Play(t, agents, `
		a icmp4 p
		a connect p 192.0.2.1:0
		a name p = 192.0.2.10:*
		a icmp4 f
		a connect f 127.0.0.1:0
		a name f = 127.0.0.1:*
		a bind p 192.0.2.10:0 = EINVAL
		# unbound, of the loopback
		a icmp4 u
		a ping u 127.0.0.1:0 = 127.0.0.1
		a ping u 127.0.8.1:0 = 127.0.8.1
		a icmp6 v
		a ping v [::1]:0 = [::1]
	`)
}

// What a guest has no socket for is nobody's: a wildcard of the host's gets nothing
// that is sent to the guest's addresses.
func TestNobodysDatagrams(t *testing.T) {
	a := guestContext("127.0.8.1", "192.0.2.10/24", "198.51.100.10/24", "2001:db8:1::10/64")
	a.Lback6 = netip.MustParseAddr("fd76::a")
	h := guestContext("127.0.9.1")
	h.Addresses = []Address{{Prefix: netip.MustParsePrefix("192.0.2.1/24"), Host: true}}
	_, agents, _ := stage(t, map[string]*Context{"a": a, "h": h})
	agent.Play(t, agents, `
		host udp6 w
		host bind w [::]:53
		host udp4 c
		host connect c 192.0.2.10:53
		host send c 192.0.2.10:53 no
		host recv c = ECONNREFUSED
		host udp6 d
		host connect d [2001:db8:1::10]:53
		host send d [2001:db8:1::10]:53 no
		host recv d = ECONNREFUSED
		a udp4 e
		a connect e 127.0.0.1:53
		a send e 127.0.0.1:53 no
		a recv e = ECONNREFUSED
		a udp6 f
		a connect f [::1]:53
		a send f [::1]:53 no
		a recv f = ECONNREFUSED
		host udp4 g
		host send g 192.0.2.1:53 one
		host recv w = one [::ffff:192.0.2.1]
		h udp4 x
		# answers come to a socket that got its port by sending, and to no other
		host udp4 s
		host bind s 192.0.2.1:7
		a udp4 u
		a send u 192.0.2.1:7 two
		host recv s = two 192.0.2.10
		host udp4 i
	`)
	port := agents["a"].Do("name u")[len("0.0.0.0:"):]
	agent.Play(t, agents, `
		host send i 192.0.2.10:`+port+` three
		a recv u = three 192.0.2.1
		host send i 198.51.100.10:`+port+` four
		a recv u = four *
		a close u
		host udp4 j
		host bind j 0.0.0.0:`+port+`
		host connect i 192.0.2.10:`+port+`
		host send i 192.0.2.10:`+port+` no
		host recv i = ECONNREFUSED
		# a port that is let go when a connection is given up, and found again
		a udp4 v
		a send v 192.0.2.1:7 five
		host recv s = five 192.0.2.10
		a udp6 y
		a send y [::ffff:192.0.2.1]:7 six
		host recv s = six 192.0.2.10
		a bind y [2001:db8:1::10]:99 = EINVAL
		a udp6 z
		a bind z [2001:db8:1::10]:99
		host udp6 k
		host send k [2001:db8:1::10]:99 seven
		a recv z = seven *
		a close z
		host close k
		host udp6 k
		host connect k [2001:db8:1::10]:99
		host send k [2001:db8:1::10]:99 no
		host recv k = ECONNREFUSED
	`)
}
