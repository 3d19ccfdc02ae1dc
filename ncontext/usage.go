package ncontext

import (
	"errors"
	"fmt"
	"sync"
	"syscall"

	"github.com/vishvananda/netlink"

	"vserver/bpf"
	"vserver/guest"
	"vserver/ncontext/private"
	"vserver/ncontext/shared"
)

// Usage reads what guests have done in the network. It may be used by several
// goroutines.
type Usage struct {
	dirs  guest.Dirs
	nl    *netlink.Handle
	set   func() (*shared.Set, error) // asks once
	found *shared.Set                 // nil before, and when there are no programs
}

// OpenUsage opens what it takes to read the counts of guests. The programs are looked
// for when the first guest needs them.
func OpenUsage(dirs guest.Dirs) (*Usage, error) {
	nl, err := netlink.NewHandle(syscall.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("netlink: %w", err)
	}
	u := &Usage{nl: nl, dirs: dirs}
	u.set = sync.OnceValues(u.find)
	return u, nil
}

func (u *Usage) find() (*shared.Set, error) {
	set, err := shared.Find(u.dirs)
	u.found = set
	return set, err
}

// Close closes it.
func (u *Usage) Close() {
	u.nl.Close()
	if u.found != nil {
		u.found.Close()
	}
}

// Shared gives the counts of the sockets of a guest of mode shared, whose control
// group has this number.
func (u *Usage) Shared(cgroup uint64) (*guest.NetStatus, error) {
	set, err := u.set()
	if err != nil {
		return nil, err
	}
	s, err := set.Stats(cgroup)
	if err != nil {
		return nil, err
	}
	return Status(s), nil
}

// Status is what the programs count of a guest, as it is shown.
func Status(s shared.Stats) *guest.NetStatus {
	st := &guest.NetStatus{
		BytesIn: s.BytesIn, BytesOut: s.BytesOut, PacketsIn: s.PacketsIn, PacketsOut: s.PacketsOut, Dropped: s.Dropped,
		Sockets: uint64(s.SocketsNow.Now), Connections: uint64(s.ConnectionsNow.Now), Made: s.Connections,
	}
	for _, p := range []struct {
		name string
		max  uint32
		of   bpf.Count
	}{{"sockets", s.MaxSockets, s.SocketsNow}, {"connections", s.MaxConnections, s.ConnectionsNow}} {
		if hits := uint64(p.of.Refused); p.max > 0 || hits > 0 {
			st.Limits = append(st.Limits, guest.Pool{Name: p.name, Used: int64(p.of.Now), Max: int64(p.max), Hits: &hits})
		}
	}
	return st
}

// Private gives the counts of the link of a guest of mode private, as its host's end
// has them: without those of its sockets, which are its own. A guest that has no link
// on the host, as with macvlan, has none; the error is guest.ErrNotFound then.
func (u *Usage) Private(xid guest.XID) (*guest.NetStatus, error) {
	l, err := u.nl.LinkByName(private.Link(xid))
	if errors.As(err, new(netlink.LinkNotFoundError)) {
		return nil, fmt.Errorf("link %s: %w", private.Link(xid), guest.ErrNotFound)
	}
	if err != nil {
		return nil, fmt.Errorf("link %s: %w", private.Link(xid), err)
	}
	s := l.Attrs().Statistics
	if s == nil {
		return &guest.NetStatus{}, nil
	}
	// The link counts the 14 bytes of Ethernet's header.
	ip := func(bytes, packets uint64) uint64 { return bytes - min(bytes, 14*packets) }
	return &guest.NetStatus{
		BytesIn: ip(s.TxBytes, s.TxPackets), PacketsIn: s.TxPackets, BytesOut: ip(s.RxBytes, s.RxPackets), PacketsOut: s.RxPackets,
		Dropped: s.RxDropped + s.TxDropped,
	}, nil
}
