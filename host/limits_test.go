package host

import (
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"vserver/fault"
	"vserver/guest"
	"vserver/host/state"
	"vserver/internal/need"
	"vserver/kernel/cgroup"
)

// limited makes a guest of these limits and starts it.
func (w *world) limited(n guest.Name, l guest.Limits) {
	w.t.Helper()
	w.guest(n, func(s *guest.Spec) { s.Limits = l })
	w.start(n)
}

// forks runs a script in the guest that makes processes and leaves them: a bomb that,
// should no ceiling hold it, ends before the host does. The shell gives up when it
// cannot fork.
func (w *world) forks(n guest.Name, count int, before string) {
	w.t.Helper()
	w.Exec(w.t.Context(), n, Command{Args: []string{"/bin/sh", "-c",
		fmt.Sprintf("exec >/dev/null 2>&1; %s i=0; while [ $i -lt %d ]; do sleep 1000 & i=$((i+1)); done", before, count)}})
}

// members is how many processes the guest has.
func (w *world) members(n guest.Name) int {
	w.t.Helper()
	ps, err := w.Processes(n)
	if err != nil {
		w.t.Fatal(err)
	}
	return len(ps)
}

// ceiling gives the limits of a guest with a ceiling for its processes, and the number:
// the default, where it is held by the user namespace, and else a small one, which is
// held by the controller pids in the same way.
func (w *world) ceiling() (guest.Limits, int) {
	cg, err := cgroup.Find()
	if err != nil {
		w.t.Fatal(err)
	}
	on, err := cg.Controllers()
	if err != nil {
		w.t.Fatal(err)
	}
	if slices.Contains(on, "pids") {
		return guest.Limits{Pids: 300}, 300
	}
	return guest.Limits{}, guest.DefaultPids
}

// A guest that forks without end meets its ceiling, on hosts with the controller pids
// and without; its neighbour and the host do not feel it; and it is stopped all the
// same.
func TestForkBomb(t *testing.T) {
	t.Run("default", func(t *testing.T) {
		w := newWorld(t)
		l, ceiling := w.ceiling()
		w.bomb(l, ceiling)
	})
	t.Run("set", func(t *testing.T) { newWorld(t).bomb(guest.Limits{Pids: 100}, 100) })
}

func (w *world) bomb(l guest.Limits, ceiling int) {
	w.limited("bomb", l)
	w.limited("good", guest.Limits{})
	for range 2 {
		w.forks("bomb", ceiling+200, "")
	}
	got := w.members("bomb")
	if got > ceiling || got < ceiling*9/10 {
		w.t.Errorf("%d processes in the bomb, ceiling %d", got, ceiling)
	}
	w.harmless("good")
	begin := time.Now()
	if err := w.Stop(w.t.Context(), "bomb", StopOptions{Timeout: time.Second}); err != nil {
		w.t.Error(err)
	}
	w.t.Logf("%d processes, stopped in %v", got, time.Since(begin))
	w.nothing("bomb")
}

// harmless holds that the host and a guest can still work.
func (w *world) harmless(n guest.Name) {
	w.t.Helper()
	var slowest time.Duration
	for range 20 {
		begin := time.Now()
		if err := exec.Command("true").Run(); err != nil {
			w.t.Error(err)
		}
		slowest = max(slowest, time.Since(begin))
	}
	if slowest > 10*time.Second {
		w.t.Errorf("the host took %v for nothing", slowest)
	}
	if out, code := w.sh(n, "for i in 1 2 3 4 5 6 7 8 9; do sleep 0 & done; wait"); code != 0 {
		w.t.Errorf("the neighbour: exit code %d, %s", code, out)
	}
}

// Guest root, with all the rights that it has in its namespaces, cannot lift the
// ceiling of processes, nor those of its groups; nor can many users together.
func TestCeilingsHoldAgainstGuestRoot(t *testing.T) {
	w := newWorld(t)
	l, ceiling := w.ceiling()
	w.limited("bomb", l)
	w.sh("bomb", "ulimit -Hu 99999; ulimit -u 99999; cd /sys/fs/cgroup;"+
		" for f in pids.max cgroup.max.depth cgroup.max.descendants; do echo max > $f; done")
	for range 3 {
		w.forks("bomb", ceiling/2+200, "ulimit -u $(ulimit -Hu);")
	}
	if got := w.members("bomb"); got > ceiling || got < ceiling*9/10 {
		t.Errorf("%d processes", got)
	}
	cg, err := cgroup.Find()
	if err != nil {
		t.Fatal(err)
	}
	g, err := cg.Open(w.Dirs.Group("bomb"))
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	for _, file := range []string{"cgroup.max.depth", "cgroup.max.descendants"} {
		if text, err := g.Read(file); err != nil || text == "max" {
			t.Errorf("%s: %s, %v", file, text, err)
		}
	}
}

