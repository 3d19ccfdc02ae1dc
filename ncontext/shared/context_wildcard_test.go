package shared

import (
	"testing"

	"vserver/internal/agent"
)

// A wildcard may connect, and has the guest's address.
func TestWildcardConnects(t *testing.T) {
	_, agents, _ := stage(t, map[string]*Context{
		"a": guestContext("127.0.8.1", "192.0.2.10/24"),
		"b": guestContext("127.0.9.1", "192.0.2.11/24", "198.51.100.10/24"),
	})
	agent.Play(t, agents, `
		host tcp4 l
		host bind l 0.0.0.0:80
		host listen l
		a tcp4 l
		a bind l 0.0.0.0:80
		a listen l
		a tcp4 w
		a bind w 0.0.0.0:1000
		a connect w 192.0.2.1:80
		host accept l s4 = 192.0.2.10
		a tcp4 w
		a bind w 0.0.0.0:1001
		a name w = 0.0.0.0:1001
		a connect w 127.0.0.1:80
		a accept l s4 = 127.0.0.1
		# and is in the way of what is bound to one address, whichever comes first
		a tcp4 v
		a set v 1 2 1
		a bind v 127.0.0.1:1001 = EADDRINUSE
		a bind v 192.0.2.10:1001 = EADDRINUSE
		b tcp4 p
		b bind p 198.51.100.10:1002
		b tcp4 q
		b bind q 0.0.0.0:1002 = EADDRINUSE
		b close p
		b bind q 0.0.0.0:1002
		b listen q
		b tcp4 p
		b set p 1 2 1
		b bind p 198.51.100.10:1002 = EADDRINUSE
		b bind p 127.0.0.1:1002 = EADDRINUSE
		host tcp4 h
		host connect h 198.51.100.10:1002
		b accept q s5 = *
		b name s5 = 198.51.100.10:1002
		b close q
		b bind p 127.0.0.1:1002
	`)
}
