package limit

import (
	"errors"

	"vserver/guest"
	"vserver/kernel/cgroup"
)

// Further gives the processes whose group is at path the limits that l asks for, beside
// those that they have. When one of them cannot be had, all are as they were.
func Further(cg cgroup.Host, path string, l guest.Limits) error {
	g, err := cg.Open(path)
	if err != nil {
		return err
	}
	defer g.Close()
	all, err := settings(l)
	if err != nil {
		return err
	}
	c := &change{cg: cg, path: path, g: g}
	defer c.close()
	if err := c.all(lists{set: all.set}); err != nil {
		return errors.Join(err, c.back())
	}
	return nil
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
