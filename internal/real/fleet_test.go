package real_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"vserver/internal/need"
)

// fleet is how many guests TestFleet has: some ten processes of the 32768 that a
// machine may have are each guest's.
const fleet = 300

// TestFleet has hundreds of guests at once, each with the host's own programs.
func TestFleet(t *testing.T) {
	need.Long(t)
	w := newWorld(t)
	names := make([]string, fleet)
	for i := range names {
		names[i] = fmt.Sprintf("g%03d", i)
	}
	w.do(t, "build", names[0], "-m", "host", "--network", "none", "--init", "command", "--command", "/bin/sleep", "--command", "infinity", "--pids", "20")
	stage := func(what string, do func()) {
		t.Helper()
		began := time.Now()
		do()
		t.Logf("%s: %d ms, %.1f ms each", what, time.Since(began).Milliseconds(), float64(time.Since(began).Microseconds())/1000/fleet)
	}
	stage("build", func() {
		w.each(t, names[1:], func(n string) []string {
			return []string{"build", n, "-m", "host", "--network", "none", "--init", "command", "--command", "/bin/sleep", "--command", "infinity", "--pids", "20"}
		})
	})
	stage("start", func() { w.do(t, "start", "--all") })
	stage("list", func() {
		var list []struct {
			Name, State string
			Processes   int
		}
		if err := json.Unmarshal([]byte(w.do(t, "list", "--json")), &list); err != nil || len(list) != fleet {
			t.Fatalf("list: %d guests, %v", len(list), err)
		}
		for _, g := range list {
			if g.State != "running" {
				t.Errorf("%s: %s", g.Name, g.State)
			}
		}
	})
	stage("exec", func() {
		w.each(t, names, func(n string) []string { return []string{"exec", n, "sh", "-c", "test $(hostname) = " + n} })
	})
	stage("stop", func() { w.do(t, "stop", "--all") })
	if out := w.do(t, "list"); strings.Count(out, " stopped ") != fleet {
		t.Errorf("after the stop:\n%s", out)
	}
	stage("delete", func() { w.do(t, append([]string{"delete", "--yes"}, names...)...) })
}

// each runs the program for each of the names, a few at a time.
func (w *world) each(t *testing.T, names []string, args func(string) []string) {
	t.Helper()
	next := make(chan string)
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for n := range next {
				if r := w.run(args(n)...); r.code != 0 {
					t.Errorf("vserver %q: exit code %d: %s%s", args(n), r.code, r.out, r.err)
				}
			}
		})
	}
	for _, n := range names {
		if !t.Failed() {
			next <- n
		}
	}
	close(next)
	all.Wait()
	if t.Failed() {
		t.FailNow()
	}
}

// TestNeighbour has a guest that forks without end beside one that works: the good one
// goes on working, and the bad one can be seen, entered and stopped.
func TestNeighbour(t *testing.T) {
	w := newWorld(t)
	for _, n := range []string{"good", "bad"} {
		w.do(t, "build", n, "-m", "host", "--network", "none", "--init", "command", "--command", "/bin/sleep", "--command", "infinity", "--pids", "300", "--stop-timeout", "2s")
	}
	w.do(t, "start", "good", "bad")
	w.do(t, "exec", "bad", "sh", "-c", `exec >/dev/null 2>&1; bomb() { bomb | bomb & }; bomb &`)
	end := time.Now().Add(5 * time.Second)
	turns := 0
	for ; time.Now().Before(end); turns++ {
		if out := w.sh(t, "good", "i=0; while [ $i -lt 50 ]; do /bin/true; i=$((i+1)); done; hostname"); out != "good" {
			t.Fatalf("says %q", out)
		}
	}
	t.Logf("the good guest forked %d times meanwhile", 50*turns)
	if turns == 0 { // how many depends on what else the machine has to do
		t.Error("the good guest got through nothing")
	}
	if r := w.run("list"); r.code != 0 || strings.Count(r.out, "running") != 2 {
		t.Errorf("list: %s%s", r.out, r.err)
	}
	began := time.Now()
	w.do(t, "stop", "bad")
	if took := time.Since(began); took > 20*time.Second {
		t.Errorf("the stop of the bad guest took %v", took)
	}
	if out := w.sh(t, "good", "hostname"); out != "good" {
		t.Errorf("says %q", out)
	}
}
