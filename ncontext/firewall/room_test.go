package firewall

import (
	"encoding/binary"
	"net"
	"syscall"
	"testing"

	"vserver/bpf"
	"vserver/kernel/nft"
)

// One guest that sends to ever others does not take the room for answers from another.
func TestRoom(t *testing.T) {
	w := newWorld(t)
	w.address("up0", "198.51.100.8/24", "198.51.100.9/24")
	must(t, Parked(true))
	const tries = 4000
	for i := range tries {
		sendMarked(t, [4]byte{198, 51, 100, 8}, i+1)
	}
	// What comes back in the time that this takes is not known.
	if n := learned(t, answers4); n < roomBurst || n > roomBurst+(tries-roomBurst)/2 {
		t.Errorf("%d may answer", n)
	}
	before := learned(t, answers4)
	sendMarked(t, [4]byte{198, 51, 100, 9}, 1)
	if n := learned(t, answers4); n != before+1 {
		t.Errorf("%d may answer, and %d with another guest's", before, n)
	}
}

// A connection that a guest ends is not kept room for as one that it has.
func TestEnded(t *testing.T) {
	w := newWorld(t)
	w.address("up0", "198.51.100.8/24")
	must(t, Parked(true))
	l, err := net.Listen("tcp", "198.51.100.1:7000")
	must(t, err)
	defer l.Close()
	fd := markedSocket(t, syscall.SOCK_STREAM, [4]byte{198, 51, 100, 8})
	must(t, syscall.Connect(fd, &syscall.SockaddrInet4{Addr: [4]byte{198, 51, 100, 1}, Port: 7000}))
	c, err := l.Accept()
	must(t, err)
	defer c.Close()
	if from := c.RemoteAddr().String(); from != "198.51.100.8:5300" {
		t.Errorf("comes from %s", from)
	}
	if n := learned(t, answers4); n != 1 {
		t.Errorf("%d may answer", n)
	}
	if n := learned(t, ended4); n != 0 {
		t.Errorf("%d are ended before it is", n)
	}
	must(t, syscall.Close(fd))
	if n := learned(t, ended4); n != 1 {
		t.Errorf("%d are ended", n)
	}
}

// markedSocket makes a socket at an address that bears the mark of a connected parked one.
func markedSocket(t *testing.T, kind int, from [4]byte) int {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, kind, 0)
	must(t, err)
	must(t, syscall.Bind(fd, &syscall.SockaddrInet4{Addr: from}))
	asked := binary.NativeEndian.Uint16([]byte{0x14, 0xb4}) // 5300
	must(t, syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_MARK, int(bpf.Connected|uint32(asked))))
	return fd
}

// sendMarked sends a datagram to a port of the host's by such a socket.
func sendMarked(t *testing.T, from [4]byte, port int) {
	t.Helper()
	fd := markedSocket(t, syscall.SOCK_DGRAM, from)
	defer syscall.Close(fd)
	must(t, syscall.Sendto(fd, []byte("x"), 0, &syscall.SockaddrInet4{Addr: [4]byte{198, 51, 100, 1}, Port: port}))
}

// learned is how many elements a set or map has.
func learned(t *testing.T, set string) int {
	t.Helper()
	conn, err := nft.Open()
	must(t, err)
	defer conn.Close()
	list, err := conn.Elements(table(), set)
	must(t, err)
	return len(list)
}
