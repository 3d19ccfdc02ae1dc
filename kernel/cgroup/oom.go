package cgroup

import (
	"strconv"

	"golang.org/x/sys/unix"
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
	fd, err := below(root.fd, group+"/"+file, unix.O_RDONLY)
	if err != nil {
		return 0
	}
	defer unix.Close(fd)
	var room [512]byte
	text, err := readAll(fd, room[:0])
	if err != nil {
		return 0
	}
	kills, _ := value(text, "oom_kill")
	n, _ := strconv.Atoi(string(kills))
	return n
}
