package probe

import (
	"encoding/binary"
	"fmt"

	"golang.org/x/sys/unix"
)

// The few netlink messages that probes send are put together here: a library for it
// would have to be told most of the same numbers.

// attribute makes a netlink attribute: length and type, content, padding to 4 bytes.
func attribute(kind uint16, content []byte) []byte {
	b := binary.NativeEndian.AppendUint16(nil, uint16(unix.SizeofNlAttr+len(content)))
	b = binary.NativeEndian.AppendUint16(b, kind)
	b = append(b, content...)
	for len(b)%4 != 0 {
		b = append(b, 0)
	}
	return b
}

// attributes gives the attributes in b by their types, without the flags that the
// types carry.
func attributes(b []byte) map[uint16][]byte {
	out := make(map[uint16][]byte)
	for len(b) >= unix.SizeofNlAttr {
		size := int(binary.NativeEndian.Uint16(b))
		if size < unix.SizeofNlAttr || size > len(b) {
			break
		}
		kind := binary.NativeEndian.Uint16(b[2:]) &^ (unix.NLA_F_NESTED | unix.NLA_F_NET_BYTEORDER)
		out[kind] = b[unix.SizeofNlAttr:size]
		b = b[min(len(b), (size+3)&^3):]
	}
	return out
}

// ask sends one request and gives the bodies of the replies.
func ask(protocol int, kind uint16, flags uint16, body []byte) ([][]byte, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, protocol)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	// A kernel that never answered would hang us.
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 5}); err != nil {
		return nil, err
	}
	b := binary.NativeEndian.AppendUint32(nil, uint32(unix.SizeofNlMsghdr+len(body)))
	b = binary.NativeEndian.AppendUint16(b, kind)
	b = binary.NativeEndian.AppendUint16(b, flags|unix.NLM_F_REQUEST)
	b = binary.NativeEndian.AppendUint32(b, 1) // sequence
	b = binary.NativeEndian.AppendUint32(b, 0) // port: the kernel knows
	b = append(b, body...)
	if err := unix.Sendto(fd, b, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return nil, err
	}
	dump := flags&unix.NLM_F_DUMP != 0
	var replies [][]byte
	for buf := make([]byte, 64<<10); ; {
		n, _, err := unix.Recvfrom(fd, buf, 0)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("no answer: %w", err)
		}
		more, end, err := messages(buf[:n])
		replies = append(replies, more...)
		if err != nil || end || !dump {
			return replies, err
		}
	}
}

// messages gives the bodies of the messages in a datagram, and whether the last one
// ends the answer. The error is the kernel's.
func messages(b []byte) (bodies [][]byte, end bool, err error) {
	for len(b) >= unix.SizeofNlMsghdr {
		size := int(binary.NativeEndian.Uint32(b))
		if size < unix.SizeofNlMsghdr || size > len(b) {
			break
		}
		body := b[unix.SizeofNlMsghdr:size]
		switch binary.NativeEndian.Uint16(b[4:]) {
		case unix.NLMSG_DONE:
			return bodies, true, nil
		case unix.NLMSG_ERROR:
			if len(body) >= 4 {
				if errno := -int32(binary.NativeEndian.Uint32(body)); errno != 0 {
					return bodies, true, unix.Errno(errno)
				}
			}
			return bodies, true, nil
		case unix.NLMSG_NOOP, unix.NLMSG_OVERRUN:
		default:
			bodies = append(bodies, append([]byte(nil), body...))
		}
		b = b[min(len(b), (size+3)&^3):]
	}
	return bodies, false, nil
}
