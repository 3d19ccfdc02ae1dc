package limit

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"vserver/guest"
)

// pidsFile gives where the guest's pids.max is.
func pidsFile(g *ground) (path string, v1 bool, err error) {
	trees, err := g.host.Legacy("pids")
	if err == nil && len(trees) == 1 {
		return filepath.Join(trees[0].Mount, g.path, "pids.max"), true, nil
	}
	return filepath.Join(g.g.Path(), "pids.max"), false, err
}

func (g *ground) pidsMax() string {
	g.Helper()
	path, _, err := pidsFile(g)
	if err != nil {
		g.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		g.Fatal(err)
	}
	return strings.TrimSpace(string(text))
}

// The ceiling of processes holds, wherever its controller is.
func TestPidsHold(t *testing.T) {
	g := newGround(t)
	out := filepath.Join(t.TempDir(), "out")
	cmd, open := g.start("for i in $(seq 40); do sleep 100 & done 2>/dev/null; echo all > " + out)
	g.apply(guest.Limits{Pids: 20}, cmd.Process.Pid)
	open()
	most := 0
	for range 60 {
		if pids, err := g.g.Procs(); err == nil {
			most = max(most, len(pids))
		}
		time.Sleep(5 * time.Millisecond)
	}
	if _, err := os.Stat(out); err == nil || most > 20 || most < 10 {
		t.Errorf("%d processes at once with a limit of 20; all were made: %v", most, err == nil)
	}
}

// Processor time is bounded: a quarter of a processor, measured over a second.
func TestCPUsHold(t *testing.T) {
	g := newGround(t)
	cmd, open := g.start("while :; do :; done")
	g.apply(guest.Limits{CPUs: 0.25}, cmd.Process.Pid)
	open()
	used := func() time.Duration {
		text, err := g.g.Read("cpu.stat")
		if err != nil {
			t.Fatal(err)
		}
		n, _ := strconv.Atoi(strings.Fields(text)[1]) // usage_usec
		return time.Duration(n) * time.Microsecond
	}
	time.Sleep(200 * time.Millisecond)
	from, begin := used(), time.Now()
	time.Sleep(time.Second)
	if share := float64(used()-from) / float64(time.Since(begin)); share > 0.35 || share < 0.05 {
		t.Errorf("used %.2f of a processor, wanted 0.25", share)
	}
}

// Out of memory is met by the guest that uses it up, and by nobody else.
func TestMemoryHolds(t *testing.T) {
	g := newGround(t)
	// tail keeps all of a file without newlines in memory. It is the only process of
	// the guest: one that takes long to die on a slow machine makes the kernel look for
	// another victim.
	cmd, open := g.start("exec tail /dev/zero")
	neighbour := exec.Command("sleep", "100")
	if err := neighbour.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { neighbour.Process.Kill(); neighbour.Wait() }()
	g.apply(guest.Limits{Memory: 32 << 20}, cmd.Process.Pid)
	open()
	<-g.ended
	if state := cmd.ProcessState.Sys().(syscall.WaitStatus); state.Signal() != syscall.SIGKILL {
		t.Errorf("the eater: %v, wanted a kill", cmd.ProcessState)
	}
	if err := syscall.Kill(neighbour.Process.Pid, 0); err != nil {
		t.Errorf("a process outside: %v", err)
	}
}
