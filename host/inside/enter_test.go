package inside

import (
	"errors"
	"fmt"
	"os/exec"
	"syscall"
	"testing"

	"vserver/guest"
	"vserver/host/state"
	"vserver/internal/need"
	"vserver/kernel/cgroup"
	"vserver/kernel/pidfd"
	"vserver/spawn"
)

func TestMain(m *testing.M) { need.Main(m) }

// TestBeforeInit looks for a guest whose init is noted and has not been let go: it has
// the host's root yet, and nobody may enter.
func TestBeforeInit(t *testing.T) {
	table := &spawn.Table{}
	table.Await("the test")
	table.Exec([]string{"/bin/sleep"}, []string{"sleep", "60"}, nil)
	c, err := spawn.Start(table, spawn.Options{Cgroup: -1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	t.Cleanup(c.Kill)
	began, err := state.Born(c.First())
	if err != nil {
		t.Fatal(err)
	}
	find := func() error {
		in := &Guest{Note: &state.Note{PID: c.First(), Began: began}, pidfd: -1}
		defer func() { syscall.Close(in.pidfd) }()
		return in.findInit()
	}
	if err := find(); !errors.Is(err, guest.ErrStopped) {
		t.Errorf("before it executes its init: %v", err)
	}
	if err := errors.Join(c.Open(), c.Finish()); err != nil {
		t.Fatal(err)
	}
	if err := find(); err != nil {
		t.Errorf("running: %v", err)
	}
}

// TestEnding: what a guest's end does to a command may come before the init's own.
func TestEnding(t *testing.T) {
	c := exec.Command("/bin/sh", "-c", "read x")
	in, err := c.StdinPipe()
	if err == nil {
		err = c.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	fd, err := pidfd.Open(c.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(fd)
	g := &Guest{pidfd: fd}
	for _, err := range []error{syscall.EPERM, syscall.ESRCH} {
		if g.ending(err) {
			t.Errorf("%v: it goes on", err)
		}
	}
	go func() {
		in.Close()
		c.Wait()
	}()
	if !g.ending(fmt.Errorf("join namespaces: %w", syscall.ESRCH)) {
		t.Error("it has ended")
	}
}

// TestGone: a guest's group may go while it is killed.
func TestGone(t *testing.T) {
	need.Root(t)
	need.Cgroup2(t)
	d := need.Dirs(t)
	h, err := cgroup.Find()
	if err != nil {
		t.Fatal(err)
	}
	g, err := h.Create(d.Cgroup)
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	if err := errors.Join(end(g), h.Remove(d.Cgroup)); err != nil {
		t.Fatal(err)
	}
	if err := end(g); !errors.Is(err, guest.ErrStopped) {
		t.Error(err)
	}
}
