package epoll

import (
	"os"
	"syscall"
	"testing"
	"time"

	"vserver/internal/need"
)

func TestMain(m *testing.M) { need.Main(m) }

// What is there comes at once, and what is not is not waited for.
func TestLinger(t *testing.T) {
	ep, err := syscall.EpollCreate1(syscall.EPOLL_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(ep)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	fd := int32(r.Fd())
	if err := syscall.EpollCtl(ep, syscall.EPOLL_CTL_ADD, int(fd), &syscall.EpollEvent{Events: syscall.EPOLLIN, Fd: fd}); err != nil {
		t.Fatal(err)
	}
	events := make([]syscall.EpollEvent, 4)
	if n := Linger(ep, events, 100*time.Microsecond); n != 0 {
		t.Errorf("nothing written: %d events", n)
	}
	w.WriteString("x")
	// A signal, of the runtime's, may come first.
	for n, tries := 0, 0; n == 0; tries++ {
		if n = Linger(ep, events, 100*time.Microsecond); n > 1 || n == 1 && events[0].Fd != fd || tries == 1000 {
			t.Fatalf("written: %d events, %+v", n, events[0])
		}
	}
	if n := Linger(ep, nil, time.Microsecond); n != 0 {
		t.Errorf("no room: %d events", n)
	}
	if n := Linger(-1, events, time.Microsecond); n != 0 {
		t.Errorf("no file: %d events", n)
	}
}
