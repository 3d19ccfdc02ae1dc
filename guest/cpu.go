package guest

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// TokenBucket bounds processor time in the words of Linux-VServer. A token is one
// millisecond of a processor, the tick of the kernels that had them.
type TokenBucket struct {
	FillRate  int  `yaml:"fill_rate" doc:"tokens that come in each interval; a token is a millisecond of a processor"`
	Interval  int  `yaml:"interval" doc:"milliseconds between two fillings: fill_rate / interval is the part of a processor that the guest gets"`
	TokensMin int  `yaml:"tokens_min" doc:"tokens that a guest which has used up all waits for" default:"what comes in 100 ms"`
	TokensMax int  `yaml:"tokens_max" doc:"tokens that are saved up at most; the kernel saves no more than twice tokens_min" default:"as tokens_min: none are saved"`
	PerCPU    bool `yaml:"per_cpu" doc:"each processor that the guest may use has such a bucket, as in Linux-VServer; else all have one together"`
	IdleTime  bool `yaml:"idle_time" doc:"the guest may use idle processors beyond its tokens: the rate holds where others want the time as well"`
}

// Asked tells whether a bucket is asked for.
func (b TokenBucket) Asked() bool { return b.FillRate != 0 }

// The spans in which the kernel counts processor time
// (kernel/sched/core.c: min_cfs_quota_period, max_cfs_quota_period).
const (
	minCPUPeriod = time.Millisecond
	maxCPUPeriod = time.Second
	// DefaultCPUPeriod is the kernel's default.
	DefaultCPUPeriod = 100 * time.Millisecond
)

// Bandwidth is a bound of processor time as the kernel has it: Quota in each Period, and
// Burst of it saved up from those in which it was not used. Quota 0 is no bound.
type Bandwidth struct{ Quota, Period, Burst time.Duration }

// Bandwidth is the hard limit of processor time that the limits ask for, on cpus
// processors.
//
// Of a token bucket a guest that has used all waits until tokens_min have come: so the
// period is the time in which they come. What is saved is bounded by the kernel to the
// quota once more.
func (l *Limits) Bandwidth(cpus int) Bandwidth {
	b := Bandwidth{Period: DefaultCPUPeriod, Burst: time.Duration(l.CPUBurst)}
	t := l.TokenBucket
	switch {
	case l.CPUs > 0:
		b.Quota = time.Duration(math.Round(l.CPUs * float64(b.Period)))
	case t.Asked() && t.IdleTime, !t.Asked():
		return Bandwidth{Period: DefaultCPUPeriod}
	default:
		rate := t.rate()
		if t.TokensMin > 0 {
			b.Period = time.Duration(float64(t.TokensMin) * float64(time.Millisecond) / rate)
			b.Period = min(max(b.Period, minCPUPeriod), maxCPUPeriod)
		}
		if t.PerCPU {
			rate *= float64(cpus)
		}
		b.Quota = time.Duration(rate * float64(b.Period))
		b.Burst = max(0, time.Duration(t.TokensMax)*time.Millisecond-b.Quota)
	}
	b.Quota = max(b.Quota.Round(time.Microsecond), minCPUPeriod)
	b.Period = b.Period.Round(time.Microsecond)
	b.Burst = min(b.Burst, b.Quota).Round(time.Microsecond)
	return b
}

// rate is the part of a processor that a bucket gives.
func (b TokenBucket) rate() float64 { return float64(b.FillRate) / float64(b.Interval) }

// Reservation is the guaranteed part of cpus processors, from 0 to 1, and whether the
// guest gets just that as long as others want the rest.
func (l *Limits) Reservation(cpus int) (part float64, just bool) {
	if t := l.TokenBucket; t.Asked() && t.IdleTime {
		part = t.rate()
		if !t.PerCPU {
			part /= float64(cpus)
		}
		return min(part, 1), true
	}
	return float64(l.CPUReserved) / 100, false
}

