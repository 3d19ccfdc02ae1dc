package cli

import (
	"strings"
	"testing"

	"vserver/guest"
	"vserver/host"
)

// Limits and how often they were hit are told in words, of pools and of rates.
func TestPoolLines(t *testing.T) {
	n := func(n uint64) *uint64 { return &n }
	got := strings.Join(poolLines([]guest.Pool{
		{Name: "pids", Used: 4, Max: 96, Hits: n(0)}, {Name: "pids", Used: 48, Max: 96, Hits: n(0)}, {Name: "memory", Used: 20 << 20, Max: 512 << 20, Hits: n(3)},
		{Name: "cpu", Max: 100000, Hits: n(1)}, {Name: "cgroups", Used: 2, Max: 2048}, {Name: "cgroups", Used: 2000, Max: 2048}, {Name: "swap", Hits: n(7)},
	}), "\n")
	want := "pids 48 of 96, never hit\nmemory 20M of 512M, hit 3 times\ncpu, hit once\ncgroups 2000 of 2048\nswap 0, hit 7 times"
	if got != want {
		t.Errorf("%s\nwant %s", got, want)
	}
}

// The table has the hits where there is room, and sorts by them.
func TestTopHits(t *testing.T) {
	n := uint64(12)
	rows := []topRow{{Usage: host.Usage{XID: 8, Name: "calm"}}, {Usage: host.Usage{XID: 9, Name: "wild",
		Limits: []guest.Pool{{Name: "pids", Max: 5, Hits: &n}}}}}
	sortTop(rows, 'h', false)
	wide, narrow := topLines(rows, 80), topLines(rows, 60)
	if !strings.Contains(wide[0], " HITS ") || !strings.Contains(wide[1], "     12 ") || !strings.HasSuffix(wide[1], " wild") {
		t.Errorf("%q", wide)
	}
	if strings.Contains(narrow[0], "HITS") || len(narrow[1]) >= len(wide[1]) {
		t.Errorf("%q", narrow)
	}
}

// What is wrong with a guest that runs is said.
func TestStatusProblem(t *testing.T) {
	s := guest.Status{Name: "web1", XID: 8, State: guest.Running, Problem: "network: is shut"}
	if got := aTool(t).statusText(s); !strings.HasSuffix(got, "\nProblem:              network: is shut\n") {
		t.Error(got)
	}
}
