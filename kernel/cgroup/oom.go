package cgroup

import (
	"strconv"
	"strings"
)

// OOMKills counts the processes of a group, by its path below the mounts, that the
// kernel killed for want of memory; 0 as well when nobody counts.
func OOMKills(group string) int {
	cg, err := Find()
	if err != nil {
		return 0
	}
	if n := oomKills(cg.Unified, group, "memory.events"); n > 0 {
		return n
	}
	legacy, _ := cg.Legacy("memory")
	for _, m := range legacy {
		if n := oomKills(m, group, "memory.oom_control"); n > 0 {
			return n
		}
	}
	return 0
}

// oomKills reads the counter oom_kill, which v1 and v2 have under the same name.
func oomKills(m Hierarchy, group, file string) int {
	g, err := m.Open(group)
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
