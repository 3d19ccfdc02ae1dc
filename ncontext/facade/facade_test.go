package facade

import (
	"fmt"
	"math/rand"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"vserver/internal/need"
	"vserver/kernel/pidfd"
)

// What a process in a guest sees of its sockets.
func TestProbe(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	got := start(t, "probe", l.Addr().String()).said()
	owners := "other owner 1000\nown again 0\n"
	if !knowsCallers() {
		owners = "other owner 0\nown again 0\n"
	}
	want := `dial <nil>
udp6 <nil>
flags true
cloexec true
owner 0
mptcp protocol not supported
mixed protocol not supported
full too many open files
conf 4 40 lo 127.0.0.1 0
conf 1 40 lo 127.0.0.1 0
conf 0 0 0
conf -1 40 0
unix cookie differs true
lo by unix lo
lo by inet lo
second by inet no such device
no file bad file descriptor
no socket inappropriate ioctl for device
no memory bad address
setting operation not permitted
` + owners
	if !knowsCallers() {
		// A kernel before 6.9 has no descriptors of threads: the socket that is asked is not
		// looked at.
		unseen := strings.NewReplacer("no file bad file descriptor", "no file no such device",
			"no socket inappropriate ioctl for device", "no socket no such device")
		want, got = unseen.Replace(want), unseen.Replace(got)
	}
	if got != want {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
}

// knowsCallers tells whether the kernel says who calls (PIDFD_GET_INFO, 6.13).
func knowsCallers() bool {
	fd, err := pidfd.Open(1)
	if err != nil {
		return false
	}
	defer syscall.Close(fd)
	info := [64]byte{2} // struct pidfd_info, the mask first: PIDFD_INFO_CREDS
	_, _, e := syscall.Syscall(syscall.SYS_IOCTL, uintptr(fd), 0xc040ff0b, uintptr(unsafe.Pointer(&info)))
	return e == 0
}

// A server may be killed at any moment: its successor goes on, and the guest's process
// sees nothing but a delay. No socket is lost in its table, no number is wrong.
func TestKilled(t *testing.T) {
	quiet := lines(start(t, "loop", "10").said())
	calls := "20000"
	if need.InVM() {
		calls = "1000" // emulated
	}
	b := start(t, "loop", calls)
	done, over := make(chan string), false
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
			if over {
				continue
			}
		}
		b.kill()
		kills++
		if err := b.tree.Revive(b.group); err != nil {
			over = true // but for its last breath: the server's guest is gone
			readable(t, b.init)
		}
	}
}

// Without a server a call waits; when nobody holds the listener any more it fails.
func TestNobody(t *testing.T) {
	b := launch(t, newGroup(t), program(t), "wait")
	listener, err := b.child.Listener()
	if err == nil {
		err = b.child.Finish()
	}
	if err != nil {
		t.Fatal(err)
	}
	readable(t, listener)
	syscall.Close(listener)
	if got := b.said(); got != "begin\n-1 function not implemented\n" {
		t.Errorf("the call gave %q", got)
	}
}

// A caller may be killed while its call waits, or is being served; the server goes on.
func TestCallerKilled(t *testing.T) {
	g, path := newGroup(t), program(t)
	for i := range 20 {
		b := begin(t, g, path, "loop", "1000000")
		time.Sleep(time.Duration(rand.Intn(3000)) * time.Microsecond)
		if i%2 == 0 {
			pidfd.Signal(b.tree.Server, syscall.SIGSTOP)
		}
		b.child.Kill()
		if !b.tree.Over() {
			t.Error("the tree outlives its first process")
		}
		pidfd.Signal(b.tree.Server, syscall.SIGCONT)
		readable(t, b.tree.Server)
	}
}

// readable waits for a descriptor to be so: a pidfd when its process has ended, a
// listener when a call waits.
func readable(t testing.TB, fd int) {
	t.Helper()
	p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	for n := 0; n == 0; {
		n, _ = unix.Poll(p, -1)
	}
}

// Fifty guests at once; those whose servers stand still keep no other waiting.
func TestMany(t *testing.T) {
	g, path := newGroup(t), program(t)
	many := 50
	if need.InVM() {
		many = 10
	}
	var boxes []*box
	for range many {
		boxes = append(boxes, begin(t, g, path, "loop", "200"))
	}
	for i, b := range boxes {
		if i%5 == 0 {
			pidfd.Signal(b.tree.Server, syscall.SIGSTOP)
		}
	}
	for i, b := range boxes {
		if i%5 != 0 {
			if got := b.said(); !strings.HasPrefix(got, "begin\nend") {
				t.Errorf("box %d: %q", i, got)
			}
		}
	}
	for i, b := range boxes {
		if i%5 == 0 {
			pidfd.Signal(b.tree.Server, syscall.SIGCONT)
			if got := b.said(); !strings.HasPrefix(got, "begin\nend") {
				t.Errorf("box %d: %q", i, got)
			}
		}
	}
}

// What a server has open is found again by who knows its group alone.
func TestFind(t *testing.T) {
	b := start(t, "loop", "1000000")
	server, err := pidfd.PID(b.tree.Server)
	if err != nil {
		t.Fatal(err)
	}
	found := Find(b.group, func(int) bool { return false })
	if len(found) != 1 {
		t.Fatalf("%d servers", len(found))
	}
	b.tree.Close()
	b.tree = found[0]
	defer b.tree.Close()
	if pid, err := pidfd.PID(b.tree.Server); err != nil || pid != server {
		t.Errorf("server %d, %v; want %d", pid, err, server)
	}
	if all := Find(b.group, func(pid int) bool { return pid == server }); len(all) != 0 {
		t.Errorf("%d that are known", len(all))
	}
	// One that serves is not doubled, one that was killed is replaced.
	if err := b.tree.Revive(b.group); err != nil {
		t.Fatal(err)
	}
	if pid, _ := pidfd.PID(b.tree.Server); pid != server {
		t.Errorf("another server, %d, beside %d", pid, server)
	}
	b.kill()
	if err := b.tree.Revive(b.group); err != nil {
		t.Fatal(err)
	}
	if pid, _ := pidfd.PID(b.tree.Server); pid == server || pid <= 0 {
		t.Errorf("server %d", pid)
	}
	if pids, err := b.group.Servers(); err != nil || len(pids) != 1 {
		t.Errorf("servers %v, %v", pids, err)
	}
}

// BenchmarkSocket tells what socket(2) costs through a server, in nanoseconds. The
// budget is 40 µs.
func BenchmarkSocket(b *testing.B) {
	var median, late float64
	for b.Loop() {
		if _, err := fmt.Sscan(start(b, "bench", "5000").said(), &median, &late); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(median, "median-ns")
	b.ReportMetric(late, "p90-ns")
	b.ReportMetric(0, "ns/op")
}
