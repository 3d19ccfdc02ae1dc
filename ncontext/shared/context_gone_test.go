package shared

import (
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"time"

	"vserver/internal/agent"
)

// TestGoneReset: whom a guest was connected to by an address that is taken from it hears of
// the end when its connections are killed, and nothing else from there.
func TestGoneReset(t *testing.T) {
	set, agents, ids := stage(t, map[string]*Context{
		"a": guestContext("127.0.8.1", "192.0.2.10/24", "192.0.2.12/24", "2001:db8:1::10/64", "2001:db8:1::12/64"),
		"b": guestContext("127.0.9.1", "192.0.2.11/24", "2001:db8:1::11/64"),
	})
	agent.Play(t, agents, `
		a tcp4 l
		a bind l 192.0.2.12:80
		a listen l
		a tcp6 l6
		a bind l6 [2001:db8:1::12]:80
		a listen l6
		b tcp4 c
		b connect c 192.0.2.12:80
		b tcp6 c6
		b connect c6 [2001:db8:1::12]:80
		a accept l s = 192.0.2.11
		a accept l6 s6 = [2001:db8:1::11]
	`)
	must(t, set.Put(ids["a"], guestContext("127.0.8.1", "192.0.2.10/24", "2001:db8:1::10/64")))
	agent.Play(t, agents, `
	`)
	for _, a := range []string{"192.0.2.12", "2001:db8:1::12"} {
		_, err := Kill(addr(a), nil)
		must(t, err)
	}
	agent.Play(t, agents, `
		b recv c = ECONNRESET
		b recv c6 = ECONNRESET
	`)
}

// TestDownAbandons: when a guest's addresses go, connections that no program has any more
// and that cannot send the rest are reset; those of others, and those that programs have,
// are not.
func TestDownAbandons(t *testing.T) {
	ground(t)
	hostAddr(t, "lo", "192.0.2.99/32")
	up(t, want(t, 8, "192.0.2.10/24"))
	filled := func(at string, closed bool) net.Conn {
		l, err := net.Listen("tcp", at+":0")
		must(t, err)
		defer l.Close()
		from := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP("192.0.2.99")}}
		c, err := from.Dial("tcp", l.Addr().String())
		must(t, err)
		t.Cleanup(func() { c.Close() })
		s, err := l.Accept()
		must(t, err)
		s.SetWriteDeadline(time.Now().Add(100 * time.Millisecond))
		for err = nil; err == nil; {
			_, err = s.Write(make([]byte, 1<<16))
		}
		if closed {
			s.Close()
		} else {
			t.Cleanup(func() { s.Close() })
		}
		return c
	}
	gone, kept, others := filled("192.0.2.10", true), filled("192.0.2.10", false), filled("192.0.2.1", true)
	must(t, down(8))
	for c, want := range map[net.Conn]error{gone: syscall.ECONNRESET, kept: os.ErrDeadlineExceeded, others: nil} {
		patience := 30 * time.Second
		if errors.Is(want, os.ErrDeadlineExceeded) {
			patience = time.Second
		}
		c.SetReadDeadline(time.Now().Add(patience))
		if _, err := io.Copy(io.Discard, c); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", c.RemoteAddr(), err, want)
		}
	}
}
