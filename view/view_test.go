package view

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"vserver/guest"
	"vserver/internal/need"
	"vserver/kernel/proc"
)

func TestMain(m *testing.M) { need.Main(m) }

// golden compares a text with testdata/NAME.golden; -update writes it.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name+".golden")
	if f := flag.Lookup("update"); f != nil && f.Value.String() == "true" {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s:\n%s\nwant\n%s", name, got, want)
	}
}

func host(t *testing.T, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name+".host"))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

var _ = flag.Bool("update", false, "write the golden files")

const gib = 1 << 30

func TestMeminfo(t *testing.T) {
	var full Counts
	count([]byte("anon 104857600\nfile 209715200\nkernel_stack 65536\npagetables 131072\npercpu 4096\nshmem 1048576\n"+
		"file_mapped 2097152\nfile_dirty 8192\nfile_writeback 4096\ninactive_anon 52428800\nactive_anon 52428800\n"+
		"inactive_file 104857600\nactive_file 103809024\nslab_reclaimable 1048576\nslab_unreclaimable 2097152\nslab 3145728\n"), full.v2)
	var old oldCounts
	count([]byte("cache 1\ntotal_cache 209715200\ntotal_rss 104857600\ntotal_shmem 1048576\ntotal_inactive_file 104857600\n"+
		"total_active_file 103809024\ntotal_inactive_anon 52428800\ntotal_active_anon 52428800\n"), old.v1)
	for name, m := range map[string]Memory{
		"meminfo-v2":   {Limit: gib, Used: 320 << 20, SwapLimit: 0, Counts: full},
		"meminfo-v1":   {Limit: gib, Used: 320 << 20, SwapLimit: 512 << 20, SwapUsed: 1 << 20, Counts: old.Counts},
		"meminfo-none": {Used: 320 << 20, SwapLimit: -1, Counts: full},
	} {
		golden(t, name, Meminfo(host(t, "meminfo"), m))
	}
	// A guest may have used more than its limit is by now; nothing may come out negative,
	// nor be more than the host has.
	for _, m := range []Memory{{Limit: 1 << 20, Used: gib, SwapLimit: 0, SwapUsed: gib}, {Limit: 1 << 50, SwapLimit: 1 << 50}} {
		s := m.of(host(t, "meminfo"))
		if s.free < 0 || s.available < 0 || s.swapFree < 0 || s.free > s.total || s.available > s.total || s.total > field(host(t, "meminfo"), "MemTotal") {
			t.Errorf("%+v: %+v", m, s)
		}
	}
}

// The one node of a guest has what its machine has.
func TestNode(t *testing.T) {
	all := []byte("MemTotal:        1048576 kB\nMemFree:          724000 kB\nMemAvailable:     930000 kB\nCached:           204800 kB\n" +
		"Active:           152576 kB\nSwapTotal:        524288 kB\nVmallocTotal:   34359738367 kB\nHugePages_Total:       0\n")
	want := "Node 0 MemTotal:        1048576 kB\nNode 0 MemFree:          724000 kB\nNode 0 MemUsed:          324576 kB\n" +
		"Node 0 FilePages:        204800 kB\nNode 0 Active:           152576 kB\n" +
		"Node 0 HugePages_Total:     0\nNode 0 HugePages_Free:      0\nNode 0 HugePages_Surp:      0\n"
	if got := string(NodeMeminfo(all)); got != want {
		t.Errorf("%s\nwant\n%s", got, want)
	}
	for want, s := range map[string]Set{"0": nil, "1": {0}, "8000000c": {2, 3, 31}, "1,00000001": {0, 32}} {
		if got := s.mask(); got != want {
			t.Errorf("%v: %s, want %s", s, got, want)
		}
	}
}

// What the guest does is told of memory and of disks, and 0 of what nobody counts.
func TestVMStat(t *testing.T) {
	m := Memory{Limit: gib, Used: 320 << 20, SwapLimit: -1}
	count([]byte("anon 104857600\nfile 209715200\nkernel_stack 65536\ninactive_file 104857600\nactive_file 103809024\n"+
		"file_dirty 8192\npgfault 1234\npgmajfault 56\npswpin 7\npswpout 8\n"), m.v2)
	var old oldCounts
	count([]byte("pgfault 1\ntotal_pgfault 1234\ntotal_pgmajfault 56\n"), old.v1)
	if want := [...]int64{1234, 56, 0, 0}; old.Events != want {
		t.Errorf("v1 has %d", old.Events)
	}
	golden(t, "vmstat", VMStat(host(t, "vmstat"), host(t, "meminfo"), m,
		map[string]IO{"8:0": {ReadBytes: 4 << 20, WriteBytes: 8 << 20}, "8:16": {ReadBytes: 1 << 20}}))
}

func TestSwaps(t *testing.T) {
	for name, m := range map[string]Memory{
		"swaps": {SwapLimit: 512 << 20, SwapUsed: 1 << 20}, "swaps-none": {SwapLimit: 0},
	} {
		golden(t, name, Swaps(host(t, "meminfo"), m))
	}
}

