package limit

import (
	"reflect"
	"testing"

	"vserver/guest"
)

func TestSettings(t *testing.T) {
	got := wanted(guest.Limits{Memory: 512 << 20, Swap: 128 << 20, CPUs: 1.5, Pids: 100})
	want := []setting{
		{"memory", "memory", "memory.max", "536870912", "memory.limit_in_bytes", "536870912", false},
		{"memory", "memory", "memory.swap.max", "134217728", memsw, "671088640", true},
		{"cpus", "cpu", "cpu.max", "150000 100000", "cpu.cfs_quota_us", "150000", false},
		{"pids", "pids", "pids.max", "100", "pids.max", "100", false},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %v", got)
	}
	set, lifted := settings(guest.Limits{})
	want = []setting{
		{"memory", "memory", "memory.max", "max", "memory.limit_in_bytes", "-1", false},
		{"memory", "memory", "memory.swap.max", "max", memsw, "-1", true},
		{"cpus", "cpu", "cpu.max", "max 100000", "cpu.cfs_quota_us", "-1", false},
		{"pids", "pids", "pids.max", "max", "pids.max", "max", false},
	}
	if set != nil || !reflect.DeepEqual(lifted, want) {
		t.Errorf("none: set %v, lifted %v", set, lifted)
	}
	for cpus, want := range map[float64]string{0.001: "1000 100000", 0.1: "10000 100000", 0.333333: "33333 100000", 64: "6400000 100000"} {
		if got := wanted(guest.Limits{CPUs: cpus})[0].value; got != want {
			t.Errorf("%v processors: %q, want %q", cpus, got, want)
		}
	}
}
