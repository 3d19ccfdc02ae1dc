package view

import (
	"math/bits"
	"slices"
	"syscall"
	"time"

	"vserver/guest"
)

// Size is how large a guest's machine is, in the few numbers that system calls tell:
// sysinfo(2) and sched_getaffinity(2).
type Size struct {
	Up                  time.Duration
	Load                Load
	Tasks               int   // threads
	Total, Free, Shared int64 // bytes of memory
	SwapTotal, SwapFree int64
	CPUs                Set
	memory              bool // what is said of memory is the guest's own
}

// Size gives the guest's size by now.
func (g *Guest) Size() (Size, error) {
	s := Size{Up: max(0, uptime()-g.began), Load: g.Load, CPUs: g.CPUs()}
	host, err := g.m.meminfo()
	if err != nil {
		return Size{}, err
	}
	m, ok, err := g.controlled()
	if err != nil {
		return Size{}, err
	}
	if s.memory = ok; ok {
		of := m.of(host)
		s.Total, s.Free, s.Shared, s.SwapTotal, s.SwapFree = of.total, of.free, m.Shmem, of.swapTotal, of.swapFree
	}
	tasks, err := g.count(tasksFresh)
	s.Tasks = tasks.All
	return s, err
}

// sysinfoShift is how many bits more sysinfo(2) has behind the point than the kernel's
// averages: SI_LOAD_SHIFT of linux/sysinfo.h.
const sysinfoShift = 16 - loadShift

// Into puts into what sysinfo(2) says on the host what a guest with those flags is told
// instead.
func (s Size) Into(info *syscall.Sysinfo_t, f guest.ViewFlags) {
	if !f.Has(guest.HostTime) {
		setNumber(&info.Uptime, int64(s.Up/time.Second))
	}
	if f.Has(guest.VirtLoad) {
		for i, l := range s.Load {
			setNumber(&info.Loads[i], l<<sysinfoShift)
		}
		info.Procs = uint16(min(s.Tasks, 1<<16-1))
	}
	if !f.Has(guest.VirtMem) || !s.memory {
		return
	}
	unit := int64(max(1, info.Unit))
	setNumber(&info.Totalram, s.Total/unit)
	setNumber(&info.Freeram, s.Free/unit)
	setNumber(&info.Sharedram, s.Shared/unit)
	setNumber(&info.Bufferram, int64(0))
	setNumber(&info.Totalswap, s.SwapTotal/unit)
	setNumber(&info.Freeswap, s.SwapFree/unit)
	setNumber(&info.Totalhigh, 0)
	setNumber(&info.Freehigh, 0)
}

// setNumber sets a field that is as wide as the machine's words.
func setNumber[F int32 | int64 | uint32 | uint64, V int | int64 | uint64](f *F, v V) { *f = F(v) }

// Mask takes the processors that a guest does not see out of a mask of the kernel's
// (sched_getaffinity(2)). A thread that may run on none of those seen keeps its mask: it
// was bound there by somebody who knew the numbers. The words of a mask are little-endian
// on all our architectures.
func (s Size) Mask(mask []byte) []byte {
	out := slices.Clone(mask)
	left := 0
	for i := range out {
		for bit := range 8 {
			if !s.CPUs.Has(8*i + bit) {
				out[i] &^= 1 << bit
			}
		}
		left += bits.OnesCount8(out[i])
	}
	if left == 0 {
		return mask
	}
	return out
}
