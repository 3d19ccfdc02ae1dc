package probe

import (
	"encoding/binary"
	"net/netip"
	"runtime"
	"strconv"
	"unsafe"

	"golang.org/x/sys/unix"
)

// patience is how long a socket waits for an answer, in seconds: where nothing comes,
// the attempt has met silence.
const patience = 1

// at is an address and port as the kernel takes it. An IPv4 address for a socket of
// IPv6 is mapped.
func at(family int, addr string, port int) unix.Sockaddr {
	a := netip.MustParseAddr(addr)
	if family == unix.AF_INET {
		return &unix.SockaddrInet4{Port: port, Addr: a.As4()}
	}
	return &unix.SockaddrInet6{Port: port, Addr: a.As16()}
}

// where is an address of the kernel's in words; a mapped one is told as IPv4.
func where(sa unix.Sockaddr) string {
	switch sa := sa.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrFrom4(sa.Addr).String()
	case *unix.SockaddrInet6:
		return netip.AddrFrom16(sa.Addr).Unmap().String()
	}
	return "nowhere"
}

// port is the number of a socket's port, 0 for none.
func port(sa unix.Sockaddr) int {
	switch sa := sa.(type) {
	case *unix.SockaddrInet4:
		return sa.Port
	case *unix.SockaddrInet6:
		return sa.Port
	}
	return 0
}

// name is what a socket says of its own address.
func name(fd int) (string, error) {
	sa, err := unix.Getsockname(fd)
	return where(sa), err
}

// impatient has a socket wait for [patience] at most, for connections and for data.
func impatient(fd int) {
	t := unix.Timeval{Sec: patience}
	unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &t)
	unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &t)
}

// hears is what the other end says.
func hears(fd int) (string, error) {
	impatient(fd)
	buf := make([]byte, 200)
	n, err := unix.Read(fd, buf)
	return string(buf[:max(n, 0)]), err
}

// ask sends a word and gives the answer.
func ask(fd int, to unix.Sockaddr) (string, error) {
	err := unix.Sendto(fd, []byte("who am I"), 0, to)
	if err != nil {
		return "", err
	}
	return hears(fd)
}

// option sets one whose value is a number.
func option(fd, level, opt, value int) error { return unix.SetsockoptInt(fd, level, opt, value) }

// bytesOption sets one whose value is a structure.
func bytesOption(fd, level, opt int, value []byte) error {
	return unix.SetsockoptString(fd, level, opt, string(value))
}

// raw calls the kernel with numbers alone.
func raw(call uintptr, args ...uintptr) (int, error) {
	var a [6]uintptr
	copy(a[:], args)
	n, _, errno := unix.RawSyscall6(call, a[0], a[1], a[2], a[3], a[4], a[5])
	return int(n), number(errno)
}

// pass calls the kernel with a structure, by bind(2), connect(2) or ioctl(2): the
// number of a socket, and another before or behind the structure.
func pass(call uintptr, fd int, b []byte) error {
	_, _, errno := unix.Syscall(call, uintptr(fd), uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)))
	runtime.KeepAlive(b)
	return number(errno)
}

// request is an ioctl with a structure, which the kernel may change.
func request(fd int, req uint, b []byte) error {
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), uintptr(req), uintptr(unsafe.Pointer(&b[0])))
	runtime.KeepAlive(b)
	return number(errno)
}

func number(errno unix.Errno) error {
	if errno == 0 {
		return nil
	}
	return errno
}

// rawAddr is a struct sockaddr_in with a family of choice.
func rawAddr(family uint16, addr string, port int) []byte {
	a := netip.MustParseAddr(addr).As4()
	b := binary.NativeEndian.AppendUint16(nil, family)
	b = binary.BigEndian.AppendUint16(b, uint16(port))
	return append(append(b, a[:]...), make([]byte, 8)...)
}

// pktinfo is a message with the source of a datagram.
func pktinfo(family int, source string) []byte {
	a := netip.MustParseAddr(source)
	if family == unix.AF_INET {
		return unix.PktInfo4(&unix.Inet4Pktinfo{Spec_dst: a.As4()})
	}
	return unix.PktInfo6(&unix.Inet6Pktinfo{Addr: a.As16()})
}

// version is a family by its number in words.
func version(family int) string { return pick(family, "4", "6") }

// families are those that have hooks.
func families() []int { return []int{unix.AF_INET, unix.AF_INET6} }

// kinds are the types of sockets of a family that a server has.
func kinds() []int { return []int{unix.SOCK_STREAM, unix.SOCK_DGRAM} }

// transport is a type in words.
func transport(kind int) string {
	if kind == unix.SOCK_STREAM {
		return "tcp"
	}
	return "udp"
}

// pick gives the address for a family.
func pick(family int, four, six string) string {
	if family == unix.AF_INET {
		return four
	}
	return six
}

func digits(n int) string { return strconv.Itoa(n) }
