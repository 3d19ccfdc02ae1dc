package view

import (
	"bytes"
	"slices"
	"strconv"
)

// Counts are those values of memory.stat that a view tells, in bytes.
type Counts struct {
	Anon, File, KernelStack, PageTables, SecPageTables, PerCPU, Vmalloc int64
	Shmem, Zswap, Zswapped, FileMapped, FileDirty, FileWriteback        int64
	SwapCached, AnonTHP, FileTHP, ShmemTHP                              int64
	InactiveAnon, ActiveAnon, InactiveFile, ActiveFile, Unevictable     int64
	SlabReclaimable, SlabUnreclaimable, Slab                            int64

	Events [4]int64 // how many of each of events
}

// v2 gives the count that cgroup v2 has under a name, nil for one that is not told.
func (c *Counts) v2(name []byte) *int64 {
	switch string(name) {
	case "anon":
		return &c.Anon
	case "file":
		return &c.File
	case "kernel_stack":
		return &c.KernelStack
	case "pagetables":
		return &c.PageTables
	case "sec_pagetables":
		return &c.SecPageTables
	case "percpu":
		return &c.PerCPU
	case "vmalloc":
		return &c.Vmalloc
	case "shmem":
		return &c.Shmem
	case "zswap":
		return &c.Zswap
	case "zswapped":
		return &c.Zswapped
	case "file_mapped":
		return &c.FileMapped
	case "file_dirty":
		return &c.FileDirty
	case "file_writeback":
		return &c.FileWriteback
	case "swapcached":
		return &c.SwapCached
	}
	return c.more(name)
}

// more is the rest of v2.
func (c *Counts) more(name []byte) *int64 {
	switch string(name) {
	case "anon_thp":
		return &c.AnonTHP
	case "file_thp":
		return &c.FileTHP
	case "shmem_thp":
		return &c.ShmemTHP
	case "inactive_anon":
		return &c.InactiveAnon
	case "active_anon":
		return &c.ActiveAnon
	case "inactive_file":
		return &c.InactiveFile
	case "active_file":
		return &c.ActiveFile
	case "unevictable":
		return &c.Unevictable
	case "slab_reclaimable":
		return &c.SlabReclaimable
	case "slab_unreclaimable":
		return &c.SlabUnreclaimable
	case "slab":
		return &c.Slab
	}
	if i := slices.Index(events(), string(name)); i >= 0 {
		return &c.Events[i]
	}
	return nil
}

// oldCounts are those of v1, with its limits, which stand in the same file.
type oldCounts struct {
	Counts
	limit, bothLimit, swap int64 // bothLimit is of memory and swap together
}

// v1 is v2 for cgroup v1; the total_ ones have the groups below in them.
func (c *oldCounts) v1(name []byte) *int64 {
	switch string(name) {
	case "total_rss":
		return &c.Anon
	case "total_cache":
		return &c.File
	case "total_rss_huge":
		return &c.AnonTHP
	case "total_shmem":
		return &c.Shmem
	case "total_mapped_file":
		return &c.FileMapped
	case "total_dirty":
		return &c.FileDirty
	case "total_writeback":
		return &c.FileWriteback
	case "total_swap":
		return &c.swap
	case "hierarchical_memory_limit":
		return &c.limit
	case "hierarchical_memsw_limit":
		return &c.bothLimit
	}
	if name, ok := bytes.CutPrefix(name, []byte("total_")); ok && len(name) > 0 {
		switch string(name) {
		case "inactive_anon", "active_anon", "inactive_file", "active_file", "unevictable", "pgfault", "pgmajfault":
			return c.more(name)
		}
	}
	return nil
}

// count reads a flat keyed file into the places that at gives for its keys.
func count(text []byte, at func(name []byte) *int64) {
	for line := range bytes.Lines(text) {
		key, value := words(line)
		p := at(key)
		if p == nil {
			continue
		}
		if n, err := strconv.ParseInt(string(value), 10, 64); err == nil {
			*p = n
		}
	}
}
