package shared

import (
	"testing"

	"vserver/internal/agent"
)

// A client of UDP that is bound to the wildcard without a port, as dig, is no less one where the guest
// may get groups or broadcasts.
func TestClientOfGroups(t *testing.T) {
	m := guestContext("127.0.8.1", "192.0.2.10/24", "198.51.100.10/24", "2001:db8:1::10/64")
	m.Multicast = true
	b := guestContext("127.0.9.1", "192.0.2.11/24", "2001:db8:1::11/64")
	b.Broadcast = true
	_, agents, _ := stage(t, map[string]*Context{"m": m, "b": b})
	for _, who := range []string{"m", "b"} {
		agent.Play(t, map[string]*agent.Agent{"g": agents[who], "host": agents["host"]}, `
			host udp4 s
			host bind s 192.0.2.1:53
			g udp4 c
			g bind c 0.0.0.0:0
			g connect c 192.0.2.1:53
			g send c - one
			host recv s = one 192.0.2.1*
			host udp6 v
			host bind v [2001:db8:1::1]:53
			g udp6 c
			g set c 41 26 1
			g bind c [::]:0
			g connect c [2001:db8:1::1]:53
			g send c - two
			host recv v = two [2001:db8:1::1*
			g udp4 l
			g bind l 127.0.0.1:53
			g udp4 c
			g bind c 0.0.0.0:0
			g connect c 127.0.0.1:53
			g send c - three
			g recv l = three 127.0.0.1
			host close s
			host close v
		`)
	}
}
