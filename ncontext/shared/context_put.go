package shared

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"syscall"
	"time"

	"vserver/bpf"
	"vserver/guest"
	"vserver/kernel/ebpf"
)

// Put gives the guest with this cgroup its context, or another in the place of what
// it has: a running guest has the old one or the new, nothing between. Addresses that
// another guest owns are refused with guest.ErrBusy, unless that guest's cgroup is
// gone. Costs some 20 µs.
func (s *Set) Put(cgroup uint64, c *Context) error {
	e, err := c.entry()
	if err != nil {
		return err
	}
	old, _, err := s.entry(cgroup)
	if err != nil {
		return err
	}
	want := c.owned()
	for a := range want {
		if err := s.claim(cgroup, a); err != nil {
			return err
		}
	}
	key := id(cgroup)
	for _, m := range []struct{ fd, size int }{
		{s.maps.Accounts, bpf.AccountSize * int(s.manifest.cpus)}, {s.maps.Counts, bpf.CountSize},
	} {
		if err := ebpf.Insert(m.fd, key, make([]byte, m.size)); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	if err := s.takePlace(cgroup); err != nil {
		return err
	}
	for a, flags := range want {
		if err := ebpf.Set(s.maps.Owners, a[:], owner(cgroup, flags)); err != nil {
			return err
		}
	}
	if err := ebpf.Set(s.maps.Guests, key, e.Encode()); err != nil {
		return err
	}
	return errors.Join(s.changed(), s.disown(cgroup, old, want))
}

// changed tells the programs to forget what they remember of guests.
func (s *Set) changed() error {
	return ebpf.Set(s.maps.Change, make([]byte, 4), id(uint64(time.Now().UnixNano())))
}

// Delete takes the guest's context away: what is left of it has no network. It is no
// error when there is none.
func (s *Set) Delete(cgroup uint64) error {
	old, whole, err := s.entry(cgroup)
	if err != nil {
		return err
	}
	if !whole { // it may own addresses all the same: who was killed in Put, or here, left them
		old.Flags |= bpf.More
	}
	key := id(cgroup)
	for _, m := range []int{s.maps.Guests, s.maps.Counts, s.maps.Accounts} {
		if err := ebpf.Delete(m, key); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return errors.Join(s.leavePlace(cgroup), s.changed(), s.disown(cgroup, old, nil))
}

// Shut takes the network of all guests that have a context: the error of Health is
// the reason. Put, after Attach, gives it back.
func (s *Set) Shut() error {
	err := s.each(s.maps.Guests, 8, func(key []byte) error {
		old, ok, err := s.entry(binary.NativeEndian.Uint64(key))
		if err != nil || !ok || old.Flags&bpf.Open != 0 {
			return err
		}
		return ebpf.Set(s.maps.Guests, key, (&bpf.Entry{Flags: bpf.More}).Encode())
	})
	return errors.Join(err, s.changed())
}

// Stats reads the guest's counters. The error is guest.ErrNotFound without a context.
func (s *Set) Stats(cgroup uint64) (st Stats, err error) {
	all := make([]byte, bpf.AccountSize*int(s.manifest.cpus))
	counts := make([]byte, bpf.CountSize)
	err = ebpf.Get(s.maps.Accounts, id(cgroup), all)
	if err == nil {
		err = ebpf.Get(s.maps.Counts, id(cgroup), counts)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return st, fmt.Errorf("network context: %w", guest.ErrNotFound)
	}
	if err != nil {
		return st, err
	}
	st.add(all, bpf.AccountSize)
	place, has, err := s.place(cgroup)
	if err != nil {
		return st, err
	}
	if has == cgroup {
		st.add(place, bpf.PlaceSize)
	}
	st.SocketsNow, st.ConnectionsNow = bpf.DecodeCounts(counts)
	e, _, err := s.entry(cgroup)
	st.MaxSockets, st.MaxConnections = e.Sockets, e.Connections
	return st, err
}

// entry reads a guest's entry; ok is false when there is none.
func (s *Set) entry(cgroup uint64) (e bpf.Entry, ok bool, err error) {
	value := make([]byte, bpf.EntrySize)
	err = ebpf.Get(s.maps.Guests, id(cgroup), value)
	if errors.Is(err, fs.ErrNotExist) {
		return e, false, nil
	}
	if err != nil {
		return e, false, err
	}
	return bpf.Decode(value), true, nil
}

// claim refuses an address that another living guest owns. One that is dead, killed
// with its tool, is swept.
func (s *Set) claim(cgroup uint64, a [16]byte) error {
	has, err := s.ownerOf(a)
	if err != nil || has == 0 || has == cgroup {
		return err
	}
	if err := s.Sweep(); err != nil {
		return err
	}
	if has, err = s.ownerOf(a); err != nil || has == 0 || has == cgroup {
		return err
	}
	return fmt.Errorf("address %v: another guest's: %w", netip.AddrFrom16(a).Unmap(), guest.ErrBusy)
}

// ownerOf gives the cgroup that owns an address, or 0.
func (s *Set) ownerOf(a [16]byte) (uint64, error) {
	value := make([]byte, len(owner(0, 0)))
	err := ebpf.Get(s.maps.Owners, a[:], value)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	return binary.NativeEndian.Uint64(value), err
}

// disown forgets the addresses that the guest had and does not want. More than an
// entry lists are found by looking at all.
func (s *Set) disown(cgroup uint64, old bpf.Entry, want map[[16]byte]uint32) error {
	drop := func(a [16]byte) error {
		if _, ok := want[a]; ok {
			return nil
		}
		if has, err := s.ownerOf(a); err != nil || has != cgroup {
			return err
		}
		if err := ebpf.Delete(s.maps.Owners, a[:]); !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return nil
	}
	for _, a := range old.Owned() {
		if err := drop(a); err != nil {
			return err
		}
	}
	if old.Flags&bpf.More == 0 {
		return nil
	}
	return s.each(s.maps.Owners, 16, func(key []byte) error { return drop([16]byte(key)) })
}

// each calls f with every key of a map.
func (s *Set) each(m, size int, f func(key []byte) error) error {
	var keys [][]byte
	var last []byte
	for {
		next := make([]byte, size)
		err := ebpf.Next(m, last, next)
		if errors.Is(err, fs.ErrNotExist) {
			break
		}
		if err != nil {
			return err
		}
		keys, last = append(keys, next), next
	}
	for _, k := range keys {
		if err := f(k); err != nil {
			return err
		}
	}
	return nil
}

func id(cgroup uint64) []byte { return binary.NativeEndian.AppendUint64(nil, cgroup) }

// owner is a value of the map of owners.
func owner(cgroup uint64, flags uint32) []byte {
	b := binary.NativeEndian.AppendUint64(nil, cgroup)
	b = binary.NativeEndian.AppendUint32(b, flags)
	return append(b, 0, 0, 0, 0)
}

// Sweep deletes what is left of contexts of guests whose cgroups are gone: a tool that was
// killed leaves such, whole or in parts.
func (s *Set) Sweep() error {
	known := map[uint64]bool{}
	for _, m := range []int{s.maps.Guests, s.maps.Accounts, s.maps.Counts} {
		if err := s.each(m, 8, func(key []byte) error {
			known[binary.NativeEndian.Uint64(key)] = true
			return nil
		}); err != nil {
			return err
		}
	}
	if err := s.each(s.maps.Owners, 16, func(key []byte) error {
		cgroup, err := s.ownerOf([16]byte(key))
		known[cgroup] = err == nil
		return err
	}); err != nil {
		return err
	}
	delete(known, 0) // was given up meanwhile
	// Only now: whoever is born later is not known.
	names, err := os.ReadDir(s.group.Path())
	if err != nil {
		return err
	}
	for _, n := range names {
		if info, err := n.Info(); err == nil && n.IsDir() {
			delete(known, info.Sys().(*syscall.Stat_t).Ino)
		}
	}
	for cgroup := range known {
		if err := s.Delete(cgroup); err != nil {
			return err
		}
	}
	return nil
}
