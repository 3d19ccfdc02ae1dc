package nft

import (
	"encoding/binary"
	"fmt"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// Exists tells whether a table of the calling thread's network namespace has a chain,
// as [Conn.HasChain] does, but in the time of four system calls: starts and stops of
// guests that need nothing of the table ask no more than this.
func Exists(t Table, chain string) (bool, error) {
	data, err := encode(func(ae *netlink.AttributeEncoder) {
		ae.String(unix.NFTA_CHAIN_TABLE, t.Name)
		ae.String(unix.NFTA_CHAIN_NAME, chain)
	})
	if err != nil {
		return false, err
	}
	errno, err := one(append(header(t.Family, 0), data...), uint16(messageType(unix.NFT_MSG_GETCHAIN)))
	switch {
	case err == unix.EPROTONOSUPPORT, errno == unix.EINVAL, errno == unix.ENOENT:
		return false, nil // the first two: the kernel has no nf_tables, so nobody has a table
	case err != nil:
		return false, fmt.Errorf("nf_tables: %w", err)
	case errno != 0:
		return false, fmt.Errorf("table %s: chain %s: %w", t.Name, chain, errno)
	}
	return true, nil
}

// one sends one message to nf_tables and gives the error of its answer, 0 for none.
func one(data []byte, kind uint16) (errno unix.Errno, err error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_NETFILTER)
	if err != nil {
		return 0, err
	}
	defer unix.Close(fd)
	order := binary.NativeEndian
	msg := order.AppendUint32(nil, uint32(unix.NLMSG_HDRLEN+len(data)))
	msg = order.AppendUint16(order.AppendUint16(msg, kind), unix.NLM_F_REQUEST)
	msg = append(append(msg, make([]byte, 8)...), data...) // sequence and port
	if err := again(func() error { return unix.Sendto(fd, msg, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}) }); err != nil {
		return 0, err
	}
	answer := make([]byte, 4096)
	var n int
	if err := again(func() (err error) { n, _, err = unix.Recvfrom(fd, answer, 0); return err }); err != nil {
		return 0, err
	}
	if n >= unix.NLMSG_HDRLEN+4 && order.Uint16(answer[4:]) == unix.NLMSG_ERROR {
		return unix.Errno(-int32(order.Uint32(answer[unix.NLMSG_HDRLEN:]))), nil
	}
	return 0, nil
}

// again does a call until no signal comes between.
func again(call func() error) (err error) {
	for {
		if err = call(); err != unix.EINTR {
			return err
		}
	}
}
