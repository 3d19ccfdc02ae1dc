package shared

import (
	"net/netip"
	"strings"
	"testing"

	"vserver/internal/agent"
)

// Who is bound to loopback sees there whoever comes from the guest's own wildcard, as name
// servers that answer localhost alone want it, and answers there.
func TestWildcardsAtLoopback(t *testing.T) {
	a := guestContext("127.0.8.1", "192.0.2.10/24", "2001:db8:1::10/64")
	a.Lback6 = netip.MustParseAddr("fd76::a")
	set, agents, _ := stage(t, map[string]*Context{"a": a})
	steering(t, set)
	agent.Play(t, agents, `
		a udp4 parked
		a bind parked 127.0.0.1:53
		a udp4 s
		a bind s 127.0.0.1:5300
		a udp6 s6
		a bind s6 [::1]:5300
		a tcp4 l
		a bind l 127.0.0.1:5300
		a listen l
		a udp4 c
		a bind c 0.0.0.0:5301
		a send c 127.0.0.1:5300 one
		a recv s = one 127.0.0.1
		a send s 127.0.0.1:5301 two
		a recv c = two 127.0.0.1
		a connect c 127.0.0.1:5300
		a send s 127.0.0.1:5301 three
		a recv c = three 127.0.0.1
		a udp4 d
		a bind d 0.0.0.0:5302
		a connect d 127.0.0.1:53
	`)
	until(t, "the parked socket hears", func() bool { // Steer hears of it a moment after it was bound
		agents["a"].Do("send d 127.0.0.1:53 four")
		return agents["a"].Do("recv parked") == "four 127.0.0.1"
	})
	agent.Play(t, agents, `
		a send parked 127.0.0.1:5302 five
		a recv d = five 127.0.0.1
		a udp6 c6
		a set c6 41 26 1
		a bind c6 [::]:5301
		a connect c6 [::1]:5300
		a send c6 [::1]:5300 six
		a recv s6 = six [::1]
		a send s6 [::1]:5301 seven
		a recv c6 = seven [::1]
		a tcp4 w
		a bind w 0.0.0.0:0
		a connect w 127.0.0.1:5300
		a accept l w4 = 127.0.0.1
	`)
}

// Who asks a wildcard at loopback hears the answer of a program that sends it by the link it was
// told, which is that of the guest's first address: from a moment after the first was asked on.
func TestLoopbackByLink(t *testing.T) {
	set, agents, _ := stage(t, map[string]*Context{"a": guestContext("127.0.8.1", "192.0.2.10/24")})
	steering(t, set)
	agent.Play(t, agents, `
		a udp4 s
		a bind s 0.0.0.0:4433
		a udp4 parked
		a bind parked 0.0.0.0:443
		a udp4 c
		a connect c 127.0.0.1:4433
	`)
	until(t, "the answer is heard", func() bool {
		a := agents["a"]
		a.Do("send c - ask")
		asked := a.Do("recv s")
		port := strings.TrimPrefix(a.Do("name c"), "127.0.0.1:")
		return asked == "ask 127.0.0.1" && a.Do("send s 127.0.0.1:"+port+" told 192.0.2.10@eth0") == "ok" && a.Do("recv c") == "told 127.0.0.1"
	})
	until(t, "and that of one that is parked", func() bool {
		a := agents["a"]
		a.Do("udp4 d")
		a.Do("connect d 127.0.0.1:443")
		a.Do("send d - ask")
		asked := a.Do("recv parked")
		port := strings.TrimPrefix(a.Do("name d"), "127.0.0.1:")
		return asked == "ask 127.0.0.1" && a.Do("send parked 127.0.0.1:"+port+" told 192.0.2.10@eth0") == "ok" && a.Do("recv d") == "told 127.0.0.1"
	})
}