// The ceiling of a user namespace is none for guests without one: they get a group.
func TestCeilingWithoutUserNamespace(t *testing.T) {
	w := newWorld(t)
	w.start(w.guest("web1", func(s *guest.Spec) { s.Userns = guest.UsernsNone }))
	cg, err := cgroup.Find()
	if err != nil {
		t.Fatal(err)
	}
	trees, err := cg.Legacy("pids")
	if err != nil {
		t.Fatal(err)
	}
	g, err := append(trees, cg.Unified)[0].Open(w.Dirs.Group("web1"))
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	if text, err := g.Read("pids.max"); err != nil || text != strconv.Itoa(guest.DefaultPids) {
		t.Errorf("pids.max %s, %v", text, err)
	}
	if pids, err := g.Procs(); err != nil || len(pids) == 0 {
		t.Errorf("processes %v, %v", pids, err)
	}
}

// Without a user namespace the guest's root owns the files of its limits, also of those that
// come while it runs. It cannot write to them, whoever mounted the groups.
func TestOwnLimits(t *testing.T) {
	need.VM(t)
	for _, how := range []string{"nsdelegate", ""} {
		t.Run(how, func(t *testing.T) {
			if err := unix.Mount("", "/sys/fs/cgroup", "", unix.MS_REMOUNT, how); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { unix.Mount("", "/sys/fs/cgroup", "", unix.MS_REMOUNT, "nsdelegate") })
			w := newWorld(t)
			w.start(w.guest("web1", func(s *guest.Spec) { s.Userns = guest.UsernsNone }))
			w.limited("web2", guest.Limits{CPUs: 1, CPUSet: "0", Memory: 64 << 20})
			if _, err := w.Set("web1", []string{"limits.cpus=0.5", "limits.memory=32MiB", "limits.cpuset=0"}); err != nil {
				t.Fatal(err)
			}
			for file, want := range map[string]string{"cpu.max": "50000 100000", "memory.max": "33554432", "cpuset.cpus": "0"} {
				w.tries("web1", "+grep -qx '"+want+"' /sys/fs/cgroup/"+file, "-echo "+want+" > /sys/fs/cgroup/"+file)
			}
		})
	}
}

// A process that enters a guest is held by the guest's limits, wherever their
// controllers are.
func TestEnteringIsLimited(t *testing.T) {
	w := newWorld(t)
	w.limited("web1", guest.Limits{Memory: 64 << 20, CPUs: 1.5, Pids: 50})
	out, code := w.sh("web1", "echo $$; sleep 1000 >/dev/null 2>&1 & exec sleep 0")
	if code != 0 {
		t.Fatalf("exit code %d: %s", code, out)
	}
	cg, err := cgroup.Find()
	if err != nil {
		t.Fatal(err)
	}
	ps, err := w.Processes("web1")
	if err != nil || len(ps) < 2 {
		t.Fatalf("processes %v, %v", ps, err)
	}
	for _, controller := range []string{"memory", "cpu", "pids"} {
		trees, err := cg.Legacy(controller)
		if err != nil {
			t.Fatal(err)
		}
		tree := cg.Unified
		if len(trees) > 0 {
			tree = trees[0]
		}
		g, err := tree.Open(w.Dirs.Group("web1"))
		if err != nil {
			t.Fatal(err)
		}
		inside, err := g.Procs()
		g.Close()
		for _, p := range ps {
			if err != nil || !slices.Contains(inside, p.PID) {
				t.Errorf("%s: process %d is not in %v, %v", controller, p.Inner, inside, err)
			}
		}
	}
}

// Who gets no further process is told which limit it is.
func TestLimitOfProcessesIsNamed(t *testing.T) {
	w := newWorld(t)
	w.limited("web1", guest.Limits{Pids: 2})
	for w.members("web1") < 2 { // the reaper has begun the command
		time.Sleep(time.Millisecond)
	}
	_, err := w.Exec(t.Context(), "web1", Command{Args: []string{"/bin/true"}})
	if !errors.Is(err, syscall.EAGAIN) || !strings.Contains(fault.HintOf(err), "limits.pids is 2") {
		t.Errorf("error %v, hint %q", err, fault.HintOf(err))
	}
}

