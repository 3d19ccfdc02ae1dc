package view

import (
	"bytes"
	"os"
	"slices"
	"strconv"
	"strings"
)

// events are what memory.stat counts under the same names as /proc/vmstat.
func events() []string { return []string{"pgfault", "pgmajfault", "pswpin", "pswpout"} }

// pages are the names in /proc/vmstat of what /proc/meminfo tells too, each before its name
// there.
func pages() []string {
	return []string{"nr_free_pages", "MemFree", "nr_inactive_anon", "Inactive(anon)", "nr_active_anon", "Active(anon)",
		"nr_inactive_file", "Inactive(file)", "nr_active_file", "Active(file)", "nr_unevictable", "Unevictable",
		"nr_anon_pages", "AnonPages", "nr_mapped", "Mapped", "nr_file_pages", "Cached", "nr_dirty", "Dirty",
		"nr_writeback", "Writeback", "nr_shmem", "Shmem", "nr_slab_reclaimable", "SReclaimable",
		"nr_slab_unreclaimable", "SUnreclaim", "nr_page_table_pages", "PageTables", "nr_swapcached", "SwapCached"}
}

// VMStat gives a guest's /proc/vmstat: the names of the host's, with the guest's values as
// far as somebody counts them, and else 0. used is what it did with block devices.
func VMStat(host, meminfo []byte, m Memory, used map[string]IO) []byte {
	s, pages, events := m.of(meminfo), pages(), events()
	var io IO
	for _, d := range used {
		io.ReadBytes += d.ReadBytes
		io.WriteBytes += d.WriteBytes
	}
	out := make([]byte, 0, len(host))
	for line := range bytes.Lines(host) {
		key, _ := words(line)
		var n int64
		if i := slices.Index(pages, strings.Replace(string(key), "nr_zone_", "nr_", 1)); i >= 0 {
			n = m.told(pages[i+1], s) / int64(os.Getpagesize())
		} else if i := slices.Index(events, string(key)); i >= 0 {
			n = m.Events[i]
		}
		switch string(key) { // these are in KiB
		case "pgpgin":
			n = int64(io.ReadBytes >> 10)
		case "pgpgout":
			n = int64(io.WriteBytes >> 10)
		case "nr_kernel_stack":
			n = m.KernelStack >> 10
		}
		out = strconv.AppendInt(append(append(out, key...), ' '), n, 10)
		out = append(out, '\n')
	}
	return out
}

// told gives the guest's value of a line of /proc/meminfo.
func (m *Memory) told(key string, s size) int64 {
	n, known := m.first([]byte(key), s)
	if !known {
		n, _ = m.second([]byte(key))
	}
	return n
}
