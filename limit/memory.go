package limit

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strconv"

	"vserver/fault"
	"vserver/guest"
	"vserver/kernel/cgroup"
)

// memsw is the v1 limit of memory and swap together, which may not be below that of
// memory at any moment.
const memsw = "memory.memsw.limit_in_bytes"

// memory adds the settings of memory.
func (all *lists) memory(l *guest.Limits) {
	limit, both, swap := int64(l.Memory), "-1", "max" // v1 counts memory and swap in one
	if limit > 0 {
		both, swap = strconv.FormatInt(int64(l.Memory+l.Swap), 10), strconv.FormatInt(int64(l.Swap), 10)
	}
	all.add(limit > 0, setting{name: "memory", controller: "memory", ready: func(g *cgroup.Group) error { return room(g, limit) },
		v2: value{file: "memory.max", text: numberOr(limit, "max")},
		v1: value{file: "memory.limit_in_bytes", text: numberOr(limit, "-1"), first: &value{file: memsw, text: "-1"}}})
	all.add(limit > 0, setting{name: "memory", controller: "memory", optional: true,
		v2: value{file: "memory.swap.max", text: swap}, v1: value{file: memsw, text: both}})

	// v1 counts what TCP and UDP keep for the guest's sockets apart, and only when bounded.
	all.add(limit > 0, setting{name: "memory", controller: "memory", optional: true, v1: value{file: "memory.kmem.tcp.limit_in_bytes", text: numberOr(limit, "-1")}})

	soft := int64(l.MemorySoft)
	all.add(soft > 0, setting{name: "memory_soft", controller: "memory", v2: value{file: "memory.high", text: numberOr(soft, "max")},
		v1: value{file: "memory.soft_limit_in_bytes", text: numberOr(soft, "-1")}})
	const others = "limits.memory or limits.memory_soft of the other guests, so that they leave as much"
	kept, low := int64(l.MemoryReserved), int64(l.MemoryLow)
	all.add(kept > 0, setting{name: "memory_reserved", controller: "memory", v2: value{file: "memory.min", text: numberOr(kept, "0")}, instead: others})
	all.add(low > 0, setting{name: "memory_low", controller: "memory", v2: value{file: "memory.low", text: numberOr(low, "0")}, instead: others})
	// The value is vserverd's (host/reclaim): here the group gets the controller, and is
	// asked whether it has what that needs.
	all.add(l.MemoryIdle > 0, setting{name: "memory_idle", controller: "memory", v2: value{file: "memory.low", text: numberOr(low, "0")},
		held: reclaims, instead: "limits.memory_soft"})
	all.add(l.Zswap > 0, setting{name: "zswap", controller: "memory", v2: value{file: "memory.zswap.max", text: numberOr(int64(l.Zswap), "max")},
		optional: l.Zswap == 0, instead: "limits.swap"})
	all.add(l.OOMGroup, setting{name: "oom_group", controller: "memory", v2: value{file: "memory.oom.group", text: map[bool]string{false: "0", true: "1"}[l.OOMGroup]},
		instead: "restart: on-failure, with an init that ends when its service does"})
	all.hugePages(l)
}

// reclaims tells whether memory of a group can be asked back (Linux 5.19).
func reclaims(g *cgroup.Group) error {
	if has, err := g.Has("memory.reclaim"); err != nil || has {
		return err
	}
	return fault.Hint(fmt.Errorf("memory.reclaim: %w", guest.ErrUnsupported), "nearest: limits.memory_soft")
}

// hugePages adds those sizes that are asked for, and lifts those of the usual sizes that
// are not. Of pages that this host has set aside who did not ask gets none: no limit of
// memory counts them.
func (all *lists) hugePages(l *guest.Limits) {
	asked := map[string]int64{"2MB": 0, "1GB": 0, "64KB": 0, "32MB": 0, "512MB": 0, "16GB": 0}
	var sizes []string
	for size, n := range l.HugePages {
		if name, err := guest.HugePage(size); err == nil { // checked with the spec
			asked[name] = int64(n)
		}
	}
	for name := range asked {
		sizes = append(sizes, name)
	}
	slices.Sort(sizes)
	for _, name := range sizes {
		n := asked[name]
		text, old, set := numberOr(n, "max"), numberOr(n, "-1"), n > 0
		if !set && setAside(name) {
			text, old, set = "0", "0", true
		}
		s := setting{name: "hugepages." + name[:len(name)-1], controller: "hugetlb", optional: n == 0,
			v2: value{file: "hugetlb." + name + ".max", text: text}, v1: value{file: "hugetlb." + name + ".limit_in_bytes", text: old}}
		all.add(set, s)
		// What is promised to mappings nobody else gets, be it touched or not.
		s.optional = true
		s.v2.file, s.v1.file = "hugetlb."+name+".rsvd.max", "hugetlb."+name+".rsvd.limit_in_bytes"
		all.add(set, s)
	}
}

// setAside tells whether this host has huge pages of a size, or makes them when asked.
func setAside(name string) bool {
	var size guest.Bytes
	if size.UnmarshalText([]byte(name[:len(name)-1])) != nil {
		return false
	}
	dir := "/sys/kernel/mm/hugepages/hugepages-" + strconv.FormatInt(int64(size)>>10, 10) + "kB/"
	for _, file := range []string{"nr_hugepages", "nr_overcommit_hugepages"} {
		text, err := os.ReadFile(dir + file)
		if err != nil {
			return false
		}
		if string(text) != "0\n" {
			return true
		}
	}
	return false
}

// room makes sure that a guest which runs has room under a new limit of memory. v1
// refuses one below what cannot be taken back; v2 would kill.
func room(g *cgroup.Group, limit int64) error {
	over := func() (int64, error) {
		text, err := g.Read("memory.current")
		if err != nil {
			return 0, err
		}
		used, err := strconv.ParseInt(text, 10, 64)
		return used - limit, err
	}
	more, err := over()
	if errors.Is(err, fs.ErrNotExist) || limit == 0 || err == nil && more <= 0 {
		return nil // an empty group, whose controller is not there yet
	}
	if err != nil {
		return err
	}
	// It gives what it can, and says EAGAIN when that is less than was wanted; before
	// 6.1 there is no such file.
	_ = g.Write("memory.reclaim", strconv.FormatInt(more, 10))
	if more, err = over(); err != nil || more <= 0 {
		return err
	}
	return fmt.Errorf("%v: %v more is in use: %w", guest.Bytes(limit), guest.Bytes(more), guest.ErrBusy)
}
