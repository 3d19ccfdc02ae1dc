package cgroup

import (
	"strconv"
	"strings"
)

// OOMKills counts for each group, by its path below the mounts, the processes that the
// kernel killed for want of memory; 0 as well when nobody counts. Where the counters are
// is looked for once for all of them.
func OOMKills(groups ...string) []int {
	kills := make([]int, len(groups))
	cg, err := Find()
	if err != nil {
		return kills
	}
	trees, file := []Hierarchy{cg.Unified}, "memory.events"
	if old, _ := cg.Legacy("memory"); len(old) > 0 {
		trees, file = old, "memory.oom_control"
	}
	for _, m := range trees {
		root, err := m.Hold()
		if err != nil {
			continue
		}
		for i, group := range groups {
			kills[i] = max(kills[i], oomKills(root, group, file))
		}
		root.Close()
	}
	return kills
}

// oomKills reads the counter oom_kill, which v1 and v2 have under the same name.
func oomKills(root Root, group, file string) int {
	g, err := root.Open(group)
	if err != nil {
		return 0
	}
	defer g.Close()
	text, err := g.Read(file)
	if err != nil {
		return 0
	}
	for line := range strings.Lines(text) {
		if v, ok := strings.CutPrefix(line, "oom_kill "); ok {
			n, _ := strconv.Atoi(strings.TrimSpace(v))
			return n
		}
	}
	return 0
}
