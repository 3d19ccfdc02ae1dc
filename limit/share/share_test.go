package share

import (
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"vserver/fault"
	"vserver/guest"
	"vserver/internal/need"
	"vserver/kernel/cgroup"
	"vserver/limit"
)

func TestMain(m *testing.M) { need.Main(m) }

// parts gives what each claim gets of the whole when all are busy, in percent.
func parts(claims []Claim, cpus int) string {
	weights, sum := Weights(claims, cpus), 0.0
	for _, w := range weights {
		sum += w
	}
	var out []string
	for _, w := range weights {
		out = append(out, strconv.FormatFloat(math.Round(1000*w/sum)/10, 'f', -1, 64))
	}
	return strings.Join(out, " ")
}

func TestWeights(t *testing.T) {
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
		for _, w := range Weights(c.claims, c.cpus) {
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
	for key, c := range map[string]Claim{"limits.cpu_reserved": claim(101, 0), "limits.memory_reserved": claim(0, 101)} {
		if hint := fault.HintOf(Overbooked([]Claim{c}, 100)); !strings.Contains(hint, key) {
			t.Errorf("hint: %s, wanted one with %s", hint, key)
		}
	}
}

// world is groups of guests right below one, on this host.
type world struct {
	testing.TB
	host   cgroup.Host
	parent string
	claims []Claim
}

// one is a guest with two processes.
func (w *world) one(l guest.Limits) *cgroup.Group {
	w.Helper()
	path := fmt.Sprintf("%s/web%d", w.parent, len(w.claims)+1)
	g, err := w.host.Create(path)
	if err != nil {
		w.Fatal(err)
	}
	p, joins, err := limit.Prepare(w.host, path, l)
	if err == nil {
		err = p.Apply()
	}
	cmd := exec.Command("sh", "-c", "read go; sleep 100 & sleep 100")
	cmd.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: g.FD()}
	in, e := cmd.StdinPipe()
	if err = errors.Join(err, e); err == nil {
		err = cmd.Start()
	}
	if err != nil {
		w.Fatal(err)
	}
	w.Cleanup(func() {
		g.Kill()
		cmd.Wait()
		g.WaitEmpty(w.Context())
		g.Close()
		if err := limit.Remove(w.host, path); err != nil {
			w.Error(err)
		}
	})
	for _, fd := range joins {
		if _, err := syscall.Write(fd, []byte(strconv.Itoa(cmd.Process.Pid))); err != nil {
			w.Fatal(err)
		}
	}
	limit.CloseJoins(joins)
	in.Write([]byte("go\n"))
	for n := 0; n < 2; time.Sleep(time.Millisecond) {
		pids, err := g.Procs()
		if err != nil {
			w.Fatal(err)
		}
		n = len(pids)
	}
	w.claims = append(w.claims, Claim{path, l})
	return g
}

// legacy is the guest's group of the controller cpu of v1; "" where that is with v2.
func (w *world) legacy(g *cgroup.Group) string {
	w.Helper()
	trees, err := w.host.Legacy("cpu")
	if err != nil {
		w.Fatal(err)
	}
	if len(trees) == 0 {
		return ""
	}
	return filepath.Join(trees[0].Mount, w.parent, filepath.Base(g.Path()))
}

// expect holds a guest's weight, and that all its processes have it.
func (w *world) expect(g *cgroup.Group, weight int) {
	w.Helper()
	file, want := g.Path()+"/cpu.weight", weight
	if old := w.legacy(g); old != "" {
		file, want = old+"/cpu.shares", weight*1024/100
		there, err := os.ReadFile(old + "/cgroup.procs")
		if pids, e := g.Procs(); errors.Join(err, e) != nil || len(strings.Fields(string(there))) != len(pids) {
			w.Errorf("weighed are %q of %v: %v", there, pids, errors.Join(err, e))
		}
	}
	if text, err := os.ReadFile(file); err != nil || strings.TrimSpace(string(text)) != strconv.Itoa(want) {
		w.Errorf("%s: %q, %v, want %d", file, text, err, want)
	}
}

// A guest with a reservation, one with shares and one that asks for nothing are all
// weighed, on both kinds of host, and weighed again when one has gone.
func TestBalance(t *testing.T) {
	need.Root(t)
	need.Cgroup2(t)
	host, err := cgroup.Find()
	if err != nil {
		t.Fatal(err)
	}
	w := &world{TB: t, host: host, parent: need.Dirs(t).Cgroup}
	t.Cleanup(func() {
		if err := host.Remove(w.parent); err != nil {
			t.Error(err)
		}
	})
	nothing, shares, reserved := w.one(guest.Limits{}), w.one(guest.Limits{CPUShares: 200}), w.one(guest.Limits{CPUReserved: 25})
	for range 2 {
		if err := Balance(host, w.parent, w.claims); err != nil {
			t.Fatal(err)
		}
		w.expect(nothing, 100)
		w.expect(shares, 200)
		w.expect(reserved, 100)
	}
	w.claims[2].Limits.CPUReserved = 50
	if err := Balance(host, w.parent, w.claims); err != nil {
		t.Fatal(err)
	}
	w.expect(reserved, 300)
	// One that has gone is no matter, and nothing is made for it.
	nothing.Kill()
	nothing.WaitEmpty(t.Context())
	if err := limit.Remove(host, w.claims[0].Path); err != nil {
		t.Fatal(err)
	}
	if err := Balance(host, w.parent, w.claims); err != nil {
		t.Fatal(err)
	}
	if old := w.legacy(nothing); old != "" {
		if _, err := os.Stat(old); err == nil {
			t.Error("a group for a guest that has gone")
		}
	}
}
