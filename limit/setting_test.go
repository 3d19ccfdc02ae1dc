package limit

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"vserver/guest"
)

// told writes settings as FILE=VALUE, those of v2 and those of v1, without what was not
// asked for.
func told(t *testing.T, l guest.Limits) (v2, v1 string) {
	t.Helper()
	all, err := settings(l)
	if err != nil {
		t.Fatal(err)
	}
	var a, b []string
	for _, s := range all.set {
		if s.v2.file != "" {
			a = append(a, s.v2.file+"="+s.v2.text+strings.Join(s.v2.lines, ";"))
		}
		b = append(b, s.v1.file+"="+s.v1.text+strings.Join(s.v1.lines, ";"))
	}
	return strings.Join(a, " "), strings.Join(b, " ")
}

// What is asked for becomes these values of files; nothing asked for, none.
func TestSettings(t *testing.T) {
	ms := func(n int) guest.Duration { return guest.Duration(time.Duration(n) * time.Millisecond) }
	for _, c := range []struct {
		l      guest.Limits
		v2, v1 string
	}{
		{guest.Limits{}, "", ""},
		{guest.Limits{Memory: 512 << 20, Swap: 128 << 20, Pids: 100},
			"memory.max=536870912 memory.swap.max=134217728 pids.max=100", "memory.limit_in_bytes=536870912 " + memsw + "=671088640 memory.kmem.tcp.limit_in_bytes=536870912 pids.max=100"},
		{guest.Limits{CPUs: 1.5}, "cpu.max=150000 100000", "cpu.cfs_period_us=100000 cpu.cfs_quota_us=150000"},
		{guest.Limits{CPUs: 0.001}, "cpu.max=1000 100000", "cpu.cfs_period_us=100000 cpu.cfs_quota_us=1000"},
		{guest.Limits{CPUs: 0.5, CPUBurst: ms(20)}, "cpu.max=50000 100000 cpu.max.burst=20000",
			"cpu.cfs_period_us=100000 cpu.cfs_quota_us=50000 cpu.cfs_burst_us=20000"},
		{guest.Limits{TokenBucket: guest.TokenBucket{FillRate: 1, Interval: 4, TokensMin: 15, TokensMax: 500}}, "cpu.max=15000 60000 cpu.max.burst=15000",
			"cpu.cfs_period_us=60000 cpu.cfs_quota_us=15000 cpu.cfs_burst_us=15000"},
		{guest.Limits{TokenBucket: guest.TokenBucket{FillRate: 1, Interval: 4}}, "cpu.max=25000 100000", "cpu.cfs_period_us=100000 cpu.cfs_quota_us=25000"},
		{guest.Limits{TokenBucket: guest.TokenBucket{FillRate: 1, Interval: 4, TokensMin: 400, PerCPU: true}, CPUSet: "0-2,1"},
			"cpu.max=750000 1000000 cpuset.cpus=0-2,1", "cpu.cfs_period_us=1000000 cpu.cfs_quota_us=750000 cpuset.cpus=0-2,1"},
		{guest.Limits{TokenBucket: guest.TokenBucket{FillRate: 1, Interval: 4, IdleTime: true}}, "", ""}, // a weight: see package share
		{guest.Limits{CPUReserved: 25, CPUShares: 50}, "", ""},
		{guest.Limits{CPUShares: 200}, "cpu.weight=200", "cpu.shares=2048"},
		{guest.Limits{CPUIdle: true}, "cpu.idle=1", "cpu.idle=1"},
		{guest.Limits{MemorySoft: 8192, MemoryReserved: 4096, OOMGroup: true}, "memory.high=8192 memory.min=4096 memory.oom.group=1",
			"memory.soft_limit_in_bytes=8192 = ="},
		{guest.Limits{HugePages: map[string]guest.Bytes{"2M": 64 << 20}}, "hugetlb.2MB.max=67108864 hugetlb.2MB.rsvd.max=67108864",
			"hugetlb.2MB.limit_in_bytes=67108864 hugetlb.2MB.rsvd.limit_in_bytes=67108864"},
	} {
		if v2, v1 := told(t, c.l); v2 != c.v2 || v1 != c.v1 {
			t.Errorf("%+v:\n v2 %s\nwant %s\n v1 %s\nwant %s", c.l, v2, c.v2, v1, c.v1)
		}
	}
}

// Each setting is either set or lifted, whatever is asked for, so that none is left over
// from before.
func TestAllLifted(t *testing.T) {
	files := func(list ...setting) map[string]bool {
		out := map[string]bool{}
		for _, s := range list {
			out[s.v2.file+" "+s.v1.file] = true
		}
		return out
	}
	none, err := settings(guest.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range []guest.Limits{{CPUs: 1, CPUBurst: 1000}, {Memory: 1 << 20}, {CPUSet: "0", Mems: "0", CPUShares: 5}, {Zswap: 5, OOMGroup: true}} {
		some, err := settings(l)
		if err != nil {
			t.Fatal(err)
		}
		if got, want := files(slices.Concat(some.set, some.lifted)...), files(none.lifted...); !maps.Equal(got, want) {
			t.Errorf("%+v: %v, want %v", l, got, want)
		}
	}
}

func TestWrites(t *testing.T) {
	lines := value{lines: []string{"8:0 rbps=1 wbps=max", "9:0 rbps=2 wbps=max"}, clear: "rbps=max wbps=max", byLine: true}
	for _, c := range []struct {
		v    value
		now  string
		want []write
	}{
		{value{text: "100"}, "100", nil},
		{value{text: "100"}, "max", []write{{"100", "max"}}},
		{value{text: "-1"}, "9223372036854771712", nil},
		{lines, "", []write{{"8:0 rbps=1 wbps=max", "8:0 rbps=max wbps=max"}, {"9:0 rbps=2 wbps=max", "9:0 rbps=max wbps=max"}}},
		{lines, "9:0 rbps=2 wbps=max\n7:0 rbps=9 wbps=9\n8:0 rbps=5 wbps=max",
			[]write{{"7:0 rbps=max wbps=max", "7:0 rbps=9 wbps=9"}, {"8:0 rbps=1 wbps=max", "8:0 rbps=5 wbps=max"}}},
	} {
		if got := c.v.writes(c.now); !slices.Equal(got, c.want) {
			t.Errorf("%+v, now %q: %q, want %q", c.v, c.now, got, c.want)
		}
	}
}
