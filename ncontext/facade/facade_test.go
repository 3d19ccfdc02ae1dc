package facade

import (
	"math/rand"
	"net"
	"strings"
	"testing"
	"time"
)

// What a process in a guest sees of its sockets.
func TestProbe(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	got := start(t, "probe", l.Addr().String()).said()
	t.Log(got)
	_ = strings.TrimSpace
}

// A server may be killed at any moment: its successor goes on, and the guest's process
// sees nothing but a delay. No socket is lost in its table, no number is wrong.
func TestKilled(t *testing.T) {
	quiet := lines(start(t, "loop", "10").said())
	b := start(t, "loop", "20000")
	done := make(chan string)
	go func() { done <- b.said() }()
	kills := 0
	for {
		select {
		case got := <-done:
			if g := lines(got); strings.Join(g, "\n") != strings.Join(quiet, "\n") {
				t.Errorf("after %d kills:\n%s", kills, got)
			}
			t.Logf("%d kills", kills)
			return
		case <-time.After(time.Duration(rand.Intn(2000)) * time.Microsecond):
		}
		b.kill()
		kills++
		if err := b.tree.Revive(b.group); err != nil && !b.tree.Over() {
			t.Error(err)
		}
	}
}

func TestBench(t *testing.T) {
	t.Log(start(t, "bench", "5000").said())
}
