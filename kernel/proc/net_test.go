package proc

import (
	"net"
	"os"
	"runtime"
	"syscall"
	"testing"

	"vserver/internal/need"
)

func TestNet(t *testing.T) {
	need.Root(t)
	need.Namespaces(t, syscall.CLONE_NEWNET)
	runtime.LockOSThread() // and never unlocked: the thread ends with the test
	if err := syscall.Unshare(syscall.CLONE_NEWNET); err != nil {
		t.Fatal(err)
	}
	d, err := Open()
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	self := syscall.Gettid() // a thread has its own file there
	before, err := d.Net(self)
	if err != nil || before != (Net{}) {
		t.Errorf("of a new namespace: %+v, %v", before, err)
	}
	c, err := net.ListenPacket("udp", "0.0.0.0:0")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if n, err := d.Net(self); err != nil || n.Sockets != 1 || n.Connections != 0 {
		t.Errorf("with one socket: %+v, %v", n, err)
	}
	if _, err := d.Net(1 << 30); !os.IsNotExist(err) {
		t.Errorf("of nobody: %v", err)
	}
}

func TestParseNet(t *testing.T) {
	if n := ParseSockets([]byte("sockets: used 18\nTCP: inuse 4 orphan 0\nUDP: inuse 2 mem 1\nUDP6: inuse 1\nFRAG: inuse 9 memory 0\nRAW: inuse\n")); n != 7 {
		t.Error(n)
	}
	text := "Ip: Forwarding\nIp: 1\nTcp: RtoMin ActiveOpens PassiveOpens CurrEstab InSegs\nTcp: 200 10 4 3 7\n"
	if now, made := ParseConnections([]byte(text)); now != 3 || made != 14 {
		t.Error(now, made)
	}
	for _, text := range []string{"", "Tcp: CurrEstab\nTcp:\n", "Tcp: CurrEstab\nTcp: many\n"} {
		if now, made := ParseConnections([]byte(text)); now != 0 || made != 0 {
			t.Errorf("%q: %d, %d", text, now, made)
		}
	}
}
