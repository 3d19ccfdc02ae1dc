package view

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"vserver/kernel/cgroup"
)

// number reads a file of a group that holds one number, or "max".
func number(g *cgroup.Group, file string) (n int64, ok bool) {
	text, err := g.Read(file)
	if err != nil {
		return 0, false
	}
	n, err = strconv.ParseInt(text, 10, 64)
	return n, err == nil
}

// memory gives /proc/meminfo or /proc/swaps. Of a guest that no controller counts the
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
	case !ok:
		return host, nil
	}
	return Meminfo(host, mem), nil
}

// controlled gives what the memory controller says of the guest; ok is false when that
// does not count it.
func (g *Guest) controlled() (m Memory, ok bool, err error) {
	m = Memory{SwapLimit: -1}
	group, old, err := g.open("memory")
	if errors.Is(err, fs.ErrNotExist) {
		return m, false, nil
	}
	if err != nil {
		return m, false, err
	}
	if old {
		oldMemory(group, &m)
	} else {
		newMemory(group, &m)
	}
	return m, m.Stat != nil, nil
}

func newMemory(group *cgroup.Group, m *Memory) {
	used, ok := number(group, "memory.current")
	text, err := group.Read("memory.stat")
	if !ok || err != nil {
		return
	}
	m.Used, m.Stat = used, stats(text)
	m.Limit, _ = number(group, "memory.max")
	if high, ok := number(group, "memory.high"); ok && (m.Limit == 0 || high < m.Limit) && high > 0 {
		m.Limit = high // it may not keep more than that
	}
	m.SwapUsed, _ = number(group, "memory.swap.current")
	if limit, ok := number(group, "memory.swap.max"); ok {
		m.SwapLimit = limit
	}
}

// noLimit is above what anybody has: v1 says 1<<63 less a page for none.
const noLimit = 1 << 60

func oldMemory(group *cgroup.Group, m *Memory) {
	used, ok := number(group, "memory.usage_in_bytes")
	text, err := group.Read("memory.stat")
	if !ok || err != nil {
		return
	}
	st := stats(text)
	m.Used, m.Stat = used, renamed(st)
	for _, limit := range []int64{st["hierarchical_memory_limit"], first(number(group, "memory.soft_limit_in_bytes"))} {
		if limit > 0 && limit < noLimit && (m.Limit == 0 || limit < m.Limit) {
			m.Limit = limit
		}
	}
	// memsw bounds memory and swap together, where the kernel counts swap at all.
	if both := st["hierarchical_memsw_limit"]; both > 0 && both < noLimit {
		m.SwapLimit = max(0, both-m.Limit)
	}
	m.SwapUsed = st["total_swap"]
}

func first(n int64, _ bool) int64 { return n }

// stats reads a flat keyed file.
func stats(text string) map[string]int64 {
	all := make(map[string]int64, 64)
	for line := range strings.Lines(text) {
		key, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		if n, err := strconv.ParseInt(value, 10, 64); err == nil {
			all[key] = n
		}
	}
	return all
}

// renamed gives the values of v1's memory.stat by their names in v2. The total_ ones
// have the groups below in them.
func renamed(old map[string]int64) map[string]int64 {
	now := map[string]int64{}
	for _, r := range [...][2]string{
		{"anon", "total_rss"}, {"file", "total_cache"}, {"anon_thp", "total_rss_huge"}, {"shmem", "total_shmem"},
		{"file_mapped", "total_mapped_file"}, {"file_dirty", "total_dirty"}, {"file_writeback", "total_writeback"},
		{"inactive_anon", "total_inactive_anon"}, {"active_anon", "total_active_anon"},
		{"inactive_file", "total_inactive_file"}, {"active_file", "total_active_file"},
		{"unevictable", "total_unevictable"},
	} {
		now[r[0]] = old[r[1]]
	}
	return now
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
	online := g.m.cpus()
	group, _, err := g.open("cpuset")
	if err != nil {
		return online
	}
	for _, file := range []string{"cpuset.cpus.effective", "cpuset.effective_cpus"} { // v2, v1
		if text, err := group.Read(file); err == nil {
			if set, err := ParseSet(text); err == nil && len(set.and(online)) > 0 {
				return set.and(online)
			}
		}
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
	group, old, err := g.open("cpu")
	if err != nil {
		return 0
	}
	if old {
		quota, ok1 := number(group, "cpu.cfs_quota_us")
		period, ok2 := number(group, "cpu.cfs_period_us")
		if !ok1 || !ok2 {
			return 0
		}
		return ratio(quota, period)
	}
	text, _ := group.Read("cpu.max")
	q, p, _ := strings.Cut(text, " ")
	quota, _ := strconv.ParseInt(q, 10, 64) // "max" is 0
	period, _ := strconv.ParseInt(p, 10, 64)
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
	group, old, err := g.open("blkio")
	if err != nil {
		return nil, nil // nobody counts
	}
	if !old {
		text, _ := group.Read("io.stat")
		return Diskstats(host, ParseIO(text)), nil
	}
	for _, suffix := range []string{"_recursive", ""} {
		a, err := group.Read("blkio.throttle.io_service_bytes" + suffix)
		if err == nil {
			b, _ := group.Read("blkio.throttle.io_serviced" + suffix)
			return Diskstats(host, ParseOldIO(a, b)), nil
		}
	}
	return nil, nil
}
