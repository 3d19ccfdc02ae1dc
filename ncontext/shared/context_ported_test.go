package shared

import (
	"net/netip"
	"testing"

	"vserver/internal/agent"
	"vserver/internal/need"
	"vserver/kernel/nft"
)

// What is bound to a port and then connects is seen at that port, of TCP.
func TestPorted(t *testing.T) {
	need.Command(t, "nft")
	a := guestContext("127.0.8.1", "192.0.2.10/24", "2001:db8:1::10/64")
	a.Lback6 = netip.MustParseAddr("fd76::a")
	set, agents, _ := stage(t, map[string]*Context{"a": a, "b": guestContext("127.0.9.1", "192.0.2.11/24")})
	stop := steering(t, set)
	agent.Play(t, agents, `
		host tcp6 l
		host bind l [::]:80
		host listen l
		host tcp4 h
		host bind h 0.0.0.0:1000
		host listen h
		b tcp4 l
		b bind l 0.0.0.0:80
		b listen l
		a tcp4 c
		a bind c 0.0.0.0:1000
		a name c = 0.0.0.0:1000
		# the first one of all waits for the way of the answers: the kernel tries again
		a tcp4 first
		a bind first 0.0.0.0:1001
		a connect first 192.0.2.1:81 = E*
	`)
	until(t, "answers are led", led)
	agent.Play(t, agents, `
		a connect c 192.0.2.1:80
		host accept l s = [::ffff:192.0.2.10]
		host peer s = [::ffff:192.0.2.10]:1000
		a name c = 192.0.2.10:1000
		host send s [::ffff:192.0.2.10]:1000 one
		a recv c = one
		a send c 192.0.2.1:80 two
		host recv s = two
		# and of another guest, from an address
		a tcp4 d
		a bind d 192.0.2.10:20
		a connect d 192.0.2.11:80
		a name d = 192.0.2.10:20
		b accept l s = 192.0.2.10
		b peer s = 192.0.2.10:20
		b send s 192.0.2.10:20 three
		a recv d = three
		# by IPv6
		a tcp6 e
		a bind e [2001:db8:1::10]:20
		a connect e [2001:db8:1::1]:80
		host accept l s6 = [2001:db8:1::10]
		host peer s6 = [2001:db8:1::10]:20
		host send s6 [2001:db8:1::10]:20 four
		a recv e = four
		# of a socket for both families
		a tcp6 b
		a bind b [::]:1002
		a name b = [::]:1002
		a connect b [2001:db8:1::1]:80 = EADDRNOTAVAIL
		a connect b [::ffff:192.0.2.1]:80
		host accept l s7 = [::ffff:192.0.2.10]
		host peer s7 = [::ffff:192.0.2.10]:1002
		a name b = [::ffff:192.0.2.10]:1002
		# and of one for IPv6 alone
		a tcp6 o
		a set o 41 26 1
		a bind o [::]:1003
		a connect o [2001:db8:1::1]:80
		host accept l s8 = [2001:db8:1::10]
		host peer s8 = [2001:db8:1::10]:1003
		# within the guest
		a tcp4 l
		a bind l 127.0.0.1:80
		a listen l
		a tcp4 f
		a bind f 127.0.0.1:21
		a connect f 127.0.0.1:80
		a accept l s = 127.0.0.1
		a peer s = 127.0.0.1:21
		a send s 127.0.0.1:21 five
		a recv f = five
	`)
	stop()
}

// When a connection has ended, its port may have another to the same one at once.
func TestPortedAgain(t *testing.T) {
	need.Command(t, "nft")
	a := guestContext("127.0.8.1", "192.0.2.10/24", "2001:db8:1::10/64")
	a.Lback6 = netip.MustParseAddr("fd76::a")
	set, agents, _ := stage(t, map[string]*Context{"a": a})
	steering(t, set)
	agent.Play(t, agents, `
		host tcp6 l
		host bind l [::]:80
		host listen l
		a tcp4 first
		a bind first 0.0.0.0:1001
		a connect first 192.0.2.1:81 = E*
	`)
	until(t, "answers are led", led)
	for range 2 {
		agent.Play(t, agents, `
			a tcp4 c
			a bind c 0.0.0.0:1000
			a connect c 192.0.2.1:80
			host accept l s = [::ffff:192.0.2.10]
			host send s [::ffff:192.0.2.10]:1000 one
			a recv c = one
			a close c
			host close s
			a tcp6 e
			a set e 41 26 1
			a bind e [::]:1000
			a connect e [2001:db8:1::1]:80
			host accept l s6 = [2001:db8:1::10]
			a close e
			host close s6
		`)
	}
}

// led tells whether the host leads answers to parked sockets.
func led() bool {
	there, err := nft.Exists(nft.Table{Family: nft.Inet, Name: "vserver"}, "connected")
	return err == nil && there
}
