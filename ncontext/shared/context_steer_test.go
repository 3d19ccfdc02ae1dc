package shared

import (
	"context"
	"net/netip"
	"os/exec"
	"runtime"
	"testing"
	"time"

	"github.com/vishvananda/netns"

	"vserver/internal/agent"
	"vserver/internal/need"
)

// A socket on the wildcard gets what is sent to any of the guest's addresses.
func TestSteer(t *testing.T) {
	a := guestContext("127.0.8.1", "192.0.2.10/24", "198.51.100.10/24", "2001:db8:1::10/64")
	a.Lback6 = netip.MustParseAddr("fd76::a")
	set, agents, _ := stage(t, map[string]*Context{"a": a, "b": guestContext("127.0.9.1", "192.0.2.11/24", "192.0.2.12/24")})
	here, err := netns.Get()
	must(t, err)
	defer here.Close()
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked
		if err := netns.Set(here); err != nil {
			done <- err
			return
		}
		done <- set.Steer(ctx)
	}()
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
		host send c 192.0.2.12:53 seven
		b recv s = seven 192.0.2.1
		# answers to what a guest sends come as ever
		host udp4 e
		host bind e 192.0.2.1:7
		a send s [::ffff:192.0.2.1]:7 eight
		host recv e = eight 192.0.2.10
	`)
	stop()
	must(t, <-done)
}

// drain takes what waits at the sockets s.
func drain(agents ...*agent.Agent) {
	for _, a := range agents {
		for a.Do("recv s") != "EAGAIN" {
		}
	}
}

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
