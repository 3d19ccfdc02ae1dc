// Package packet sends and receives frames of one kind on one link, by packet(7).
//
// To close a packet socket takes the kernel some milliseconds: it waits until no
// processor looks at it any more. It is no thing for the start of a guest.
package packet

import (
	"fmt"
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Kinds of frames, linux/if_ether.h.
const (
	IP  = unix.ETH_P_IP
	ARP = unix.ETH_P_ARP
	IP6 = unix.ETH_P_IPV6
)

// Socket is a packet socket at a link.
type Socket struct {
	file *os.File
	fd   int // file's
	link int
}

// Filter is a program of classic BPF that says how many bytes of a frame are received.
type Filter []unix.SockFilter

// UDP lets through what is sent to a port by UDP over IPv4, but for all fragments
// beyond the first.
func UDP(port uint16) Filter {
	const fragment = 0x1fff
	return Filter{
		{Code: unix.BPF_LD | unix.BPF_B | unix.BPF_ABS, K: 9}, // protocol
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: unix.IPPROTO_UDP, Jf: 6},
		{Code: unix.BPF_LD | unix.BPF_H | unix.BPF_ABS, K: 6},
		{Code: unix.BPF_JMP | unix.BPF_JSET | unix.BPF_K, K: fragment, Jt: 4},
		{Code: unix.BPF_LDX | unix.BPF_B | unix.BPF_MSH, K: 0}, // length of the header
		{Code: unix.BPF_LD | unix.BPF_H | unix.BPF_IND, K: 2},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: uint32(port), Jf: 1},
		{Code: unix.BPF_RET | unix.BPF_K, K: 0xffff},
		{Code: unix.BPF_RET | unix.BPF_K, K: 0},
	}
}

// Open opens one at the link with an index, in the network namespace of the calling
// thread. It receives the frames of the kind that the filter lets through, all without
// one; and none with kind 0, for sending alone.
func Open(link int, kind uint16, filter Filter) (*Socket, error) {
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("packet socket: %w", err)
	}
	s := &Socket{fd: fd, link: link}
	// It hears nothing until it is bound to a kind.
	if err := s.filter(filter); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("packet socket: filter: %w", err)
	}
	if kind != 0 {
		if err := unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: wire(kind), Ifindex: link}); err != nil {
			unix.Close(fd)
			return nil, fmt.Errorf("packet socket: link %d: %w", link, err)
		}
	}
	s.file = os.NewFile(uintptr(fd), "packet")
	return s, nil
}

func (s *Socket) filter(f Filter) error {
	if len(f) == 0 {
		return nil
	}
	return unix.SetsockoptSockFprog(s.fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: uint16(len(f)), Filter: &f[0]})
}

// wire puts a number into the order of the network.
func wire(n uint16) uint16 { return n<<8 | n>>8 }

// Close closes the socket; a Receive ends with an error.
func (s *Socket) Close() error { return s.file.Close() }

// Send sends what a frame of a kind carries to a hardware address.
func (s *Socket) Send(kind uint16, to net.HardwareAddr, payload []byte) error {
	at := &unix.SockaddrLinklayer{Protocol: wire(kind), Ifindex: s.link, Halen: uint8(len(to))}
	copy(at.Addr[:], to)
	if err := unix.Sendto(s.fd, payload, 0, at); err != nil {
		return fmt.Errorf("send by link %d: %w", s.link, err)
	}
	return nil
}

// Receive receives what the next frame carries, until the deadline; then it gives
// os.ErrDeadlineExceeded. The zero time is no deadline.
func (s *Socket) Receive(buf []byte, deadline time.Time) (int, error) {
	if err := s.file.SetReadDeadline(deadline); err != nil {
		return 0, err
	}
	return s.file.Read(buf)
}
