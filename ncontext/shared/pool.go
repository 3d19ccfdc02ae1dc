package shared

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"strconv"
	"strings"

	"vserver/fault"
	"vserver/guest"
)

// Pool is where guests get an address that name none: their number, counted from the
// prefix's beginning. The address is the same at every start, and no list is needed.
type Pool struct{ netip.Prefix }

// DefaultPool has room for every number, and is none of the private networks that
// people take by habit.
func DefaultPool() Pool { return Pool{netip.MustParsePrefix("10.118.0.0/16")} }

// ReadPool reads the pool from a file that an administrator can write to choose
// another: one IPv4 prefix of at most 16 bits. Without the file it is DefaultPool.
func ReadPool(path string) (Pool, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return DefaultPool(), nil
	}
	if err != nil {
		return Pool{}, err
	}
	p, err := netip.ParsePrefix(strings.TrimSpace(string(text)))
	if err != nil || !p.Addr().Is4() || p.Bits() > 16 || p.Bits() < 8 || p != p.Masked() || p.Addr().IsLoopback() || p.Addr().IsMulticast() {
		return Pool{}, fault.Hint(fmt.Errorf("%s: %q: want a prefix such as 10.118.0.0/16: %w", path, strings.TrimSpace(string(text)), guest.ErrInvalid),
			"rm "+path)
	}
	return Pool{p}, nil
}

// Address gives a guest's address of the pool.
func (p Pool) Address(xid guest.XID) guest.Address {
	b := p.Addr().As4()
	a := netip.AddrFrom4([4]byte(binary.BigEndian.AppendUint32(nil, binary.BigEndian.Uint32(b[:])+uint32(xid))))
	return guest.Address{Prefix: netip.PrefixFrom(a, 32), Dev: "lo", Scope: "host"}
}

// Has tells whether an address is of the pool.
func (p Pool) Has(a netip.Addr) bool { return p.IsValid() && p.Contains(a) }

// allowPing lets groups up to the given one have the kernel's ping sockets. As systemd
// does on any host, it lets everybody; which guests may, the programs decide.
func allowPing(gid uint32) error {
	const path, everybody = "/proc/sys/net/ipv4/ping_group_range", "0 2147483647"
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if f := strings.Fields(string(text)); len(f) == 2 && f[0] == "0" {
		if high, err := strconv.ParseUint(f[1], 10, 32); err == nil && high >= uint64(gid) {
			return nil
		}
	}
	return os.WriteFile(path, []byte(everybody), 0)
}
