package host

import (
	"errors"
	"io"
	"net"
	"syscall"
	"testing"
	"time"

	"vserver/guest"
	"vserver/internal/need"
)

// TestKilledHeard: whom a killed guest was connected to hears of its end at once, the one that
// waits for nothing and the one that has much to read yet.
func TestKilledHeard(t *testing.T) {
	need.Swift(t)
	w := newNet(t)
	sh(t, "ip addr add 198.51.100.1/32 dev lo")
	n := w.guest("web1", inShared("198.51.100.10/24 dev lo"))
	w.start(n)
	w.sh(n, "nc -l -p 80 -e sleep 1000 </dev/null >/dev/null 2>&1 & nc -l -p 81 </dev/zero >/dev/null 2>&1 &")
	from := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(198, 51, 100, 1)}}
	dial := func(port string) net.Conn {
		for end := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
			c, err := from.Dial("tcp", "198.51.100.10:"+port)
			if err == nil {
				t.Cleanup(func() { c.Close() })
				return c
			}
			if time.Now().After(end) {
				t.Fatal(err)
			}
		}
	}
	idle, full := dial("80"), dial("81")
	if _, err := io.ReadFull(full, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	time.Sleep(200 * time.Millisecond) // until nobody takes more
	if err := w.Stop(t.Context(), n, StopOptions{Kill: true}); err != nil {
		t.Fatal(err)
	}
	for c, want := range map[net.Conn]error{idle: nil, full: syscall.ECONNRESET} {
		c.SetReadDeadline(time.Now().Add(30 * time.Second))
		if _, err := io.Copy(io.Discard, c); !errors.Is(err, want) {
			t.Errorf("%v, want %v", err, want)
		}
	}
	if st, err := w.Status(n); err != nil || st.State != guest.Stopped {
		t.Errorf("%+v, %v", st, err)
	}
}
