package firewall

import (
	"encoding/binary"
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
	if n := answerable(t); n < roomBurst || n > roomBurst+(tries-roomBurst)/2 {
		t.Errorf("%d may answer", n)
	}
	before := answerable(t)
	sendMarked(t, [4]byte{198, 51, 100, 9}, 1)
	if n := answerable(t); n != before+1 {
		t.Errorf("%d may answer, and %d with another guest's", before, n)
	}
}

// sendMarked sends a datagram to a port of the host's, which bears the mark of a connected
// parked socket.
func sendMarked(t *testing.T, from [4]byte, port int) {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_DGRAM, 0)
	must(t, err)
	defer syscall.Close(fd)
	must(t, syscall.Bind(fd, &syscall.SockaddrInet4{Addr: from}))
	asked := binary.NativeEndian.Uint16([]byte{0x14, 0xb4}) // 5300
	must(t, syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_MARK, int(bpf.Connected|uint32(asked))))
	must(t, syscall.Sendto(fd, []byte("x"), 0, &syscall.SockaddrInet4{Addr: [4]byte{198, 51, 100, 1}, Port: port}))
}

// answerable is how many of IPv4 may answer.
func answerable(t *testing.T) int {
	t.Helper()
	conn, err := nft.Open()
	must(t, err)
	defer conn.Close()
	list, err := conn.Elements(table(), answers4)
	must(t, err)
	return len(list)
}
