package shared

import (
	"net/netip"
	"strings"
	"testing"

	"vserver/internal/agent"
)

// Sockets of TCP for both families that are bound to [::] without a port connect to either,
// from the address that one that was never bound would have, or listen.
func TestDual(t *testing.T) {
	a := guestContext("127.0.8.1", "192.0.2.10/24", "2001:db8:1::10/64", "2001:db8:1::12/64")
	b := guestContext("127.0.9.1", "2001:db8:1::11/64")
	a.Lback6, b.Lback6 = netip.MustParseAddr("fd76::a"), netip.MustParseAddr("fd76::b")
	_, agents, _ := stage(t, map[string]*Context{"a": a, "b": b})
	agent.Play(t, agents, `
		host tcp6 l
		host bind l [::]:80
		host listen l
		b tcp6 l
		b bind l [::]:80
		b listen l
		a tcp6 c
		a set c 41 26 0
		a set c 1 2 1
		a bind c [::]:0
		a bind c [::]:0 = EINVAL
		a bind c [::]:81 = EINVAL
		a name c = [::]:*
		a connect c [2001:db8:1::1]:80
		host accept l s = [2001:db8:1::10]
		a name c = [2001:db8:1::10]:*
		# another guest's address on this host, whose source would else be that address
		a tcp6 d
		a set d 41 26 0
		a bind d [::]:0
		a connect d [2001:db8:1::11]:80
		b accept l s = [2001:db8:1::10]
		# IPv4, loopback, and its own second address
		a tcp6 e
		a set e 41 26 0
		a bind e [::]:0
		a connect e [::ffff:192.0.2.1]:80
		host accept l s = [::ffff:192.0.2.10]
		b tcp6 e
		b set e 41 26 0
		b bind e [::]:0
		b connect e [::1]:80
		b accept l s = [::1]
		a tcp6 f
		a bind f [::]:80
		a listen f
		a tcp6 g
		a set g 41 26 0
		a bind g [::]:0
		a connect g [2001:db8:1::12]:80
		a accept f s = [2001:db8:1::12]
		# one for IPv6 alone
		a tcp6 h
		a set h 41 26 1
		a bind h [::]:0
		a connect h [2001:db8:1::1]:80
		host accept l s = [2001:db8:1::10]
		a tcp6 i
		a set i 41 26 1
		a bind i [::]:0
		a name i = [::]:*
		a connect i [::1]:80
		a accept f s = [::1]
		a tcp6 j
		a set j 41 26 1
		a bind j [::]:0
		a listen j
		# a server
		a tcp6 z
		a set z 41 26 0
		a bind z [::]:0
	`)
	name := agents["a"].Do("name z")
	_, port, _ := strings.Cut(name, "]:")
	if port == "0" || port == "" {
		t.Fatalf("a server that does not listen yet is at %s", name)
	}
	_, alone, _ := strings.Cut(agents["a"].Do("name j"), "[::]:")
	agent.Play(t, agents, `
		host tcp6 j
		host connect j [2001:db8:1::12]:`+alone+`
		a accept j s = [2001:db8:1::*
		host tcp4 k
		host connect k 192.0.2.10:`+alone+` = ECONNREFUSED
		a tcp4 y
		a bind y 0.0.0.0:`+port+` = EADDRINUSE
		a listen z
		a name z = [::]:`+port+`
		host tcp4 x
		host connect x 192.0.2.10:`+port+`
		a accept z s = [::ffff:192.0.2.*
		a name s = [::ffff:192.0.2.10]:`+port+`
		host tcp6 x6
		host connect x6 [2001:db8:1::12]:`+port+`
		a accept z s = [2001:db8:1::*
		host tcp6 no
		host connect no [2001:db8:1::1]:`+port+` = ECONNREFUSED
		a close z
		a bind y 0.0.0.0:`+port+`
	`)
}

