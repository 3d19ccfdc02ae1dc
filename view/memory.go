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
	Counts
}

// field finds a value of /proc/meminfo, in bytes.
func field(meminfo []byte, key string) int64 {
	for line := range bytes.Lines(meminfo) {
		if len(line) > len(key) && string(line[:len(key)]) == key && line[len(key)] == ':' {
			_, v := memLine(line)
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
	reclaimable := m.ActiveFile + m.InactiveFile + m.SlabReclaimable
	// What the host has not, the guest has not either.
	s.available = max(0, min(s.total-m.Used+reclaimable, field(host, "MemAvailable"), s.total))
	s.free = max(0, min(s.total-m.Used, s.available))
	s.cached = m.File
	s.swapFree = max(0, s.swapTotal-m.SwapUsed)
	return s
}

// Meminfo gives a guest's /proc/meminfo: the lines of the host's, with the guest's values.
func Meminfo(host []byte, m Memory) []byte {
	s := m.of(host)
	out := make([]byte, 0, len(host))
	for line := range bytes.Lines(host) {
		key, was := memLine(line)
		now, known := m.first(key, s)
		if !known {
			now, known = m.second(key)
		}
		switch {
		case !known && bytes.HasPrefix(key, []byte("DirectMap")), string(key) == "HardwareCorrupted":
			continue // of the machine's hardware
		case !known:
			now = was // VmallocTotal, Hugepagesize: of the kernel
		}
		if bytes.HasPrefix(key, []byte("HugePages_")) {
			out = append(memKey(out, key, now, 7), '\n')
			continue
		}
		out = append(memKey(out, key, now>>10, 8), " kB\n"...)
	}
	return out
}

// memKey appends the key in its column and the number in one of that width: what
// "%-16s%*d" would, which all of a machine's tops together wait for.
func memKey(out, key []byte, n int64, width int) []byte {
	begin := len(out)
	out = append(append(out, key...), ':')
	for len(out) < begin+16 {
		out = append(out, ' ')
	}
	var digits [20]byte
	number := strconv.AppendInt(digits[:0], n, 10)
	for range width - len(number) {
		out = append(out, ' ')
	}
	return append(out, number...)
}

// first gives the guest's values of what programs look at; known is false for others.
func (m *Memory) first(key []byte, s size) (v int64, known bool) {
	switch string(key) {
	case "MemTotal":
		v = s.total
	case "MemFree":
		v = s.free
	case "MemAvailable":
		v = s.available
	case "Cached":
		v = s.cached
	case "SwapCached":
		v = m.SwapCached
	case "Active":
		v = m.ActiveAnon + m.ActiveFile
	case "Inactive":
		v = m.InactiveAnon + m.InactiveFile
	case "Active(anon)":
		v = m.ActiveAnon
	case "Inactive(anon)":
		v = m.InactiveAnon
	case "Active(file)":
		v = m.ActiveFile
	case "Inactive(file)":
		v = m.InactiveFile
	case "Unevictable":
		v = m.Unevictable
	case "SwapTotal":
		v = s.swapTotal
	case "SwapFree":
		v = s.swapFree
	case "CommitLimit":
		v = s.total/2 + s.swapTotal
	case "Committed_AS":
		v = m.Anon + m.Shmem
	default:
		return 0, false
	}
	return v, true
}

// second gives the others that a guest has values of.
func (m *Memory) second(key []byte) (v int64, known bool) {
	switch string(key) {
	case "Zswap":
		v = m.Zswap
	case "Zswapped":
		v = m.Zswapped
	case "Dirty":
		v = m.FileDirty
	case "Writeback":
		v = m.FileWriteback
	case "AnonPages":
		v = m.Anon
	case "Mapped":
		v = m.FileMapped
	case "Shmem":
		v = m.Shmem
	case "KReclaimable", "SReclaimable":
		v = m.SlabReclaimable
	case "Slab":
		v = m.Slab
	case "SUnreclaim":
		v = m.SlabUnreclaimable
	case "KernelStack":
		v = m.KernelStack
	case "PageTables":
		v = m.PageTables
	case "SecPageTables":
		v = m.SecPageTables
	case "VmallocUsed":
		v = m.Vmalloc
	case "Percpu":
		v = m.PerCPU
	case "AnonHugePages":
		v = m.AnonTHP
	case "ShmemHugePages":
		v = m.ShmemTHP
	case "FileHugePages":
		v = m.FileTHP
	case "Buffers", "Mlocked", "NFS_Unstable", "Bounce", "WritebackTmp", "VmallocChunk", "ShmemPmdMapped", "FilePmdMapped",
		"CmaTotal", "CmaFree", "Unaccepted", "Hugetlb", "HugePages_Total", "HugePages_Free", "HugePages_Rsvd", "HugePages_Surp":
	default:
		return 0, false
	}
	return v, true
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
