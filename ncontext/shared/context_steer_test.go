package shared

import (
	"context"
	"errors"
	"net/netip"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/vishvananda/netns"

	"vserver/bpf"
	"vserver/internal/agent"
	"vserver/internal/need"
	"vserver/kernel/ebpf"
	"vserver/ncontext/firewall"
)

// A socket on the wildcard gets what is sent to any of the guest's addresses.
func TestSteer(t *testing.T) {
	a := guestContext("127.0.8.1", "192.0.2.10/24", "198.51.100.10/24", "2001:db8:1::10/64")
	a.Lback6 = netip.MustParseAddr("fd76::a")
	set, agents, _ := stage(t, map[string]*Context{"a": a, "b": guestContext("127.0.9.1", "192.0.2.11/24", "192.0.2.12/24")})
	stop := steering(t, set)
	agent.Play(t, agents, `
		host udp4 c
		host udp6 d
		a udp6 s
		a bind s [::]:53
		a name s = [::]:53
		b udp4 s
		b bind s 0.0.0.0:53
		b udp4 one
		b bind one 192.0.2.12:99
	`)
	// Steer hears of a socket a moment after it was bound.
	for end := time.Now().Add(20 * time.Second); ; {
		agents["host"].Do("send c 198.51.100.10:53 hello")
		agents["host"].Do("send c 192.0.2.12:53 hello")
		if agents["a"].Do("recv s") != "EAGAIN" && agents["b"].Do("recv s") != "EAGAIN" {
			break
		}
		if time.Now().After(end) {
			t.Fatal("nothing was steered")
		}
	}
	drain(agents["a"], agents["b"]) // what was sent once too often
	agent.Play(t, agents, `
		host send c 192.0.2.10:53 one
		a recv s = one [::ffff:1*
		host send c 198.51.100.10:53 two
		a recv s = two [::ffff:1*
		host send d [2001:db8:1::10]:53 three
		a recv s = three [2001:db8:1::*
		a udp4 c
		a send c 127.0.0.1:53 four
		a recv s = four [::ffff:127.0.0.1]
		host send c 192.0.2.12:53 five
		b recv s = five 192.0.2.1
		host send c 192.0.2.12:99 six
		b recv one = six 192.0.2.1
		b close s
		b udp4 s
		b bind s 192.0.2.12:53
	`)
	awaits(t, agents, "b", "c", "192.0.2.12:53")
	agent.Play(t, agents, `
		host send c 192.0.2.12:53 seven
		b recv s = seven 192.0.2.1
		# answers to what a guest sends come as ever
		host udp4 e
		host bind e 192.0.2.1:7
		a send s [::ffff:192.0.2.1]:7 eight
		host recv e = eight 192.0.2.10
	`)
	stop()
}

// steering has somebody steer, until stop is called or the test ends.
func steering(t testing.TB, set *Set) (stop func()) {
	t.Helper()
	here, err := netns.Get()
	must(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked
		if err := netns.Set(here); err != nil {
			done <- err
			return
		}
		done <- set.Steer(ctx, func(k Kept) error {
			var err error
			if k.Parked || k.Connected {
				err = firewall.Parked(k.Connected)
			}
			if k.Looped {
				err = errors.Join(err, firewall.Looped())
			}
			return err
		})
	}()
	until(t, "somebody steers", func() bool {
		value := make([]byte, bpf.ManifestSize)
		must(t, ebpf.Get(set.maps.Manifest, make([]byte, 4), value))
		return value[bpf.Steering] != 0
	})
	stop = sync.OnceFunc(func() {
		cancel()
		must(t, <-done)
		here.Close()
	})
	t.Cleanup(stop)
	return stop
}

// until waits for something that comes a moment later.
func until(t testing.TB, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !is(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("never: %s", what)
		}
	}
}

// awaits has the host send to an address until somebody gets that at the socket s: Steer
// hears of a socket a moment after it was bound.
func awaits(t testing.TB, agents map[string]*agent.Agent, who, from, to string) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); ; {
		agents["host"].Do("send " + from + " " + to + " hello")
		if agents[who].Do("recv s") != "EAGAIN" {
			drain(agents[who])
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%s gets nothing that is sent to %s", who, to)
		}
	}
}

