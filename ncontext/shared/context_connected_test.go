package shared

import (
	"net/netip"
	"os/exec"
	"testing"

	"vserver/internal/agent"
	"vserver/internal/need"
)

// The host may change the source of what a guest sends, as with a masqueraded pool.
func TestTranslated(t *testing.T) {
	nft := need.Command(t, "nft")
	_, agents, _ := stage(t, map[string]*Context{"a": guestContext("127.0.8.1", "192.0.2.10/24", "198.51.100.10/24", "2001:db8:1::10/64")})
	rules := `table inet test { chain out { type nat hook postrouting priority 100;
		ip saddr 192.0.2.10 snat ip to 192.0.2.1
		ip6 saddr 2001:db8:1::10 snat ip6 to 2001:db8:1::1;
	}; }`
	if out, err := exec.Command(nft, rules).CombinedOutput(); err != nil {
		t.Fatalf("nft: %v\n%s", err, out)
	}
	agent.Play(t, agents, `
		host tcp4 l
		host bind l 192.0.2.1:80
		host listen l
		a tcp4 c
		a connect c 192.0.2.1:80
		host accept l s = 192.0.2.1
		a name c = 192.0.2.10:*
		host udp6 e
		host bind e [::]:7
		a udp4 u
		a send u 192.0.2.1:7 one
		host recv e = one [::ffff:192.0.2.1]
		a udp6 v
		a send v [::ffff:192.0.2.1]:7 two
		host recv e = two [::ffff:192.0.2.1]
		a send v [2001:db8:1::1]:7 three
		host recv e = three [2001:db8:1::1]
		a udp4 k
		a connect k 192.0.2.1:7
		a send k 192.0.2.1:7 four
		host recv e = four [::ffff:192.0.2.1]
	`)
}

// A socket that is parked can be connected, and bears its port then; those that are not
// connected hear what is sent to the port by others.
func TestConnected(t *testing.T) {
	need.Command(t, "nft")
	a := guestContext("127.0.8.1", "192.0.2.10/24", "2001:db8:1::10/64")
	a.Lback6 = netip.MustParseAddr("fd76::a")
	set, agents, _ := stage(t, map[string]*Context{"a": a, "b": guestContext("127.0.9.1", "192.0.2.11/24")})
	steering(t, set)
	agent.Play(t, agents, `
		host udp6 h
		host bind h [::]:5300
		host udp4 c
		host bind c 192.0.2.1:1000
		host udp4 d
		host bind d 192.0.2.1:1001
		a udp4 s
		a set s 1 2 1
		a bind s 0.0.0.0:5300
	`)
	awaits(t, agents, "a", "d", "192.0.2.10:5300")
	agent.Play(t, agents, `
		# a server that gives a client a socket of its own
		a udp4 s1
		a set s1 1 2 1
		a bind s1 192.0.2.10:5300
		a connect s1 192.0.2.1:1000
		a name s1 = 192.0.2.10:5300
	`)
	until(t, "answers are led", led)
	agent.Play(t, agents, `
		a send s1 192.0.2.1:1000 one
		host recv c = one 192.0.2.10
		host connect c 192.0.2.10:5300
		host send c 192.0.2.10:5300 two
		a recv s1 = two 192.0.2.1
	`)
	awaits(t, agents, "a", "d", "192.0.2.10:5300")
	agent.Play(t, agents, `
		# which gets nothing of others
		host send c 192.0.2.10:5300 three
		a recv s1 = three 192.0.2.1
		host udp4 e
		host send e 192.0.2.10:5300 four
		a recv s = four 192.0.2.1
		# a client; the wildcard is an address once it is connected
		b udp4 k
		b bind k 0.0.0.0:5300
		b name k = 0.0.0.0:5300
		host udp4 r
		host bind r 192.0.2.1:1002
		b connect k 192.0.2.1:1002
		b name k = 192.0.2.11:5300
		b send k 192.0.2.1:1002 five
		host recv r = five 192.0.2.11
		host send r 192.0.2.11:5300 six
		b recv k = six 192.0.2.1
		# and the next one from that port
		b close k
		b udp4 k
		b bind k 0.0.0.0:5300
		b connect k 192.0.2.1:1002
		b send k 192.0.2.1:1002 again
		host recv r = again 192.0.2.11
		host send r 192.0.2.11:5300 yes
		b recv k = yes 192.0.2.1
		# by IPv6
		host udp6 v
		host bind v [2001:db8:1::1]:1003
		a udp6 w
		a bind w [2001:db8:1::10]:5300
		a connect w [2001:db8:1::1]:1003
		a send w [2001:db8:1::1]:1003 seven
		host recv v = seven [2001:db8:1::10]
		host connect v [2001:db8:1::10]:5300
		host send v [2001:db8:1::10]:5300 eight
		a recv w = eight [2001:db8:1::1]
		# who has gone
		host close c
		a send s1 192.0.2.1:1000 nine
		a recv s1 = ECONNREFUSED
		host close v
		a send w [2001:db8:1::1]:1003 ten
		a recv w = ECONNREFUSED
	`)
}

// A port that a parked socket has had is heard at by one that is not parked there, as
// happens when nobody steers for a moment.
func TestSpoken(t *testing.T) {
	need.Command(t, "nft")
	set, agents, _ := stage(t, map[string]*Context{"a": guestContext("127.0.8.1", "192.0.2.10/24")})
	stop := steering(t, set)
	agent.Play(t, agents, `
		host udp4 h
		host bind h 192.0.2.1:7
		a udp4 first
		a bind first 0.0.0.0:699
	`)
	until(t, "answers are led", led)
	talk := `
		a udp4 s
		a bind s 0.0.0.0:700
		a send s 192.0.2.1:7 one
		host recv h = one 192.0.2.10
		host send h 192.0.2.10:700 two
		a recv s = two 192.0.2.1
		a close s
	`
	agent.Play(t, agents, talk)
	stop()
	agent.Play(t, agents, talk) // an event is unread
	agent.Play(t, agents, talk)
}
