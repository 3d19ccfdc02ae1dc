package packet

import (
	"errors"
	"net"
	"os"
	"runtime"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"vserver/internal/need"
)

func TestMain(m *testing.M) { need.Main(m) }

// TestSocket sends frames over the loopback of a namespace of the test's, where the
// sender receives them.
func TestSocket(t *testing.T) {
	need.Root(t)
	need.Namespaces(t, syscall.CLONE_NEWNET)
	done := make(chan struct{})
	go func() { // the thread, which is in a namespace of its own, ends with it
		defer close(done)
		runtime.LockOSThread()
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			t.Error(err)
			return
		}
		talk(t)
	}()
	<-done
}

func talk(t *testing.T) {
	up, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Error(err)
		return
	}
	defer unix.Close(up)
	req, _ := unix.NewIfreq("lo")
	req.SetUint16(unix.IFF_UP)
	if err := unix.IoctlIfreq(up, unix.SIOCSIFFLAGS, req); err != nil {
		t.Error(err)
		return
	}
	s, err := Open(1, IP, UDP(68))
	if err != nil {
		t.Error(err)
		return
	}
	datagram := func(protocol byte, fragment byte, port byte) []byte {
		p := make([]byte, 30)
		p[0], p[3], p[7], p[9], p[23], p[29] = 0x45, 30, fragment, protocol, port, port
		return p
	}
	to := net.HardwareAddr{0, 0, 0, 0, 0, 0}
	for _, p := range [][]byte{datagram(6, 0, 68), datagram(17, 1, 68), datagram(17, 0, 67), datagram(17, 0, 68)} {
		if err := s.Send(IP, to, p); err != nil {
			t.Error(err)
		}
	}
	buf := make([]byte, 100)
	n, err := s.Receive(buf, time.Now().Add(10*time.Second))
	if err != nil || n != 30 || buf[29] != 68 || buf[9] != 17 || buf[7] != 0 {
		t.Errorf("% x, %v", buf[:n], err)
	}
	// A frame that is sent is heard as it leaves, and as it comes: twice here.
	for range 2 {
		_, err = s.Receive(buf, time.Now().Add(50*time.Millisecond))
	}
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("beyond the filter: % x, %v", buf[:n], err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if _, err := s.Receive(buf, time.Time{}); err == nil {
		t.Error("it is closed, and receives")
	}
}
