package view

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"time"
)

// memory gives /proc/meminfo, /proc/swaps or /proc/vmstat. Of a guest that no controller counts the
// host's text is all there is to say.
func (g *Guest) memory(n Node) ([]byte, error) {
	host, err := g.m.meminfo()
	if err != nil {
		return nil, err
	}
	mem, ok, err := g.controlled()
	switch {
	case err != nil:
		return nil, err
	case n == nodeSwaps:
		return Swaps(host, mem), nil
	case !ok && n == nodeMeminfo:
		return host, nil
	case n == nodeMeminfo:
		return Meminfo(host, mem), nil
	}
	events, err := os.ReadFile("/proc/vmstat")
	if err != nil || !ok {
		return events, err
	}
	return VMStat(events, host, mem, g.io()), nil
}

// controlled gives what the memory controller says of the guest; ok is false when that
// does not count it.
func (g *Guest) controlled() (m Memory, ok bool, err error) {
	m = Memory{SwapLimit: -1}
	if _, err := g.open("memory"); errors.Is(err, fs.ErrNotExist) {
		return m, false, nil
	} else if err != nil {
		return m, false, err
	}
	if g.old("memory") {
		ok = g.oldMemory(&m)
	} else {
		ok = g.newMemory(&m)
	}
	return m, ok, nil
}

func (g *Guest) newMemory(m *Memory) (ok bool) {
	const c = "memory"
	used, ok := g.number(c, "memory.current")
	text, err := g.read(c, "memory.stat")
	if !ok || err != nil {
		return false
	}
	m.Used = used
	count(text, m.Counts.v2)
	m.Limit, _ = g.number(c, "memory.max")
	if high, ok := g.number(c, "memory.high"); ok && (m.Limit == 0 || high < m.Limit) && high > 0 {
		m.Limit = high // it may not keep more than that
	}
	m.SwapUsed, _ = g.number(c, "memory.swap.current")
	if limit, ok := g.number(c, "memory.swap.max"); ok {
		m.SwapLimit = limit
	}
	return true
}

// noLimit is above what anybody has: v1 says 1<<63 less a page for none.
const noLimit = 1 << 60

func (g *Guest) oldMemory(m *Memory) (ok bool) {
	const c = "memory"
	used, ok := g.number(c, "memory.usage_in_bytes")
	text, err := g.read(c, "memory.stat")
	if !ok || err != nil {
		return false
	}
	var st oldCounts
	count(text, st.v1)
	m.Used, m.Counts, m.SwapUsed = used, st.Counts, st.swap
	soft, _ := g.number(c, "memory.soft_limit_in_bytes")
	for _, limit := range []int64{st.limit, soft} {
		if limit > 0 && limit < noLimit && (m.Limit == 0 || limit < m.Limit) {
			m.Limit = limit
		}
	}
	// memsw bounds memory and swap together, where the kernel counts swap at all.
	if both := st.bothLimit; both > 0 && both < noLimit {
		m.SwapLimit = max(0, both-m.Limit)
	}
	return true
}

// CPUs gives the processors that the guest sees.
func (g *Guest) CPUs() Set {
	now := time.Now()
	if g.shown != nil && now.Sub(g.cpusAt) < Fresh && now.After(g.cpusAt) {
		return g.shown
	}
	g.shown, g.cpusAt = Shown(g.allowed(), g.share()), now
	return g.shown
}

// allowed gives the processors of the guest's cpuset.
func (g *Guest) allowed() Set {
	online, file := g.m.cpus(), "cpuset.cpus.effective"
	if g.old("cpuset") {
		file = "cpuset.effective_cpus"
	}
	text, err := g.read("cpuset", file)
	if err != nil {
		return online
	}
	if set, err := ParseSet(string(text)); err == nil && len(set.and(online)) > 0 {
		return set.and(online)
	}
	return online
}

// cpus gives the host's processors, looked at once in a second.
func (m *Machine) cpus() Set {
	if now := time.Now(); m.online == nil || now.Sub(m.looked) > time.Second || now.Before(m.looked) {
		text, err := os.ReadFile(filepath.Join(cpuDir, "online"))
		set, err2 := ParseSet(string(text))
		if err != nil || err2 != nil || len(set) == 0 {
			set = Set{0}
		}
		m.online, m.looked = set, now
	}
	return m.online
}

// share gives how many processors' time the guest may use, 0 for no limit.
func (g *Guest) share() float64 {
	if g.old("cpu") {
		quota, ok1 := g.number("cpu", "cpu.cfs_quota_us")
		if !ok1 || quota <= 0 {
			return 0
		}
		period, _ := g.number("cpu", "cpu.cfs_period_us")
		return ratio(quota, period)
	}
	text, err := g.read("cpu", "cpu.max")
	if err != nil {
		return 0
	}
	q, p := words(text)
	quota, _ := strconv.ParseInt(string(q), 10, 64) // "max" is 0
	period, _ := strconv.ParseInt(string(p), 10, 64)
	return ratio(quota, period)
}

func ratio(quota, period int64) float64 {
	if quota <= 0 || period <= 0 {
		return 0
	}
	return float64(quota) / float64(period)
}

// disks gives /proc/diskstats.
func (g *Guest) disks() ([]byte, error) {
	host, err := os.ReadFile("/proc/diskstats")
	if err != nil {
		return nil, err
	}
	return Diskstats(host, g.io()), nil
}

// io gives what the guest did with block devices; nothing where nobody counts.
func (g *Guest) io() map[string]IO {
	if _, err := g.open("blkio"); err != nil {
		return nil
	}
	if !g.old("blkio") {
		text, _ := g.read("blkio", "io.stat")
		return ParseIO(string(text))
	}
	for _, suffix := range []string{"_recursive", ""} {
		a, err := g.read("blkio", "blkio.throttle.io_service_bytes"+suffix)
		if err == nil {
			first := string(a)
			b, _ := g.read("blkio", "blkio.throttle.io_serviced"+suffix)
			return ParseOldIO(first, string(b))
		}
	}
	return nil
}
