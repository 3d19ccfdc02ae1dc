package apart

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"vserver/fault"
	"vserver/guest"
	"vserver/internal/need"
	"vserver/kernel/cgroup"
)

func TestMain(m *testing.M) { need.Main(m) }

// ground is a directory of notes whose control group is gone in the end.
func ground(t *testing.T) guest.Dirs {
	need.Root(t)
	need.Cgroup2(t)
	d := need.Dirs(t)
	t.Cleanup(func() {
		cg, err := cgroup.Find()
		if err == nil {
			err = cg.Unified.Prune(d.Cgroup)
		}
		if _, gone := os.Stat(filepath.Join(cg.Unified.Mount, d.Cgroup)); err != nil || gone == nil {
			t.Errorf("something is left: %v", err)
		}
	})
	return d
}

// begin starts a line of shell that waits for a word on its standard input first.
func begin(t *testing.T, g *Group, line string) (cmd *exec.Cmd, run func() error) {
	cmd = exec.Command("sh", "-c", "read go; "+line)
	in, err := cmd.StdinPipe()
	if err == nil {
		err = g.Start(cmd)
	}
	if err != nil {
		t.Fatal(err)
	}
	return cmd, func() error { in.Write([]byte("go\n")); return cmd.Wait() }
}

// groups are those of a process in the hierarchies that hold these limits, and whether we are in
// one of them, by any of our threads.
func groups(t *testing.T, pid int) (in map[string]bool) {
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/cgroup")
	if err != nil {
		t.Fatal(err)
	}
	in = map[string]bool{}
	for line := range strings.Lines(string(text)) {
		words := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if strings.Contains(words[2], prefix) {
			in[words[1]] = true
		}
	}
	return in
}

// Who is started is held by the limits, and we are not.
func TestBounds(t *testing.T) {
	d := ground(t)
	g, err := Make(d, guest.Limits{Memory: 16 << 20, MemoryReserved: 1 << 20, IO: guest.IO{Weight: 5}})
	if err != nil {
		t.Fatal(err)
	}
	small, start := begin(t, g, "exit 0")
	in := groups(t, small.Process.Pid)
	for _, controller := range []string{"memory", "pids"} {
		if trees, err := g.cg.Legacy(controller); err != nil || len(trees) > 0 && !in[controller] || !in[""] {
			t.Errorf("%s: it is in %v, %v", controller, in, err)
		}
	}
	if in := groups(t, os.Getpid()); len(in) > 0 {
		t.Errorf("we are in %v", in)
	}
	if err := start(); err != nil || g.Explain(nil) != nil {
		t.Error(err, g.Explain(nil))
	}
	broken := errors.New("broken")
	if err := g.Explain(broken); err != broken {
		t.Errorf("nobody was killed: %v", err)
	}
	if err := g.Bound(guest.Limits{Memory: 200 << 20}); err != nil {
		t.Fatal(err)
	}
	_, start = begin(t, g, "exec tail /dev/zero")
	if err := g.Explain(start()); err == nil || !strings.Contains(err.Error(), "for want of memory") || !strings.Contains(fault.HintOf(err), "limits.memory") {
		t.Errorf("out of memory: %v", err)
	}
	last, _ := begin(t, g, "sleep inf")
	if err := g.Leave(); err != nil {
		t.Error(err)
	}
	if err := last.Wait(); err == nil || !strings.Contains(err.Error(), "killed") {
		t.Errorf("who was left: %v", err)
	}
}

// What a maker that is dead left is swept, and nothing of others.
func TestSweep(t *testing.T) {
	d := ground(t)
	g, err := Make(d, guest.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	gone := exec.Command("true")
	if err := gone.Run(); err != nil {
		t.Fatal(err)
	}
	left := filepath.Join(d.Cgroup, prefix+strconv.Itoa(gone.Process.Pid)+".x")
	for _, path := range []string{left, filepath.Join(d.Cgroup, "web1")} {
		dir, err := g.cg.Create(path)
		if err != nil {
			t.Fatal(err)
		}
		dir.Close()
	}
	// Who hears nothing of the maker's end is still there.
	dir, err := g.cg.Open(left)
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	deaf := exec.Command("sleep", "inf")
	deaf.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: dir.FD()}
	if err := deaf.Start(); err != nil {
		t.Fatal(err)
	}
	swept, err := Sweep(d)
	deaf.Process.Kill() // of no effect when that did
	end := deaf.Wait()
	if !swept || err != nil {
		t.Fatalf("%t, %v; who was left: %v", swept, err, end)
	}
	list, err := os.ReadDir(filepath.Join(g.cg.Unified.Mount, d.Cgroup))
	var names []string
	for _, e := range list {
		if e.IsDir() {
			names = append(names, e.Name())
		}
	}
	if err != nil || len(names) != 2 || !strings.HasPrefix(names[0], prefix+strconv.Itoa(os.Getpid())+".") || names[1] != "web1" {
		t.Errorf("%q, %v", names, err)
	}
	if err := errors.Join(g.Leave(), g.cg.Remove(filepath.Join(d.Cgroup, "web1"))); err != nil {
		t.Error(err)
	}
}