// Guests and the host have the same port on the wildcard, whoever comes first, and
// answers come from the port that was asked.
func TestParked(t *testing.T) {
	need.Command(t, "nft") // or the kernel's half of it
	a := guestContext("127.0.8.1", "192.0.2.10/24", "198.51.100.10/24", "2001:db8:1::10/64")
	a.Lback6 = netip.MustParseAddr("fd76::a")
	b := guestContext("127.0.9.1", "192.0.2.11/24", "2001:db8:1::11/64")
	set, agents, _ := stage(t, map[string]*Context{"a": a, "b": b})
	steering(t, set)
	hostAddr(t, "eth0", "198.51.100.1/24")
	agent.Play(t, agents, `
		host udp4 h
		host bind h 0.0.0.0:5300
		a udp4 s
		a bind s 0.0.0.0:5300
		a name s = 0.0.0.0:5300
		b udp6 s
		b bind s [::]:5300
		b name s = [::]:5300
		a udp4 x
		a bind x 0.0.0.0:5300 = EADDRINUSE
		host udp4 c
		host bind c 192.0.2.1:1000
		host udp6 d
		host bind d [2001:db8:1::1]:1000
	`)
	awaits(t, agents, "a", "c", "192.0.2.10:5300")
	awaits(t, agents, "b", "c", "192.0.2.11:5300")
	agent.Play(t, agents, `
		host send c 192.0.2.1:5300 mine
		host recv h = mine 192.0.2.1
		# a connected client takes an answer from the right port alone
		host connect c 192.0.2.10:5300
		host send c 192.0.2.10:5300 one
		a recv s = one 192.0.2.1
		a send s 192.0.2.1:1000 two
		host recv c = two 192.0.2.10
		host close c
		host udp4 c
		host bind c 192.0.2.1:1000
		host connect c 192.0.2.11:5300
		host send c 192.0.2.11:5300 three
		b recv s = three [::ffff:192.0.2.1]
		b send s [::ffff:192.0.2.1]:1000 four
		host recv c = four 192.0.2.11
		host connect d [2001:db8:1::11]:5300
		host send d [2001:db8:1::11]:5300 five
		b recv s = five [2001:db8:1::1]
		b send s [2001:db8:1::1]:1000 six
		host recv d = six [2001:db8:1::11]
		# the answer to another network comes from the address in it
		host close c
		host udp4 c
		host bind c 198.51.100.1:1001
		host send c 198.51.100.10:5300 seven
		a recv s = seven 198.51.100.1
		a send s 198.51.100.1:1001 seven
		host recv c = seven 198.51.100.10
		a send s 198.51.100.1:1001 again
		host recv c = again 198.51.100.10
		# unless the program says otherwise
		a send s 198.51.100.1:1001 named 198.51.100.10
		host recv c = named 198.51.100.10
		a set s 0 8 1
		a send s 198.51.100.1:1001 named 192.0.2.10
		host recv c = named 192.0.2.10
		# between guests, and to oneself
		a udp4 e
		a bind e 192.0.2.10:1002
		a connect e 192.0.2.11:5300
	`)
	until(t, "answers are led", led)
	agent.Play(t, agents, `
		a send e 192.0.2.11:5300 eight
		b recv s = eight [::ffff:192.0.2.10]
		b send s [::ffff:192.0.2.10]:1002 nine
		a recv e = nine 192.0.2.11
		a udp4 e
		a send e 127.0.0.1:5300 ten
		a recv s = ten 127.0.0.1
		# the port is free when it is closed
		a close s
		a udp4 s
		a bind s 0.0.0.0:5300
	`)
}

// What is bound to one address, what comes before the host, and who gets an earlier
// refusal are parked no worse.
func TestParkedLater(t *testing.T) {
	need.Command(t, "nft")
	set, agents, _ := stage(t, map[string]*Context{"a": guestContext("127.0.8.1", "192.0.2.10/24", "198.51.100.10/24")})
	steering(t, set)
	agent.Play(t, agents, `
		host udp4 h
		host bind h 0.0.0.0:5300
		host udp4 c
		host bind c 192.0.2.1:1001
		a udp4 s
		a bind s 192.0.2.10:5300
		a udp4 x
		a bind x 198.51.100.10:5300
		a udp4 y
		a bind y 198.51.100.10:5300 = EADDRINUSE
	`)
	awaits(t, agents, "a", "c", "192.0.2.10:5300")
	agent.Play(t, agents, `
		host close c
		host udp4 c
		host bind c 192.0.2.1:1003
		host connect c 192.0.2.10:5300
		a send s 192.0.2.1:1003 twelve
		host recv c = twelve 192.0.2.10
		# a service of the host that comes later, at a port for such
		a udp4 z
		a bind z 0.0.0.0:53
		host udp6 z
		host bind z [::]:53
	`)
	// None is parked there while Steer has not heard of the last one.
	until(t, "the next one is parked", func() bool {
		both := []string{"a", "host"}
		for _, c := range []string{"udp4 syslog", "bind syslog 0.0.0.0:514"} {
			for _, who := range both {
				if agents[who].Do(c) == "EADDRINUSE" {
					agent.Play(t, agents, "a close syslog\nhost close syslog")
					return false
				}
			}
		}
		return true
	})
	until(t, "answers are led", led)
	agent.Play(t, agents, `
		# a client at such a port is answered before Steer knows it
		host udp4 server
		host bind server 192.0.2.1:1005
		host connect server 192.0.2.10:700
		a udp4 client
		a bind client 0.0.0.0:700
		a send client 192.0.2.1:1005 ask
		host recv server = ask 192.0.2.10
		host send server 192.0.2.10:700 answer
		a recv client = answer 192.0.2.1
		# an earlier try leaves no mark
		host udp4 e
		host bind e 192.0.2.1:1004
		a udp4 v
		a bind v 198.51.100.10:5300 = EADDRINUSE
		a bind v 192.0.2.10:5301
		host connect e 192.0.2.10:5301
		a send v 192.0.2.1:1004 thirteen
		host recv e = thirteen 192.0.2.10
	`)
}

// drain takes what waits at the sockets s.
func drain(agents ...*agent.Agent) {
	for _, a := range agents {
		for a.Do("recv s") != "EAGAIN" {
		}
	}
}
