package freeze

import (
	"context"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"vserver/internal/need"
	"vserver/kernel/cgroup"
)

// heldVar has the test binary hold the group of this path, and wait for its end.
const heldVar = "FREEZE_TEST_HOLD"

func TestMain(m *testing.M) {
	if path := os.Getenv(heldVar); path != "" {
		g, err := open(path)
		if err == nil {
			_, err = Hold(g)
		}
		if err != nil {
			os.Stderr.WriteString(err.Error())
			os.Exit(1)
		}
		os.Stdout.WriteString("held")
		select {}
	}
	need.Main(m)
}

func open(path string) (*cgroup.Group, error) {
	cg, err := cgroup.Find()
	if err != nil {
		return nil, err
	}
	return cg.Open(path)
}

// group is a group with a process in it.
func group(t *testing.T) (path string, g *cgroup.Group) {
	t.Helper()
	need.Root(t)
	need.Cgroup2(t)
	cg, err := cgroup.Find()
	if err != nil {
		t.Fatal(err)
	}
	path = need.Dirs(t).Cgroup
	if g, err = cg.Create(path); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		g.Kill()
		g.WaitEmpty(context.Background())
		if err := g.Remove(); err != nil {
			t.Error(err)
		}
		g.Close()
	})
	c := exec.Command("sleep", "100")
	c.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: g.FD()}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Process.Kill(); c.Wait() })
	return path, g
}

func frozen(t *testing.T, g *cgroup.Group, want bool) {
	t.Helper()
	for range 500 {
		is, err := g.Frozen()
		if err != nil {
			t.Fatal(err)
		}
		if is == want {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Errorf("frozen is not %v", want)
}

func TestHold(t *testing.T) {
	_, g := group(t)
	release, err := Hold(g)
	if err != nil {
		t.Fatal(err)
	}
	frozen(t, g, true)
	again, err := Hold(g)
	if err != nil || again() != nil {
		t.Errorf("held again: %v", err)
	}
	frozen(t, g, true)
	if err := release(); err != nil {
		t.Error(err)
	}
	frozen(t, g, false)
}

// TestKilled: a group goes on though who held it was killed.
func TestKilled(t *testing.T) {
	path, g := group(t)
	c := exec.Command("/proc/self/exe")
	c.Env = append(os.Environ(), heldVar+"="+path)
	c.Stderr = os.Stderr
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	if n, err := out.Read(make([]byte, 4)); n != 4 {
		t.Error(n, err)
	}
	frozen(t, g, true)
	c.Process.Kill()
	c.Wait()
	frozen(t, g, false)
}
