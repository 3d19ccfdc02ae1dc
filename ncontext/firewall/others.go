package firewall

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"syscall"

	"github.com/vishvananda/netlink/nl"

	"vserver/guest"
	"vserver/kernel/nft"
)

// Attributes of an address by which package shared marks those of guests; numbers of
// linux/if_addr.h.
const (
	ifaMetric = 9  // IFA_RT_PRIORITY
	ifaProto  = 11 // IFA_PROTO
	// addressMark is the mark: 'v'. The metric has it in front of the guest's number.
	addressMark = 118
)

// sharing gives the guests whose addresses are the host's, as the kernel has them.
func sharing() (map[guest.XID][]netip.Addr, error) {
	req := nl.NewNetlinkRequest(syscall.RTM_GETADDR, syscall.NLM_F_DUMP)
	req.AddData(nl.NewIfInfomsg(syscall.AF_UNSPEC))
	msgs, err := dump(func() ([][]byte, error) { return req.Execute(syscall.NETLINK_ROUTE, syscall.RTM_NEWADDR) })
	if err != nil {
		return nil, fmt.Errorf("addresses: %w", err)
	}
	out := map[guest.XID][]netip.Addr{}
	for _, m := range msgs {
		if xid, a := parseAddress(m); xid != 0 {
			out[xid] = append(out[xid], a)
		}
	}
	return out, nil
}

// parseAddress reads an address message (struct ifaddrmsg and attributes); the number
// is 0 for an address that is no guest's.
func parseAddress(m []byte) (xid guest.XID, a netip.Addr) {
	const size = 8 // of struct ifaddrmsg
	if len(m) < size {
		return 0, a
	}
	attrs, err := nl.ParseRouteAttr(m[size:])
	if err != nil {
		return 0, a
	}
	var metric uint32
	mine := false
	for _, attr := range attrs {
		switch v := attr.Value; {
		case attr.Attr.Type == ifaProto:
			mine = len(v) == 1 && v[0] == addressMark
		case attr.Attr.Type == ifaMetric && len(v) == 4:
			metric = binary.NativeEndian.Uint32(v)
		case attr.Attr.Type == syscall.IFA_LOCAL, attr.Attr.Type == syscall.IFA_ADDRESS && !a.IsValid():
			a, _ = netip.AddrFromSlice(v)
		}
	}
	if !mine || metric>>24 != addressMark || !a.IsValid() {
		return 0, a
	}
	return guest.XID(metric & 0xffff), a
}

// exceptOthers keeps ports that are published at all addresses of the host off the
// addresses of all guests that have some of the host's.
func exceptOthers(b *nft.Batch, but guest.XID, use func(string, ...nft.Element)) error {
	all, err := sharing()
	for xid, addrs := range all {
		if xid != but {
			b.AddChain(markChain(xid), nil)
			Guest{XID: xid, Addresses: addrs}.except(use)
		}
	}
	return err
}

// dump asks again when the kernel says that its answer changed under it.
func dump[T any](ask func() ([]T, error)) (list []T, err error) {
	for range 20 {
		if list, err = ask(); !errors.Is(err, syscall.EINTR) && !errors.Is(err, nl.ErrDumpInterrupted) {
			break
		}
	}
	return list, err
}