// Sockets of UDP on [::] in guests without an address of IPv6: those for both families are
// IPv4's, with a port and without, and can be connected; those for IPv6 alone are loopback's.
func TestDualDatagrams(t *testing.T) {
	a := guestContext("127.0.8.1", "192.0.2.10/24")
	a.Lback6 = netip.MustParseAddr("fd76::a")
	b := guestContext("127.0.9.1", "192.0.2.11/24", "192.0.2.12/24")
	set, agents, _ := stage(t, map[string]*Context{"a": a, "b": b})
	steering(t, set)
	agent.Play(t, agents, `
		host udp4 s
		host bind s 192.0.2.1:7
		a udp6 c
		a bind c [::]:0
		a name c = [::]:*
		a send c [::ffff:192.0.2.1]:7 one
		host recv s = one 192.0.2.10
		a connect c [::ffff:192.0.2.1]:7
		a name c = [::ffff:192.0.2.10]:*
		a send c - two
		host recv s = two 192.0.2.10
		# its own loopback
		a udp6 l
		a set l 41 26 1
		a bind l [::]:111
		a udp6 m
		a set m 41 26 1
		a bind m [::]:2111
		a udp6 d
		a send d [::1]:2111 three
		a recv m = three [::1]
		# hears at its port what is sent to 127.0.0.1
		a udp6 e
		a bind e [::]:0
		b udp6 s
		b bind s [::]:0
	`)
	_, port, _ := strings.Cut(agents["a"].Do("name e"), "]:")
	_, at, _ := strings.Cut(agents["b"].Do("name s"), "]:")
	awaits(t, agents, "b", "s", "192.0.2.12:"+at)
	agent.Play(t, agents, `
		a udp4 f
		a send f 127.0.0.1:`+port+` four
		a recv e = four [::ffff:127.0.0.1]
		host send s 192.0.2.10:`+port+` five
		a recv e = five [::ffff:192.0.2.1]
		host send s 192.0.2.12:`+at+` six
		b recv s = six [::ffff:192.0.2.1]
	`)
}

// Of a port there is one for both families, or one for each: who asks for it when it is taken is
// told so, whatever a program says of IPV6_V6ONLY, which those of Go do, and before anybody listens.
func TestDualTaken(t *testing.T) {
	a := guestContext("127.0.8.1", "192.0.2.10/24", "2001:db8:1::10/64")
	b := guestContext("127.0.9.1", "192.0.2.11/24", "192.0.2.12/24", "2001:db8:1::11/64", "2001:db8:1::12/64")
	a.Lback6, b.Lback6 = netip.MustParseAddr("fd76::a"), netip.MustParseAddr("fd76::b")
	_, agents, _ := stage(t, map[string]*Context{"a": a, "b": b})
	for _, who := range []string{"a", "b"} {
		for _, both := range []string{"", "W set f 41 26 0\n"} {
			agent.Play(t, agents, strings.ReplaceAll(`
				W tcp6 f
				`+both+`
				W bind f [::]:80
				W name f = [::]:80
				W tcp4 g
				W bind g 0.0.0.0:80 = EADDRINUSE
				W bind g 127.0.0.1:80 = EADDRINUSE
				W tcp6 h
				W bind h [::]:80 = EADDRINUSE
				W bind h [::1]:80 = EADDRINUSE
				W tcp6 i
				W set i 41 26 1
				W bind i [::]:80 = EADDRINUSE
				W tcp6 j
				W set j 41 26 0
				W bind j [::]:80 = EADDRINUSE
				W listen f
				W tcp4 c
				W connect c 127.0.0.1:80
				W accept f s = [::ffff:127.0.0.1]
				W tcp6 d
				W connect d [::1]:80
				W accept f s = [::1]
				W close f
				W bind i [::]:80
				W tcp6 h
				W bind h [::]:80 = EADDRINUSE
				W tcp6 j
				W set j 41 26 0
				W bind j [::]:80 = EADDRINUSE
				W tcp4 g
				W bind g 0.0.0.0:80
				W close i
				W bind j [::]:80 = EADDRINUSE
				W close g
				W bind j [::]:80
				W close j
				# two who share a port
				W tcp6 k
				W set k 1 15 1
				W set k 41 26 0
				W bind k [::]:80
				W tcp6 l
				W set l 1 15 1
				W set l 41 26 0
				W bind l [::]:80
				W close k
				W close l
			`, "W", who))
		}
	}
}
