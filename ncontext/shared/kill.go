package shared

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"syscall"

	"github.com/vishvananda/netlink/nl"
	"github.com/vishvananda/netns"
)

// What linux/sock_diag.h and linux/inet_diag.h say.
const (
	netlinkSockDiag  = 4
	sockDiagByFamily = 20
	sockDestroy      = 21
	inetDiagInfo     = 2  // attribute of an answer
	inetDiagCgroupID = 21 // another, 5.9
	diagIDAt         = 4  // of struct inet_diag_sockid in an answer
	diagIDSize       = 48
	diagInodeAt      = 68  // of the socket's inode there
	diagSize         = 72  // of struct inet_diag_msg
	notSentAt        = 144 // of tcpi_notsent_bytes in struct tcp_info
)

// Kill closes the sockets that are bound to an address, as their programs see it with
// ECONNABORTED: of the control groups with these numbers, or with none of anybody. It
// gives how many there were. The kernel needs CONFIG_INET_DIAG_DESTROY.
func Kill(a netip.Addr, groups []uint64) (n int, err error) {
	return destroy(query{states: ^uint32(0)}, []byte{syscall.IPPROTO_TCP, syscall.IPPROTO_UDP}, func(b []byte) bool {
		return sourceOf(b) == a && (groups == nil || in(b, groups))
	})
}

// abandon ends the connections on addresses that no program has any more, and which have
// not sent all that they were given: whom they are with would wait for it in vain, once the
// addresses are gone. What is under way, or was the last, is left alone.
func abandon(at []held) error {
	ours := map[netip.Addr]bool{}
	for _, a := range at {
		ours[a.Addr()] = true
	}
	const info, finWait1, closing, lastAck = 1 << (inetDiagInfo - 1), 1 << 4, 1 << 11, 1 << 9
	_, err := destroy(query{ext: info, states: finWait1 | closing | lastAck}, []byte{syscall.IPPROTO_TCP}, func(b []byte) bool {
		if !ours[sourceOf(b)] || binary.NativeEndian.Uint32(b[diagInodeAt:]) != 0 {
			return false
		}
		attrs, err := attributes(b[diagSize:])
		tcp := attrs[inetDiagInfo]
		return err == nil && len(tcp) >= notSentAt+4 && binary.NativeEndian.Uint32(tcp[notSentAt:]) > 0
	})
	if errors.Is(err, syscall.EOPNOTSUPP) {
		return nil
	}
	return err
}

// orphans tells whether there are connections of TCP that no program has any more, in any
// network namespace. That takes some 20 µs, and to look for them a thousand.
func orphans() bool {
	text, err := os.ReadFile("/proc/thread-self/net/sockstat")
	_, rest, _ := strings.Cut(string(text), " orphan ")
	return err != nil || !strings.HasPrefix(rest, "0 ")
}

// query is what is asked for of sockets, and in which states.
type query struct {
	ext    byte
	states uint32
}

// destroy closes the sockets of these protocols that are chosen, and gives how many.
func destroy(q query, protocols []byte, chosen func([]byte) bool) (n int, err error) {
	s, err := nl.GetNetlinkSocketAt(netns.None(), netns.None(), netlinkSockDiag)
	if err != nil {
		return 0, fmt.Errorf("sock_diag: %w", err)
	}
	defer s.Close()
	sockets := map[int]*nl.SocketHandle{netlinkSockDiag: {Socket: s}}
	ask := func(kind, flags int, h header) ([][]byte, error) {
		m := nl.NewNetlinkRequest(kind, flags)
		m.Sockets = sockets
		m.AddData(h)
		return m.Execute(netlinkSockDiag, 0)
	}
	for _, proto := range protocols {
		for _, family := range []byte{syscall.AF_INET, syscall.AF_INET6} {
			list, err := ask(sockDiagByFamily, syscall.NLM_F_DUMP, q.request(family, proto, make([]byte, diagIDSize)))
			if err != nil && !errors.Is(err, syscall.ENOENT) { // no such protocol in this kernel
				return n, fmt.Errorf("sockets: %w", err)
			}
			for _, b := range list {
				if len(b) < diagSize || !chosen(b) {
					continue
				}
				id := b[diagIDAt : diagIDAt+diagIDSize]
				_, err := ask(sockDestroy, syscall.NLM_F_ACK, q.request(family, proto, id))
				switch {
				case err == nil:
					n++
				case errors.Is(err, syscall.ENOENT), errors.Is(err, syscall.EINVAL):
					// Gone meanwhile; or one that listens, which 6.18 does not close and which
					// hears no more.
				default:
					return n, fmt.Errorf("close of a socket on %s: %w", sourceOf(b), err)
				}
			}
		}
	}
	return n, nil
}

// request is struct inet_diag_req_v2.
func (q query) request(family, proto byte, id []byte) header {
	return append(binary.NativeEndian.AppendUint32(header{family, proto, q.ext, 0}, q.states), id...)
}

// sourceOf is the address that a socket is bound to.
func sourceOf(b []byte) netip.Addr {
	src := b[diagIDAt+4:]
	if b[0] == syscall.AF_INET {
		return netip.AddrFrom4([4]byte(src[:4]))
	}
	return netip.AddrFrom16([16]byte(src[:16])).Unmap()
}

// in tells whether an answer is about a socket of one of the groups.
func in(b []byte, groups []uint64) bool {
	attrs, err := attributes(b[diagSize:])
	id := attrs[inetDiagCgroupID]
	return err == nil && len(id) == 8 && slices.Contains(groups, binary.NativeEndian.Uint64(id))
}
