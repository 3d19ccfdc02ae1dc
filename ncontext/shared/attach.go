package shared

// One set of BPF programs at the world's parent cgroup governs the sockets of all
// guests below it; what a guest has is one entry in a map, by the id of its cgroup. A
// cgroup below the parent that has no entry has no network. The programs stay when
// the tool ends: they hang on the cgroup and hold their maps, and are found again by
// asking the kernel. Only the one that steers incoming connections hangs on a network
// namespace, whose attachments the kernel keeps for us only by a pin in a BPF file
// system, at Dirs.Run/bpf.

import (
	"vserver/guest"
)

// Set is the programs at a world's cgroup and their maps, by descriptors. It may be
// used by several goroutines at once.
type Set struct{}

// Attach finds the programs at the cgroup Dirs.Cgroup and puts there what is missing:
// all of them the first time, newer ones in the place of older, each in one
// replacement that no packet slips through. The cgroup must be there. It is cheap when
// all is well (some 50 µs). The caller is in the network namespace that guests share.
//
// others are the cgroups of running guests of other modes: when the programs come for
// the first time these are let pass (see Context.Open), all else below has no network
// until Put. Nobody needs to know them when Attached says yes.
func Attach(d guest.Dirs, others ...uint64) (*Set, error) { return &Set{}, nil }

// Find is Attach that changes nothing. The error is guest.ErrNotFound when no program
// of ours is at the cgroup.
func Find(d guest.Dirs) (*Set, error) { return nil, guest.ErrNotFound }

// Attached tells whether programs of ours are at the cgroup: then a guest of any
// mode needs a Put before it has a network. One system call.
func Attached(d guest.Dirs) bool { return false }

// Close gives the descriptors back. The programs stay.
func (s *Set) Close() error { return nil }

// Put gives the guest with this cgroup its context, or another in the place of what
// it has: a running guest has the old one or the new, nothing between. Addresses that
// another guest owns are refused with guest.ErrBusy. Costs some 10 µs.
func (s *Set) Put(cgroup uint64, c *Context) error { return nil }

// Delete takes the guest's context away: what is left of it has no network. It is no
// error when there is none.
func (s *Set) Delete(cgroup uint64) error { return nil }

// Stats reads the guest's counters. The error is guest.ErrNotFound without a context.
func (s *Set) Stats(cgroup uint64) (Stats, error) { return Stats{}, guest.ErrNotFound }

// Health tells what is missing, as an error that names the programs: one was taken
// off, or the pin is gone. Then nobody may be told that guests are shut in; Shut takes
// their network, and Attach mends it.
func (s *Set) Health() error { return nil }

// Shut takes the network of all guests that have a context: the error of Health is
// the reason. Put, after Attach, gives it back.
func (s *Set) Shut() error { return nil }

// Detach takes programs, maps and pin of the world away. It is no error when there
// are none.
func Detach(d guest.Dirs) error { return nil }