// Weighs tells whether the limits say how processor time is divided between guests.
func (l *Limits) Weighs() bool {
	return l.CPUShares != 0 || l.CPUReserved != 0 || l.CPUIdle || l.TokenBucket.Asked() && l.TokenBucket.IdleTime
}

// Percent is a part of a whole in hundredths, written "25%" or 25.
type Percent float64

// UnmarshalText reads "25%".
func (p *Percent) UnmarshalText(text []byte) error {
	f, err := decimal(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(string(text)), "%")))
	if err != nil || !(f >= 0 && f <= 100) {
		return fmt.Errorf("percentage %q: want 0%% to 100%%: %w", text, ErrInvalid)
	}
	*p = Percent(f)
	return nil
}

// String gives "25%".
func (p Percent) String() string { return strconv.FormatFloat(float64(p), 'f', -1, 64) + "%" }

// MarshalText writes the percentage as String does.
func (p Percent) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// Numbers are numbers of processors or memory nodes: "0-3,8".
type Numbers string

// maxNumber is the highest number there can be (NR_CPUS of the largest kernels).
const maxNumber = 8191

// UnmarshalText reads "0-3,8".
func (n *Numbers) UnmarshalText(text []byte) error {
	s := strings.ReplaceAll(string(text), " ", "")
	if _, err := Numbers(s).List(); err != nil {
		return err
	}
	*n = Numbers(s)
	return nil
}

// MarshalText writes the numbers as they were read.
func (n Numbers) MarshalText() ([]byte, error) { return []byte(n), nil }

// List gives the single numbers, in the order written.
func (n Numbers) List() (list []int, err error) {
	for part := range strings.SplitSeq(string(n), ",") {
		from, to, two := strings.Cut(part, "-")
		if !two {
			to = from
		}
		a, err1 := strconv.ParseUint(from, 10, 32)
		b, err2 := strconv.ParseUint(to, 10, 32)
		if err1 != nil || err2 != nil || a > b || b > maxNumber {
			return nil, fmt.Errorf("numbers %q: want numbers and ranges, as 0-3,8: %w", string(n), ErrInvalid)
		}
		for i := a; i <= b; i++ {
			list = append(list, int(i))
		}
		if len(list) > maxNumber+1 {
			return nil, fmt.Errorf("numbers %q: some are there twice: %w", string(n), ErrInvalid)
		}
	}
	return list, nil
}

// IOPrio is a priority of input and output as ioprio_set(2) takes it: "idle",
// "best-effort:4" or "realtime:4", from 0, the highest, to 7.
type IOPrio uint16

const ioClassShift = 13 // IOPRIO_CLASS_SHIFT

// ioClasses are the classes by their numbers (linux/ioprio.h).
func ioClasses() [4]string { return [4]string{"none", "realtime", "best-effort", "idle"} }

// UnmarshalText reads "best-effort:4".
func (p *IOPrio) UnmarshalText(text []byte) error {
	class, level, leveled := strings.Cut(string(text), ":")
	for i, name := range ioClasses() {
		if name != class || i == 0 {
			continue
		}
		n, err := 4, error(nil) // IOPRIO_NORM
		if leveled {
			n, err = strconv.Atoi(level)
		}
		if name == "idle" {
			n = 0
		}
		if err != nil || n < 0 || n > 7 || leveled && name == "idle" {
			break
		}
		*p = IOPrio(i<<ioClassShift | n)
		return nil
	}
	return fmt.Errorf("priority %q: want idle, best-effort:0 to best-effort:7 or realtime:0 to realtime:7: %w", text, ErrInvalid)
}

// String gives "best-effort:4".
func (p IOPrio) String() string {
	class := int(p>>ioClassShift) & 3
	name := ioClasses()[class]
	if class == 1 || class == 2 {
		name += ":" + strconv.Itoa(int(p&7))
	}
	return name
}

// MarshalText writes the priority as String does.
func (p IOPrio) MarshalText() ([]byte, error) { return []byte(p.String()), nil }
