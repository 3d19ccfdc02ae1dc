// Package count tells what the kernel counts of what control groups limit: what a guest
// has, what it may have, and how often it ran against that.
package count

import (
	"strconv"
	"strings"

	"vserver/guest"
	"vserver/kernel/cgroup"
)

// counter says where the kernel keeps what a pool has, in a hierarchy of either version.
type counter struct {
	name, controller string // the controller is that of version 1
	used, max        string // files of one number
	hits, key        string // a file of one number, or of lines "key number"
	kills            string // a file whose line "oom_kill number" tells of hits at least
}

// counters are those of cgroup v2, and those of v1, which counts swap with the memory.
func counters(legacy bool) []counter {
	if legacy {
		return []counter{
			{"pids", "pids", "pids.current", "pids.max", "pids.events", "max", ""},
			{"memory", "memory", "memory.usage_in_bytes", "memory.limit_in_bytes", "memory.failcnt", "", "memory.oom_control"},
			{"memory+swap", "memory", "memory.memsw.usage_in_bytes", "memory.memsw.limit_in_bytes", "memory.memsw.failcnt", "", ""},
			{"cpu", "cpu", "", "cpu.cfs_quota_us", "cpu.stat", "nr_throttled", ""},
		}
	}
	return []counter{
		{"pids", "", "pids.current", "pids.max", "pids.events", "max", ""},
		{"memory", "", "memory.current", "memory.max", "memory.events", "max", ""},
		{"memory_soft", "", "memory.current", "memory.high", "memory.events", "high", ""},
		{"swap", "", "memory.swap.current", "memory.swap.max", "memory.swap.events", "max", ""},
		{"cpu", "", "", "cpu.max", "cpu.stat", "nr_throttled", ""},
		{"hugepages.2M", "", "hugetlb.2MB.current", "hugetlb.2MB.max", "hugetlb.2MB.events", "max", ""},
		{"hugepages.1G", "", "hugetlb.1GB.current", "hugetlb.1GB.max", "hugetlb.1GB.events", "max", ""},
		{"cgroups", "", "cgroup.stat", "cgroup.max.descendants", "", "", ""},
	}
}

// Pools says what the guest whose group is at path has of what control groups limit, and
// how often it ran against each limit. Pools that no controller counts for the guest are
// left out; so are those that are not limited and were never hit.
func Pools(cg cgroup.Host, path string) []guest.Pool {
	var all []guest.Pool
	if g, err := cg.Open(path); err == nil {
		for _, c := range counters(false) {
			all = c.look(g, all)
		}
		g.Close()
	}
	for _, c := range counters(true) {
		trees, err := cg.Legacy(c.controller)
		if err != nil {
			continue
		}
		for _, tree := range trees {
			if g, err := tree.Open(path); err == nil {
				all = c.look(g, all)
				g.Close()
			}
		}
	}
	return all
}

// unlimited is what no limit reaches: v1 says "no limit" of memory by the last page below
// 2^63.
const unlimited = 1 << 60

// look appends the pool if there is something to say of it.
func (c counter) look(g *cgroup.Group, all []guest.Pool) []guest.Pool {
	most, ok := number(g, c.max, "")
	if !ok {
		return all
	}
	if most < 0 || most >= unlimited {
		most = 0
	}
	p := guest.Pool{Name: c.name, Max: most}
	if c.used == "cgroup.stat" {
		p.Used, _ = number(g, c.used, "nr_descendants")
	} else if c.used != "" {
		p.Used, _ = number(g, c.used, "")
	}
	if c.hits != "" {
		if n, ok := number(g, c.hits, c.key); ok {
			hits := uint64(n)
			p.Hits = &hits
		}
	}
	// Where memory and swap are bounded as one the kernel fails there first, which it does
	// not count from 6.14 on.
	if n, ok := number(g, c.kills, "oom_kill"); ok && c.kills != "" && p.Hits != nil {
		*p.Hits = max(*p.Hits, uint64(n))
	}
	if p.Max == 0 && (p.Hits == nil || *p.Hits == 0) {
		return all
	}
	return append(all, p)
}

// Now tells the limits of processes and of memory that the group at path has at this
// moment; those that are none are 0.
func Now(cg cgroup.Host, path string) (l guest.Limits) {
	bounds := func(g *cgroup.Group, legacy bool) {
		read := func(v2, v1 string) int64 {
			file := v2
			if legacy {
				file = v1
			}
			n, ok := number(g, file, "")
			if !ok || n < 0 || n >= unlimited {
				return 0
			}
			return n
		}
		if n := read("pids.max", "pids.max"); n > 0 {
			l.Pids = int(n)
		}
		if n := read("memory.max", "memory.limit_in_bytes"); n > 0 {
			l.Memory = guest.Bytes(n)
		}
		if n := read("memory.high", "memory.soft_limit_in_bytes"); n > 0 {
			l.MemorySoft = guest.Bytes(n)
		}
		if n := read("memory.min", "memory.min"); n > 0 {
			l.MemoryReserved = guest.Bytes(n)
		}
	}
	if g, err := cg.Open(path); err == nil {
		bounds(g, false)
		g.Close()
	}
	for _, controller := range []string{"pids", "memory"} {
		trees, err := cg.Legacy(controller)
		if err != nil {
			continue
		}
		for _, tree := range trees {
			if g, err := tree.Open(path); err == nil {
				bounds(g, true)
				g.Close()
			}
		}
	}
	return l
}

// number reads the first word of a file, or that behind key on a line of its own; "max"
// is 0. It is false when there is none.
func number(g *cgroup.Group, file, key string) (int64, bool) {
	text, err := g.Read(file)
	if err != nil {
		return 0, false
	}
	for line := range strings.Lines(text) {
		words := strings.Fields(line)
		if key != "" {
			if len(words) < 2 || words[0] != key {
				continue
			}
			words = words[1:]
		}
		if len(words) == 0 {
			return 0, false
		}
		if words[0] == "max" {
			return 0, true
		}
		n, err := strconv.ParseInt(words[0], 10, 64)
		return n, err == nil
	}
	return 0, false
}
