package facade

import (
	"net"
	"strings"
	"testing"
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

func TestBench(t *testing.T) {
	t.Log(start(t, "bench", "5000").said())
}
