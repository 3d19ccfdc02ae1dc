package limit

import (
	"errors"
	"fmt"
	"math"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"vserver/guest"
)

// parts gives what each claim gets of the whole when all are busy, in percent.
func parts(claims []Claim, cpus int) string {
	weights, sum := Weigh(claims, cpus), 0.0
	for _, w := range weights {
		sum += w
	}
	var out []string
	for _, w := range weights {
		out = append(out, strconv.FormatFloat(math.Round(1000*w/sum)/10, 'f', -1, 64))
	}
	return strings.Join(out, " ")
}

func TestWeigh(t *testing.T) {
	s := func(shares int, reserved guest.Percent) Claim {
		return Claim{Limits: guest.Limits{CPUShares: shares, CPUReserved: reserved}}
	}
	bucket := func(per bool) Claim {
		return Claim{Limits: guest.Limits{TokenBucket: guest.TokenBucket{FillRate: 1, Interval: 4, IdleTime: true, PerCPU: per}}}
	}
	idle := Claim{Limits: guest.Limits{CPUIdle: true}}
	for _, c := range []struct {
		claims []Claim
		cpus   int
		want   string
	}{
		{[]Claim{s(0, 0)}, 1, "100"},
		{[]Claim{s(100, 0), s(200, 0), s(300, 0)}, 1, "16.7 33.3 50"},
		{[]Claim{s(100, 0), s(200, 0), s(300, 0), s(0, 25)}, 1, "12.5 25 37.5 25"},
		{[]Claim{s(100, 0), s(0, 25)}, 1, "50 50"},            // its share is more
		{[]Claim{s(300, 0), s(100, 25)}, 1, "75 25"},          // just as much
		{[]Claim{s(900, 0), s(0, 30), s(0, 8)}, 1, "62 30 8"}, // the second is pinned by the first
		{[]Claim{s(0, 60), s(0, 40), s(500, 0)}, 1, "59.9 40 0.1"},
		{[]Claim{s(0, 60), s(0, 40)}, 1, "60 40"},
		{[]Claim{bucket(false), s(0, 0)}, 1, "25 75"},
		{[]Claim{bucket(false), s(0, 0)}, 2, "12.5 87.5"},
		{[]Claim{bucket(true), s(0, 0)}, 2, "25 75"},
		{[]Claim{idle, s(0, 0), s(0, 0)}, 2, "0 50 50"},
		{[]Claim{s(10000, 0), s(0, 90)}, 1, "10 90"},
	} {
		if got := parts(c.claims, c.cpus); got != c.want {
			t.Errorf("%+v: %s, want %s", c.claims, got, c.want)
		}
		for _, w := range Weigh(c.claims, c.cpus) {
			if w != 0 && (w < 1 || w > 10000) {
				t.Errorf("%+v: weight %v", c.claims, w)
			}
		}
	}
}

func TestOverbooked(t *testing.T) {
	claim := func(p guest.Percent, m guest.Bytes) Claim {
		return Claim{Limits: guest.Limits{CPUReserved: p, MemoryReserved: m}}
	}
	for _, c := range []struct {
		claims []Claim
		bad    bool
	}{{nil, false}, {[]Claim{claim(60, 0), claim(40, 100)}, false}, {[]Claim{claim(60, 0), claim(41, 0)}, true}, {[]Claim{claim(0, 60), claim(0, 60)}, true}} {
		if err := Overbooked(c.claims, 100); (err != nil) != c.bad || err != nil && !errors.Is(err, guest.ErrBusy) {
			t.Errorf("%+v: %v", c.claims, err)
		}
	}
}

// A guest with a reservation, one with shares and one that asks for nothing are all
// weighed, on both kinds of host, and weighed again when one has gone.
func TestBalance(t *testing.T) {
	g := newGround(t)
	var claims []Claim
	one := func(l guest.Limits) *ground {
		other := *g
		other.path, other.ended = fmt.Sprintf("%s-%d", g.path, len(claims)), make(chan struct{})
		group, err := g.host.Create(other.path)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { group.Close() })
		other.g = group
		cmd, open := other.start("sleep 100 & sleep 100")
		other.apply(l, cmd.Process.Pid)
		open()
		for n := 0; n < 2; time.Sleep(time.Millisecond) {
			pids, err := group.Procs()
			if err != nil {
				t.Fatal(err)
			}
			n = len(pids)
		}
		claims = append(claims, Claim{other.path, l})
		return &other
	}
	nothing, shares, reserved := one(guest.Limits{}), one(guest.Limits{CPUShares: 200}), one(guest.Limits{CPUReserved: 25})
	expect := func(g *ground, weight int) {
		t.Helper()
		file, want := g.g.Path()+"/cpu.weight", weight
		if trees, err := g.host.Legacy("cpu"); err == nil && len(trees) == 1 {
			file, want = g.legacy("cpu")+"/cpu.shares", weight*1024/100
			g.sameProcesses("cpu")
		}
		if text, err := os.ReadFile(file); err != nil || strings.TrimSpace(string(text)) != strconv.Itoa(want) {
			t.Errorf("%s: %q, %v, want %d", file, text, err, want)
		}
	}
	parent := g.path[:strings.LastIndexByte(g.path, '/')]
	for range 2 {
		if err := Balance(g.host, parent, claims); err != nil {
			t.Fatal(err)
		}
		expect(nothing, 100)
		expect(shares, 200)
		expect(reserved, 100)
	}
	claims[2].Limits.CPUReserved = 50
	if err := Balance(g.host, parent, claims); err != nil {
		t.Fatal(err)
	}
	expect(reserved, 300)
	// One that has gone is no matter, and nothing is made for it.
	nothing.g.Kill()
	nothing.g.WaitEmpty(t.Context())
	if err := Remove(g.host, nothing.path); err != nil {
		t.Fatal(err)
	}
	if err := Balance(g.host, parent, claims); err != nil {
		t.Fatal(err)
	}
	if trees, _ := g.host.Legacy("cpu"); len(trees) == 1 {
		if _, err := os.Stat(nothing.legacy("cpu")); err == nil {
			t.Error("a group for a guest that has gone")
		}
	}
}
