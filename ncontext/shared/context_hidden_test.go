package shared

import (
	"encoding/hex"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"vserver/internal/agent"
)

// Where a guest has an address of the host's, nobody reaches its sockets by the ports that they
// are hidden at: a rule that denies the port they asked for would not know these.
func TestHiddenPorts(t *testing.T) {
	a := guestContext("127.0.8.1", "192.0.2.10/24", "2001:db8:1::10/64")
	a.Addresses[0].Host, a.Addresses[1].Host = true, true
	set, agents, _ := stage(t, map[string]*Context{"a": a})
	steering(t, set)
	agent.Play(t, agents, `
		a tcp4 l
		a set l 1 15 1
		a bind l 0.0.0.0:80
		a listen l
		a tcp4 m
		a set m 1 15 1
		a bind m 0.0.0.0:80
		a listen m
		a tcp6 v
		a set v 41 26 1
		a bind v [2001:db8:1::10]:80
		a listen v
		host udp4 h
		host bind h 0.0.0.0:5300
		a udp4 s
		a bind s 0.0.0.0:5300
	`)
	tcp, tcp6, udp := heldAt(t, "tcp", "192.0.2.10"), heldAt(t, "tcp6", "2001:db8:1::10"), heldAt(t, "udp", "192.0.2.10")
	agent.Play(t, agents, "host udp4 d\nhost bind d 192.0.2.1:1000")
	awaits(t, agents, "a", "d", "192.0.2.10:5300")
	agent.Play(t, agents, `
		host tcp4 c
		host connect c 192.0.2.10:`+tcp+` = ECONNREFUSED
		host tcp4 c
		host connect c 192.0.2.10:80
		host tcp6 c
		host connect c [2001:db8:1::10]:`+tcp6+` = ECONNREFUSED
		host tcp6 c
		host connect c [2001:db8:1::10]:80
		a accept v w = [2001:db8:1::*
		host send d 192.0.2.10:`+udp+` hidden
		a recv s = EAGAIN
		# the other socket of a port holds it
		a close l
		host tcp4 c
		host connect c 192.0.2.10:`+tcp+` = ECONNREFUSED
		a close m
		a close v
		# what the host listens on there is the host's, and so is the port that was hidden
		host tcp4 n
		host bind n 192.0.2.10:`+tcp+`
		host listen n
		host tcp4 c
		host connect c 192.0.2.10:`+tcp+`
		host accept n s = 192.0.2.*
	`)
}

// A hidden port may be that of two ports, at two addresses: it stays hidden with the one that is
// left.
func TestHiddenTwice(t *testing.T) {
	a := guestContext("127.0.8.1", "192.0.2.10/24", "192.0.2.11/24")
	a.Addresses[0].Host, a.Addresses[1].Host = true, true
	_, agents, _ := stage(t, map[string]*Context{"a": a})
	const ports = "/proc/sys/net/ipv4/ip_local_port_range"
	must(t, os.WriteFile(ports, []byte("40000 40000"), 0))
	agent.Play(t, agents, `
		a tcp4 l
		a bind l 192.0.2.10:80
		a listen l
		a tcp4 m
		a bind m 192.0.2.11:443
		a listen m
	`)
	if one, other := heldAt(t, "tcp", "192.0.2.10"), heldAt(t, "tcp", "192.0.2.11"); one != other {
		t.Fatalf("hidden at %s and %s", one, other)
	}
	must(t, os.WriteFile(ports, []byte("32768 60999"), 0))
	agent.Play(t, agents, `
		a close l
		host tcp4 c
		host connect c 192.0.2.11:40000 = ECONNREFUSED
		host tcp4 c
		host connect c 192.0.2.11:443
	`)
}

// heldAt is the port at which a socket that is connected to nobody holds an address.
func heldAt(t *testing.T, table, address string) string {
	t.Helper()
	b, err := os.ReadFile("/proc/thread-self/net/" + table)
	must(t, err)
	raw := netip.MustParseAddr(address).AsSlice()
	for i := 0; i < len(raw); i += 4 { // words, as this machine reads them
		raw[i], raw[i+1], raw[i+2], raw[i+3] = raw[i+3], raw[i+2], raw[i+1], raw[i]
	}
	for line := range strings.Lines(string(b)) {
		words := strings.Fields(line)
		at, port, ok := strings.Cut(words[1], ":")
		if ok && strings.EqualFold(at, hex.EncodeToString(raw)) && strings.HasSuffix(words[2], ":0000") {
			n, err := strconv.ParseUint(port, 16, 16)
			must(t, err)
			return strconv.FormatUint(n, 10)
		}
	}
	t.Fatalf("nobody holds %s:\n%s", address, b)
	return ""
}

// The table that hidden ports are in is shared by all guests: however many one asks for, there is
// room for another's, and what it gives back it may have again.
func TestHiddenMost(t *testing.T) {
	var files unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &files); err != nil {
		t.Fatal(err)
	}
	files.Cur, files.Max = 10000, max(files.Max, 10000)
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &files); err != nil { // the agents inherit it
		t.Fatal(err)
	}
	_, agents, _ := stage(t, map[string]*Context{
		"a": guestContext("127.0.8.1", "192.0.2.10/24", "192.0.2.11/24"),
		"b": guestContext("127.0.9.1", "192.0.2.12/24", "192.0.2.13/24"),
	})
	agent.Play(t, agents, `
		a many m 0.0.0.0:2000 9000 = 8192
		a tcp4 s
		a bind s 0.0.0.0:80 = EADDRINUSE
		b tcp4 s
		b bind s 0.0.0.0:80
		b listen s
		a none m
		a bind s 0.0.0.0:80
		a listen s
		a many m 0.0.0.0:2000 9000 = 8191
	`)
}
