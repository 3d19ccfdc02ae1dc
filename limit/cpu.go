package limit

import (
	"fmt"
	"runtime"
	"slices"
	"strconv"
	"time"

	"vserver/guest"
	"vserver/kernel/cgroup"
)

// Weights of processor time: what a guest has that asks for none, and the number that
// v1 has for it.
const (
	Weight      = 100
	legacyShare = 1024
)

// cpu adds the settings of processor time.
func (all *lists) cpu(l *guest.Limits) {
	b := l.Bandwidth(processors(l))
	name := "cpus"
	if l.TokenBucket.Asked() {
		name = "token_bucket"
	}
	quota, oldQuota := "max", "-1"
	if b.Quota > 0 {
		quota = micros(b.Quota)
		oldQuota = quota
	}
	period, burst := micros(b.Period), micros(b.Burst)
	capped := b.Quota > 0
	none, oldNone := &value{file: "cpu.max.burst", text: "0"}, &value{file: "cpu.cfs_burst_us", text: "0"}
	// v1 has the period in a file of its own. A quota that is there goes first: it might
	// be too little in the new period.
	all.add(capped, setting{name: name, controller: "cpu",
		v2: value{file: "cpu.max", text: quota + " " + period, first: none},
		v1: value{file: "cpu.cfs_period_us", text: period, first: &value{file: "cpu.cfs_quota_us", text: "-1", first: oldNone}}})
	all.add(capped, setting{name: name, controller: "cpu", v1: value{file: "cpu.cfs_quota_us", text: oldQuota, first: oldNone}})
	all.add(b.Burst > 0, setting{name: name, controller: "cpu", optional: b.Burst == 0,
		v2: value{file: "cpu.max.burst", text: burst}, v1: value{file: "cpu.cfs_burst_us", text: burst}})

	idle := "0"
	if l.CPUIdle {
		idle = "1"
	}
	all.add(l.CPUIdle, setting{name: "cpu_idle", controller: "cpu", v2: value{file: "cpu.idle", text: idle}, v1: value{file: "cpu.idle", text: idle},
		optional: !l.CPUIdle, instead: "limits.cpu_shares: 1"})
	if part, _ := l.Reservation(1); !l.CPUIdle && part == 0 { // an idle group has no weight, one with a reservation that of package share
		w := l.CPUShares
		if w == 0 {
			w = Weight
		}
		all.add(l.CPUShares > 0, weight("cpu_shares", w))
	}
	for _, s := range []struct {
		name, file string
		value      guest.Numbers
	}{{"cpuset", "cpuset.cpus", l.CPUSet}, {"mems", "cpuset.mems", l.Mems}} {
		all.add(s.value != "", setting{name: s.name, controller: "cpuset", inherit: true,
			v2: value{file: s.file, text: string(s.value)}, v1: value{file: s.file, text: string(s.value)},
			held: func(g *cgroup.Group) error { return within(g, s.file, s.value) }})
	}
}

// weight is the setting of a weight of processor time.
func weight(name string, w int) setting {
	return setting{name: name, controller: "cpu",
		v2: value{file: "cpu.weight", text: strconv.Itoa(w), first: &value{file: "cpu.idle", text: "0"}},
		v1: value{file: "cpu.shares", text: strconv.Itoa(shares(float64(w))), first: &value{file: "cpu.idle", text: "0"}}}
}

// shares gives a weight as v1 counts it, from 2 (kernel/sched: MIN_SHARES).
func shares(w float64) int { return min(max(2, int(w*legacyShare/Weight+0.5)), 262144) }

// processors is how many processors the guest may use.
func processors(l *guest.Limits) int {
	if l.CPUSet == "" {
		return runtime.NumCPU()
	}
	list, err := l.CPUSet.List()
	if err != nil {
		return runtime.NumCPU()
	}
	slices.Sort(list)
	return len(slices.Compact(list))
}

// within holds a set of processors or nodes against what the group has got of it: the
// kernel takes one that the host has none of, and gives all instead.
func within(g *cgroup.Group, file string, want guest.Numbers) error {
	if want == "" {
		return nil
	}
	text, err := g.Read(file + ".effective")
	if err != nil {
		return err
	}
	got, err := guest.Numbers(text).List()
	if err != nil {
		return err
	}
	list, err := want.List()
	for _, n := range list {
		if !slices.Contains(got, n) {
			return fmt.Errorf("%s: the host has %s: %w", want, top(g, file, text), guest.ErrInvalid)
		}
	}
	return err
}

// beyond says what there is of processors or nodes, when the kernel knows none of such a number.
func beyond(g *cgroup.Group, file, want string, err error) error {
	for _, has := range []string{file + ".effective", file} {
		if text, e := above(g, has); e == nil {
			return fmt.Errorf("%s: the host has %s: %w", want, text, guest.ErrInvalid)
		}
	}
	return err
}

// top is what the group above has; else what there is.
func top(g *cgroup.Group, file, otherwise string) string {
	if up, err := g.Above(); err == nil {
		defer up.Close()
		if text, err := up.Read(file + ".effective"); err == nil {
			return text
		}
	}
	return otherwise
}

func micros(d time.Duration) string { return strconv.FormatInt(d.Microseconds(), 10) }

// numberOr writes a limit; otherwise for zero.
func numberOr(n int64, otherwise string) string {
	if n == 0 {
		return otherwise
	}
	return strconv.FormatInt(n, 10)
}
