package isolation_test

import (
	"os"
	"os/exec"
	"testing"
	"time"

	"vserver/guest"
	"vserver/host"
	"vserver/internal/need"
	"vserver/isolation"
)

// TestKilled kills the program in the middle of a run: somebody takes its guests away.
func TestKilled(t *testing.T) {
	need.Root(t)
	need.Cgroup2(t)
	root := need.TempDir(t)
	h := host.Open(guest.DefaultDirs(root))
	t.Cleanup(func() { clear(t, h) })
	c := exec.Command(need.Binary(t), "check", "--isolation", "--mode", "none")
	c.Env = append(os.Environ(), "VSERVER_ROOT="+root)
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() bool {
		st, err := h.Status(isolation.Victim)
		return err == nil && st.State == guest.Running
	})
	c.Process.Kill()
	c.Wait()
	eventually(t, func() bool {
		names, err := h.Names()
		list, dirErr := os.ReadDir(h.Dirs.Data + "/guests")
		_, lockErr := os.Stat(h.Dirs.Lock(isolation.Victim + ".run"))
		return err == nil && len(names) == 0 && dirErr == nil && len(list) == 0 && os.IsNotExist(lockErr)
	})
}

func eventually(t *testing.T, done func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !done(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("not in a minute")
		}
	}
}