func TestStat(t *testing.T) {
	shown := Set{0, 2}
	tm := Times{Up: 100 * time.Second, User: 30 * time.Second, System: 10 * time.Second}
	tm.Idle = tm.idle(len(shown), 0)
	boot := time.Unix(1700000000, 0)
	golden(t, "stat", Stat(shown, tm, boot, proc.Tasks{Running: 2, Blocked: 1, All: 9}))
	golden(t, "uptime", Uptime(Times{Up: 100*time.Second + 70*time.Millisecond, Idle: 12345 * time.Millisecond}))
	// What was told does not shrink, though the guest used more than it sees.
	if got := (Times{Up: time.Second, User: 9 * time.Second}).idle(2, 5*time.Second); got != 5*time.Second {
		t.Errorf("idle %v", got)
	}
}

func TestCPUInfo(t *testing.T) {
	golden(t, "cpuinfo", CPUInfo(host(t, "cpuinfo"), Set{1, 3}))
	if got := CPUInfo([]byte("x"), Set{0}); len(got) > 1 {
		t.Errorf("%q", got)
	}
	CPUInfo([]byte("\n\n\n\nprocessor\n"), nil)
}

func TestDiskstats(t *testing.T) {
	golden(t, "diskstats-v2", Diskstats(host(t, "diskstats"), ParseIO("254:0 rbytes=4096 wbytes=8192 rios=1 wios=2 dbytes=512 dios=1\n9:9 rbytes=1\n")))
	golden(t, "diskstats-v1", Diskstats(host(t, "diskstats"), ParseOldIO(
		"254:0 Read 4096\n254:0 Write 8192\n254:0 Sync 0\n254:0 Discard 512\n254:0 Total 12800\nTotal 12800\n",
		"254:0 Read 1\n254:0 Write 2\n254:0 Discard 1\n")))
}

// The load is that of the kernel's own arithmetic: with one task for ever it comes to
// 63 % after a minute, and to 1 in the end.
func TestLoad(t *testing.T) {
	var l Load
	for range 12 {
		l = l.Next(1)
	}
	if got := string(Loadavg(l, proc.Tasks{Running: 1, All: 7})); got != "0.63 0.18 0.06 1/7 1\n" {
		t.Errorf("after a minute: %q", got)
	}
	for range 2000 {
		l = l.Next(1)
	}
	if got := string(Loadavg(l, proc.Tasks{})); got != "1.00 1.00 1.00 1/1 1\n" {
		t.Errorf("in the end: %q", got)
	}
	for range 2000 {
		l = l.Next(0)
	}
	if l != (Load{}) {
		t.Errorf("idle for long: %v", l)
	}
}

func TestSet(t *testing.T) {
	for text, want := range map[string]string{"": "", "0\n": "0", "0-3,8": "0-3,8", "0,1,2,5": "0-2,5", "7,9-10": "7,9-10"} {
		if s, err := ParseSet(text); err != nil || s.String() != want {
			t.Errorf("%q: %q, %v", text, s, err)
		}
	}
	for _, text := range []string{"x", "-1", "3-1", "1,1", "0-99999999", "1,", "2,1"} {
		if s, err := ParseSet(text); err == nil {
			t.Errorf("%q: %v", text, s)
		}
	}
	all := Set{0, 1, 4, 5}
	for _, c := range []struct {
		share float64
		want  string
	}{{0, "0-1,4-5"}, {0.1, "0"}, {1, "0"}, {1.5, "0-1"}, {2.2, "0-1,4"}, {9, "0-1,4-5"}} {
		if got := Shown(all, c.share).String(); got != c.want {
			t.Errorf("%v: %s, want %s", c.share, got, c.want)
		}
	}
	if got := maskOf("ff,0000000f\n", Set{1, 2, 33}, false); got != "02,00000006\n" {
		t.Errorf("mask %q", got)
	}
	if got := maskOf("0-7\n", Set{1, 2, 33}, true); got != "1-2\n" {
		t.Errorf("list %q", got)
	}
}

func TestBinds(t *testing.T) {
	var got []string
	for _, b := range Binds(guest.VirtMem|guest.VirtCPU, false) {
		got = append(got, b.Name+" "+b.Target)
	}
	want := "meminfo /proc/meminfo|swaps /proc/swaps|vmstat /proc/vmstat|stat /proc/stat|cpuinfo /proc/cpuinfo|diskstats /proc/diskstats|cpu /sys/devices/system/cpu|node /sys/devices/system/node|block /sys/block"
	if strings.Join(got, "|") != want {
		t.Errorf("%q", got)
	}
	if got := Binds(0, false); got != nil {
		t.Error(got)
	}
	if got := Binds(guest.VirtCPU, true); got[len(got)-1].Name != "node" {
		t.Errorf("with a disk of its own: %q", got)
	}
}

func FuzzTexts(f *testing.F) {
	f.Add([]byte("MemTotal: 1 kB\n"), "0-3", "8:0 rbytes=1")
	f.Fuzz(func(t *testing.T, a []byte, b, c string) {
		var of oldCounts
		count([]byte(c), of.v1)
		count([]byte(c), of.v2)
		Meminfo(a, Memory{Counts: of.Counts})
		s, _ := ParseSet(b)
		CPUInfo(a, s)
		maskOf(b, s, false)
		Diskstats(a, ParseIO(c))
		Diskstats(a, ParseOldIO(b, c))
	})
}
