package host

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"vserver/fault"
	"vserver/guest"
	"vserver/internal/need"
)

// What each process has is changed while the guest runs, of those that are there and of
// those that come, or nothing of it is.
func TestLimitsOfProcesses(t *testing.T) {
	w := newWorld(t)
	need.Resources(t)
	w.limited("web1", guest.Limits{Rlimits: map[string]guest.Rlimit{"nofile": {Soft: 100, Hard: 200}, "core": {Hard: 5000}}})
	w.must("web1", "ulimit -Sn 30; sleep 1000 </dev/null >/dev/null 2>&1 & echo $! >/own; (sleep 1000 </dev/null >/dev/null 2>&1 & echo $! >/other)")
	const look = `for p in 1 $(cat /own) $(cat /other) self; do
		awk '/Max open files/ { printf "%s:%s ", $4, $5 } /Max core file size/ { printf "%s:%s ", $5, $6 }' /proc/$p/limits
		echo $(awk '{ print $19 }' /proc/$p/stat) $(ionice -p $p 2>/dev/null || ionice) $(cat /proc/$p/oom_score_adj)
	done`
	has := func(want ...string) {
		t.Helper()
		out, _ := w.sh("web1", look)
		if got := strings.Split(strings.TrimSpace(out), "\n"); !slices.Equal(got, want) {
			t.Errorf("have\n%s\nwant\n%s", out, strings.Join(want, "\n"))
		}
	}
	has("0:5000 100:200 0 none: prio 0 0", "0:5000 30:200 0 none: prio 0 0", "0:5000 30:200 0 none: prio 0 0", "0:5000 100:200 0 none: prio 0 0")
	w.set("web1", "limits.rlimits.nofile=50:150", "limits.rlimits.core=100:8000", "limits.nice=5", "limits.ionice=idle", "limits.oom_score_adj=300")
	now := []string{"100:8000 50:150 5 idle 300", "100:8000 30:150 5 idle 300", "100:8000 30:150 5 idle 300", "100:8000 50:150 5 idle 300"}
	has(now...)
	_, err := w.Set("web1", []string{"limits.nice=3", "limits.rlimits.nofile=4000000000:4000000000", "limits.oom_score_adj=10"})
	if !errors.Is(err, guest.ErrUnsupported) || !strings.Contains(err.Error(), "limits.rlimits.nofile") {
		t.Errorf("more files than the kernel has: %v", err)
	}
	has(now...)
	if spec, err := w.Load("web1"); err != nil || spec.Limits.Nice != 5 || spec.Limits.Rlimits["nofile"].Hard != 150 {
		t.Errorf("%+v, %v", spec.Limits, err)
	}
	c, err := w.Set("web1", []string{"limits.rlimits.core=", "limits.nice=", "limits.ionice=", "limits.oom_score_adj="})
	if err != nil || !slices.Equal(c.Restart, []string{"limits.rlimits.core"}) {
		t.Errorf("waits for %v, %v", c.Restart, err)
	}
	for i, line := range now {
		now[i] = strings.Replace(line, "5 idle 300", "0 none: prio 0 0", 1)
	}
	has(now...)
}

// A limit with which the guest could not be started again is refused as long as it runs, and
// by what would stop it for that.
func TestRlimitsOfNextStart(t *testing.T) {
	w := newWorld(t)
	w.limited("web1", guest.Limits{})
	for _, change := range []string{"limits.rlimits.nofile=1:4000000000", "limits.rlimits.nofile=4000000000"} {
		_, err := w.Set("web1", []string{"limits.rlimits.core=5", change})
		if !errors.Is(err, guest.ErrUnsupported) || !strings.HasPrefix(fault.HintOf(err), "nearest: limits.rlimits.nofile=") {
			t.Errorf("%s: %v (%s)", change, err, fault.HintOf(err))
		}
	}
	if spec, err := w.Load("web1"); err != nil || len(spec.Limits.Rlimits) > 0 {
		t.Errorf("%v, %v", spec.Limits.Rlimits, err)
	}
	c, err := w.Set("web1", []string{"limits.rlimits.core=0"})
	out, _ := w.sh("web1", "awk '/Max core file size/ { print $6 }' /proc/1/limits")
	if err != nil || strings.TrimSpace(out) != "0" && !slices.Contains(c.Restart, "limits.rlimits.core") {
		t.Errorf("no core files: %s, waits for %v, %v", out, c.Restart, err)
	}
	n := w.guest("web2", func(s *guest.Spec) { s.Limits.Rlimits = map[string]guest.Rlimit{"nofile": {Soft: 1, Hard: 4e9}} })
	if _, err := w.Start(t.Context(), n, StartOptions{Output: t.Output()}); !errors.Is(err, guest.ErrUnsupported) {
		t.Errorf("start: %v", err)
	}
}

// A guest that shall be spared more than its host's own processes is refused with the
// reason, where root cannot have that.
func TestSparedGuest(t *testing.T) {
	w := newWorld(t)
	n := w.guest("web1", func(s *guest.Spec) { s.Limits.OOMScoreAdj = -500 })
	if _, err := w.Start(t.Context(), n, StartOptions{Output: t.Output()}); err != nil && fault.HintOf(err) == "" {
		t.Errorf("without a hint: %v", err)
	}
}
