package shared

import (
	"strings"
	"testing"

	"vserver/internal/agent"
)

// A socket that is bound to lo, as systemd-resolved's, is for the guest's loopback alone.
func TestInside(t *testing.T) {
	a := guestContext("127.0.8.1", "192.0.2.10/24", "2001:db8:1::10/64")
	a.Lback6 = addr("fd76::a")
	_, agents, _ := stage(t, map[string]*Context{"a": a, "b": guestContext("127.0.9.1", "192.0.2.11/24")})
	agent.Play(t, agents, `
		host udp4 other
		host bind other 127.0.0.53:53
		a udp4 d
		a set d 1 62 1
		a bind d 127.0.0.53:53
		a name d = 127.0.0.53:53
		a tcp4 s
		a set s 1 62 1
		a bind s 127.0.0.53:53
		a listen s
		a udp4 c
		a send c 127.0.0.53:53 hello
		a recv d = hello 127.0.0.1
		a tcp4 c
		a connect c 127.0.0.53:53
		a accept s in = 127.0.0.1
		a tcp6 v
		a set v 1 62 1
		a bind v [::1]:53
		a listen v
		a tcp6 c
		a connect c [::1]:53
		# nobody else's
		b udp4 c
		b send c 127.0.8.53:53 hello
		b tcp4 c
		b connect c 127.0.8.53:53 = ECONNREFUSED
		host tcp4 c
		host connect c 127.0.8.53:53 = ECONNREFUSED
		host udp4 c
		host send c 127.0.8.53:53 hello
		a recv d = EAGAIN
		# nor what it asks of others' loopback
		a udp4 e
		a set e 1 62 1
		a send e 127.0.0.53:53 hello
		a send e 192.0.2.1:7 hello
		host recv other = EAGAIN
		# at no other address, whenever it is bound
		a tcp4 w
		a set w 1 62 1
		a bind w 0.0.0.0:80 = EADDRNOTAVAIL
		a bind w 192.0.2.10:80 = EADDRNOTAVAIL
		a listen w
	`)
	_, port, _ := strings.Cut(agents["a"].Do("name w"), ":")
	agent.Play(t, agents, `
		host tcp4 c
		host connect c 192.0.2.10:`+port+` = ECONNREFUSED
		a udp4 w
		a set w 1 62 1
		a bind w 0.0.0.0:5353 = EADDRNOTAVAIL
		a bind w 224.0.0.251:5353 = EADDRNOTAVAIL
		a tcp6 w
		a set w 1 62 1
		a bind w [::]:0 = EADDRNOTAVAIL
		a bind w [::]:80 = EADDRNOTAVAIL
		a bind w [::ffff:192.0.2.10]:80 = EADDRNOTAVAIL
		a bind w [2001:db8:1::10]:80 = EADDRNOTAVAIL
		a tcp4 w
		a bind w 192.0.2.10:80
		a set w 1 62 1 = EPERM
		a set w 1 62 0 = EPERM
		a udp6 w
		a bind w [2001:db8:1::10]:80
		a set w 1 62 1 = EPERM
		a udp4 w
		a set w 1 62 2 = EPERM
		a set w 1 62 257 = EPERM
	`)
}