// Memory that a guest uses up is its own loss.
func TestGuestOutOfMemory(t *testing.T) {
	w := newWorld(t)
	w.limited("eater", guest.Limits{Memory: 48 << 20})
	if out, code := w.sh("eater", "head -c 300000000 /dev/zero | tail >/dev/null; exit $?"); code != 128+int(syscall.SIGKILL) {
		t.Errorf("the eater ended with %d: %s", code, out)
	}
	if st, err := w.Status("eater"); err != nil || st.State != guest.Running || st.OOMKills == 0 {
		t.Errorf("afterwards %v, %d killed, %v", st.State, st.OOMKills, err)
	}
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		text, err := w.program("", "logs", "eater")
		if err == nil && strings.Contains(string(text), "for want of memory") {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("the guest's log says %q, %v", text, err)
		}
	}
	all, err := w.Usage()
	if err != nil || len(all) != 2 || all[1].Memory <= 0 || all[1].Memory > 48<<20 {
		t.Errorf("usage %+v, %v", all, err)
	}
}

// A guest that was started with limits sees its own groups as the topmost, be they of v1
// (proc_pid_cgroup(5)), and so does what enters it.
func TestGroupsSeen(t *testing.T) {
	w := newWorld(t)
	w.limited("web1", guest.Limits{Memory: 64 << 20, CPUs: 1, Pids: 50})
	for _, file := range []string{"/proc/self/cgroup", "/proc/1/cgroup"} {
		out, code := w.sh("web1", "cat "+file)
		for line := range strings.Lines(out) {
			if !strings.HasSuffix(line, ":/\n") || code != 0 {
				t.Errorf("%s: %q, %d", file, line, code)
			}
		}
	}
}

// What the kernel keeps for a guest's sockets is no more than its memory, where one pool is for
// all (net.ipv4.tcp_mem): cgroup v1 counts it apart.
func TestSocketMemory(t *testing.T) {
	w := newWorld(t)
	w.instances()
	w.limited("web1", guest.Limits{Memory: 48 << 20})
	queued := func() (mib int) {
		t.Helper()
		out, code := w.sh("web1", instances+" queue")
		if code == 128+int(syscall.SIGKILL) {
			return 0 // v2 has it in memory.max
		}
		if _, err := fmt.Sscan(out, &mib); err != nil { // with the pool empty, which a small machine's is soon, it ends early
			t.Fatalf("%q %v", out, err)
		}
		return mib
	}
	if got := queued(); got > 80 {
		t.Errorf("%d MiB wait in sockets of a guest with 48", got)
	}
	w.set("web1", "limits.memory=")
	if got := queued(); got < 100 {
		t.Errorf("%d MiB wait in sockets of a guest without a limit", got)
	}
}

// Limits are changed while the guest runs, or the change says what has to wait.
func TestLimitsOfRunningGuest(t *testing.T) {
	w := newWorld(t)
	w.limited("web1", guest.Limits{})
	set := func(changes ...string) (wait []string) {
		t.Helper()
		c, err := w.Set("web1", changes)
		if err != nil {
			t.Fatal(err)
		}
		return c.Restart
	}
	if wait := set("limits.pids=20"); len(wait) > 0 {
		t.Errorf("wait %v", wait)
	}
	w.forks("web1", 100, "")
	if got := w.members("web1"); got > 20 || got < 15 {
		t.Errorf("%d processes, ceiling 20", got)
	}
	was, err := state.ReadNote(w.Dirs, "web1")
	if err != nil {
		t.Fatal(err)
	}
	wait := set("limits.pids=5000", "limits.memory=64M")
	if got, want := slices.Contains(wait, "limits.pids"), was.Nproc > 0; got != want {
		t.Errorf("waits for a restart: %v, with a ceiling of %d from the start", wait, was.Nproc)
	}
	w.forks("web1", 100, "")
	if got := w.members("web1"); got < 100 {
		t.Errorf("%d processes after the ceiling was raised", got)
	}
	if wait := set("limits.pids="+strconv.Itoa(guest.DefaultPids), "limits.memory="); len(wait) > 0 {
		t.Errorf("wait %v", wait)
	}
	if out, code := w.sh("web1", "head -c 100000000 /dev/zero | tail | wc -c"); code != 0 || strings.TrimSpace(out) != "100000000" {
		t.Errorf("after the limit was lifted: %s, exit code %d", out, code)
	}
}
