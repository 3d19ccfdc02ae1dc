package limit

import (
	"math"
	"strconv"

	"vserver/guest"
)

// setting is a limit in the words of the kernel.
type setting struct {
	name       string // in the spec, below limits
	controller string
	file       string // of cgroup v2
	value      string
	oldFile    string // of cgroup v1
	oldValue   string
	optional   bool // a kernel that lacks it has nothing to bound
}

// cpuPeriod is the span in which a guest's processor time is counted, in µs: the
// kernel's default.
const cpuPeriod = 100_000

// cpuLeast is the smallest quota in a period that the kernel takes, in µs.
const cpuLeast = 1000

// memsw is the v1 limit of memory and swap together, which may not be below that of
// memory at any moment.
const memsw = "memory.memsw.limit_in_bytes"

// settings gives the settings of all limits; those of limits that are zero lift them.
func settings(l guest.Limits) (set, lifted []setting) {
	add := func(asked bool, s setting) {
		if asked {
			set = append(set, s)
		} else {
			lifted = append(lifted, s)
		}
	}
	memory, oldMemory := "max", "-1"
	if l.Memory > 0 {
		memory = strconv.FormatInt(int64(l.Memory), 10)
		oldMemory = memory
	}
	add(l.Memory > 0, setting{"memory", "memory", "memory.max", memory, "memory.limit_in_bytes", oldMemory, false})

	swap, both := "max", "-1" // v1 counts memory and swap in one
	if l.Memory > 0 {
		swap = strconv.FormatInt(int64(l.Swap), 10)
		both = strconv.FormatInt(int64(l.Memory+l.Swap), 10)
	}
	add(l.Memory > 0, setting{"memory", "memory", "memory.swap.max", swap, memsw, both, true})

	quota, oldQuota := "max", "-1"
	if l.CPUs > 0 {
		quota = strconv.Itoa(max(cpuLeast, int(math.Round(l.CPUs*cpuPeriod))))
		oldQuota = quota
	}
	period := strconv.Itoa(cpuPeriod)
	add(l.CPUs > 0, setting{"cpus", "cpu", "cpu.max", quota + " " + period, "cpu.cfs_quota_us", oldQuota, false})

	pids := "max"
	if l.Pids > 0 {
		pids = strconv.Itoa(l.Pids)
	}
	add(l.Pids > 0, setting{"pids", "pids", "pids.max", pids, "pids.max", pids, false})
	return set, lifted
}

// wanted gives the settings of the limits that are not zero.
func wanted(l guest.Limits) []setting {
	set, _ := settings(l)
	return set
}
