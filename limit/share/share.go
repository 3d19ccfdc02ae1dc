// Package share divides what guests have together, processor time and protected memory,
// between those that run. Which values that gives the group of each is of package limit.
package share

import (
	"errors"
	"fmt"
	"io/fs"
	"runtime"

	"vserver/fault"
	"vserver/guest"
	"vserver/kernel/cgroup"
	"vserver/limit"
)

// Claim is what a guest that runs, or is about to, asks for beside others.
type Claim struct {
	Path   string // of its group
	Limits guest.Limits
}

// Balanced tells whether limits depend on those of the other guests: then Balance must
// be called whenever guests come, go or change.
func Balanced(l *guest.Limits) bool {
	return l.Weighs() || l.MemoryReserved > 0 || l.MemoryLow > 0
}

// Overbooked says when more processor time or memory is promised than there is. The
// error is guest.ErrBusy.
func Overbooked(claims []Claim, memory int64) error {
	var parts float64
	var kept int64
	for _, c := range claims {
		part, _ := c.Limits.Reservation(runtime.NumCPU())
		parts += part
		kept += int64(c.Limits.MemoryReserved)
	}
	switch {
	case parts > 1+1e-9:
		return fault.Hint(fmt.Errorf("limits.cpu_reserved: %.4g%% of the processor time would be promised to guests that run: %w", 100*parts, guest.ErrBusy),
			"vserver list shows the guests that run, vserver config NAME limits.cpu_reserved what one has")
	case memory > 0 && kept > memory:
		return fault.Hint(fmt.Errorf("limits.memory_reserved: %v would be promised to guests that run, and there is %v: %w", guest.Bytes(kept), guest.Bytes(memory), guest.ErrBusy),
			"vserver list shows the guests that run, vserver config NAME limits.memory_reserved what one has")
	}
	return nil
}

// Balance divides processor time between the guests that run, and protects the memory
// of those that have some reserved. The claims are those of all of them, whose groups
// are right below that at parent.
//
// A guest with a reservation gets the weight with which it has at least that part of
// what all guests get, the others being as busy as they can; it has more when its shares
// alone would give it more. Between the others time goes by their shares.
//
// On a host with v1 controllers a guest that asks for nothing is put into a group of the
// controller cpu too, as soon as one asks: else its processes would each weigh as much
// as a guest.
func Balance(cg cgroup.Host, parent string, claims []Claim) error {
	var kept, low int64
	for _, c := range claims {
		kept += int64(c.Limits.MemoryReserved)
		low += int64(c.Limits.MemoryLow)
	}
	errs := []error{limit.Protect(cg, parent, kept, low)}
	weighs := false
	for _, c := range claims {
		weighs = weighs || c.Limits.Weighs()
	}
	if !weighs {
		return errors.Join(errs...)
	}
	for i, w := range Weights(claims, runtime.NumCPU()) {
		if w == 0 {
			continue
		}
		if err := limit.Weigh(cg, claims[i].Path, w); err != nil && !errors.Is(err, fs.ErrNotExist) { // it has ended
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// mostWeight is CGROUP_WEIGHT_MAX.
const mostWeight = 10000

// Weights gives the weight of each claim; 0 for a guest that only gets what nobody else
// wants. It has no part in the others' time.
func Weights(claims []Claim, cpus int) []float64 {
	weights := make([]float64, len(claims))
	pinned := make([]bool, len(claims))
	part := make([]float64, len(claims))
	free := 1.0 // what is not promised to the pinned ones
	pin := func(i int) {
		pinned[i] = true
		free -= part[i]
	}
	for i, c := range claims {
		if c.Limits.CPUIdle {
			continue
		}
		weights[i] = limit.Weight
		if c.Limits.CPUShares > 0 {
			weights[i] = float64(c.Limits.CPUShares)
		}
		var just bool
		if part[i], just = c.Limits.Reservation(cpus); just {
			pin(i)
		}
	}
	// Each that is pinned leaves less to the others, which may then need it too.
	sum := 0.0
	for again := true; again; {
		again, sum = false, 0
		for i, w := range weights {
			if !pinned[i] {
				sum += w
			}
		}
		for i, w := range weights {
			if !pinned[i] && part[i] > 0 && w/sum*free < part[i] {
				pin(i)
				again = true
			}
		}
	}
	if sum == 0 {
		sum = limit.Weight // all are pinned: only their proportion counts
	}
	free = max(free, 0.001) // for those who were promised nothing
	most := 0.0
	for i := range weights {
		if pinned[i] {
			weights[i] = part[i] / free * sum
		}
		most = max(most, weights[i])
	}
	for i, w := range weights {
		if most > mostWeight {
			w *= mostWeight / most
		}
		if weights[i] > 0 {
			weights[i] = max(w, 1)
		}
	}
	return weights
}
