package view

import (
	"bytes"
	"fmt"
	"strconv"
)

// Memory is what a guest may use of memory and what it does, in bytes.
type Memory struct {
	Limit     int64 // 0: none
	Used      int64
	SwapLimit int64 // -1: none
	SwapUsed  int64
	// Stat are the values of memory.stat by their names in cgroup v2.
	Stat map[string]int64
}

// field finds a value of /proc/meminfo, in bytes.
func field(meminfo []byte, key string) int64 {
	for line := range bytes.Lines(meminfo) {
		if k, v := memLine(line); string(k) == key {
			return v
		}
	}
	return 0
}

// memLine reads a line of /proc/meminfo, "MemTotal:  24684096 kB"; the value is in bytes.
func memLine(line []byte) (key []byte, value int64) {
	key, rest, _ := bytes.Cut(line, []byte(":"))
	number, unit, _ := bytes.Cut(bytes.TrimSpace(rest), []byte(" "))
	n, err := strconv.ParseInt(string(number), 10, 52)
	if err != nil {
		return key, 0
	}
	if string(unit) == "kB" {
		n <<= 10
	}
	return key, n
}

// size is a Memory beside its host: what it comes to.
type size struct {
	total, free, available, cached, swapTotal, swapFree int64
}

// of sizes the memory of a guest on a host with that /proc/meminfo.
func (m Memory) of(host []byte) size {
	hostTotal, hostSwap := field(host, "MemTotal"), field(host, "SwapTotal")
	s := size{total: hostTotal, swapTotal: hostSwap}
	if m.Limit > 0 {
		s.total = min(hostTotal, m.Limit)
	}
	if m.SwapLimit >= 0 {
		s.swapTotal = min(hostSwap, m.SwapLimit)
	}
	reclaimable := m.Stat["active_file"] + m.Stat["inactive_file"] + m.Stat["slab_reclaimable"]
	// What the host has not, the guest has not either.
	s.available = max(0, min(s.total-m.Used+reclaimable, field(host, "MemAvailable"), s.total))
	s.free = max(0, min(s.total-m.Used, s.available))
	s.cached = m.Stat["file"]
	s.swapFree = max(0, s.swapTotal-m.SwapUsed)
	return s
}

// Meminfo gives a guest's /proc/meminfo: the lines of the host's, with the guest's values.
func Meminfo(host []byte, m Memory) []byte {
	s := m.of(host)
	st := m.Stat
	anon := st["anon"]
	values := map[string]int64{
		"MemTotal": s.total, "MemFree": s.free, "MemAvailable": s.available,
		"Buffers": 0, "Cached": s.cached, "SwapCached": st["swapcached"],
		"Active":       st["active_anon"] + st["active_file"],
		"Inactive":     st["inactive_anon"] + st["inactive_file"],
		"Active(anon)": st["active_anon"], "Inactive(anon)": st["inactive_anon"],
		"Active(file)": st["active_file"], "Inactive(file)": st["inactive_file"],
		"Unevictable": st["unevictable"], "Mlocked": 0,
		"SwapTotal": s.swapTotal, "SwapFree": s.swapFree, "Zswap": st["zswap"], "Zswapped": st["zswapped"],
		"Dirty": st["file_dirty"], "Writeback": st["file_writeback"],
		"AnonPages": anon, "Mapped": st["file_mapped"], "Shmem": st["shmem"],
		"KReclaimable": st["slab_reclaimable"], "Slab": st["slab"],
		"SReclaimable": st["slab_reclaimable"], "SUnreclaim": st["slab_unreclaimable"],
		"KernelStack": st["kernel_stack"], "PageTables": st["pagetables"], "SecPageTables": st["sec_pagetables"],
		"NFS_Unstable": 0, "Bounce": 0, "WritebackTmp": 0,
		"CommitLimit": s.total/2 + s.swapTotal, "Committed_AS": anon + st["shmem"],
		"VmallocUsed": st["vmalloc"], "VmallocChunk": 0, "Percpu": st["percpu"],
		"AnonHugePages": st["anon_thp"], "ShmemHugePages": st["shmem_thp"], "FileHugePages": st["file_thp"],
		"ShmemPmdMapped": 0, "FilePmdMapped": 0, "CmaTotal": 0, "CmaFree": 0, "Unaccepted": 0,
		"Hugetlb": 0, "HugePages_Total": 0, "HugePages_Free": 0, "HugePages_Rsvd": 0, "HugePages_Surp": 0,
	}
	out := make([]byte, 0, len(host))
	for line := range bytes.Lines(host) {
		key, was := memLine(line)
		now, known := values[string(key)]
		switch {
		case !known && bytes.HasPrefix(key, []byte("DirectMap")), string(key) == "HardwareCorrupted":
			continue // of the machine's hardware
		case !known:
			now = was // VmallocTotal, Hugepagesize: of the kernel
		}
		if bytes.HasPrefix(key, []byte("HugePages_")) {
			out = fmt.Appendf(out, "%-16s%7d\n", string(key)+":", now)
			continue
		}
		out = fmt.Appendf(out, "%-16s%8d kB\n", string(key)+":", now>>10)
	}
	return out
}

// Swaps gives a guest's /proc/swaps: its share of the host's swap as one device.
func Swaps(host []byte, m Memory) []byte {
	s := m.of(host)
	out := []byte("Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n")
	if s.swapTotal > 0 {
		out = fmt.Appendf(out, "%-40s%s\t%d\t\t%d\t\t%d\n", "none", "virtual\t", s.swapTotal>>10, min(m.SwapUsed, s.swapTotal)>>10, 0)
	}
	return out
}
