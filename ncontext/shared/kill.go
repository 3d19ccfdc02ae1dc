package shared

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"syscall"

	"github.com/vishvananda/netlink/nl"
	"github.com/vishvananda/netns"
)

// What linux/sock_diag.h and linux/inet_diag.h say.
const (
	netlinkSockDiag  = 4
	sockDiagByFamily = 20
	sockDestroy      = 21
	inetDiagCgroupID = 21 // attribute of an answer, 5.9
	diagIDAt         = 4  // of struct inet_diag_sockid in an answer
	diagIDSize       = 48
	diagSize         = 72 // of struct inet_diag_msg
)

// Kill closes the sockets that are bound to an address, as their programs see it with
// ECONNABORTED: of the control groups with these numbers, or with none of anybody. It
// gives how many there were. The kernel needs CONFIG_INET_DIAG_DESTROY.
func Kill(a netip.Addr, groups []uint64) (n int, err error) {
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
	for _, proto := range []byte{syscall.IPPROTO_TCP, syscall.IPPROTO_UDP} {
		for _, family := range []byte{syscall.AF_INET, syscall.AF_INET6} {
			list, err := ask(sockDiagByFamily, syscall.NLM_F_DUMP, diagRequest(family, proto, make([]byte, diagIDSize)))
			if err != nil && !errors.Is(err, syscall.ENOENT) { // no such protocol in this kernel
				return n, fmt.Errorf("sockets: %w", err)
			}
			for _, b := range list {
				if !bound(b, a, groups) {
					continue
				}
				id := b[diagIDAt : diagIDAt+diagIDSize]
				_, err := ask(sockDestroy, syscall.NLM_F_ACK, diagRequest(family, proto, id))
				switch {
				case err == nil:
					n++
				case errors.Is(err, syscall.ENOENT), errors.Is(err, syscall.EINVAL):
					// Gone meanwhile; or one that listens, which 6.18 does not close and which
					// hears no more.
				default:
					return n, fmt.Errorf("close of a socket on %s: %w", a, err)
				}
			}
		}
	}
	return n, nil
}

// diagRequest is struct inet_diag_req_v2 for sockets in any state.
func diagRequest(family, proto byte, id []byte) header {
	h := binary.NativeEndian.AppendUint32(header{family, proto, 0, 0}, ^uint32(0))
	return append(h, id...)
}

// bound tells whether an answer is about a socket on the address, in one of the groups.
func bound(b []byte, a netip.Addr, groups []uint64) bool {
	if len(b) < diagSize {
		return false
	}
	src := b[diagIDAt+4:]
	var at netip.Addr
	if b[0] == syscall.AF_INET {
		at = netip.AddrFrom4([4]byte(src[:4]))
	} else {
		at = netip.AddrFrom16([16]byte(src[:16])).Unmap()
	}
	if at != a {
		return false
	}
	if groups == nil {
		return true
	}
	attrs, err := attributes(b[diagSize:])
	id := attrs[inetDiagCgroupID]
	return err == nil && len(id) == 8 && slices.Contains(groups, binary.NativeEndian.Uint64(id))
}
