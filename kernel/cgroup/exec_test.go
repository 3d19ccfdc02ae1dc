package cgroup

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"vserver/guest"
	"vserver/internal/need"
)

func TestOpenExec(t *testing.T) {
	_, g := create(t)
	e, err := OpenExec(g)
	if err != nil {
		t.Fatal(err)
	}
	if e.Path() != g.Path() || e.FD() == g.FD() {
		t.Errorf("group without controllers: %s, descriptor %d", e.Path(), e.FD())
	}
	e.Close()
}

// Where the hierarchy has a controller, a group that has it enabled for those below
// takes no process: OpenExec gives one that does.
func TestOpenExecBelowControllers(t *testing.T) {
	const name = "hugetlb" // a controller that hybrid hosts have with v2 as well
	need.Controllers(t, name)
	h, g := create(t)
	before, err := os.ReadFile(filepath.Join(h.Unified.Mount, "cgroup.subtree_control"))
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Contains(words(string(before)), name) {
		t.Cleanup(func() { // after the test's groups are gone
			os.WriteFile(filepath.Join(h.Unified.Mount, "cgroup.subtree_control"), []byte("-"+name), 0)
		})
	}
	t.Cleanup(func() { h.Remove(filepath.Dir(g.rel)) })
	for range 2 {
		if err := h.Lend(g.rel, name, "no_such"); err != nil {
			t.Fatal(err)
		}
	}
	if err := g.Write("cgroup.subtree_control", "+"+name); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("true")
	cmd.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: g.FD()}
	if err := cmd.Run(); !errors.Is(err, unix.EBUSY) {
		t.Errorf("a process right in the group: %v", err)
	}
	for range 2 {
		e, err := OpenExec(g)
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command("true")
		cmd.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: e.FD()}
		if err := cmd.Run(); err != nil {
			t.Errorf("in %s: %v", e.Path(), err)
		}
		e.Close()
	}
	if err := h.Enable(g.rel, "no_such"); !errors.Is(err, guest.ErrUnsupported) {
		t.Errorf("a controller that is not there: %v", err)
	}
}

func TestCPUTimeOutlivesProcess(t *testing.T) {
	h, g := create(t)
	run(t, g, "sh", "-c", "i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done")
	if err := g.WaitEmpty(t.Context()); err != nil {
		t.Fatal(err)
	}
	user, system, err := g.CPUTime()
	if err != nil || user < time.Millisecond || user+system > time.Minute {
		t.Errorf("user %v, system %v, %v", user, system, err)
	}
	top, err := h.Open(filepath.Dir(g.rel))
	if err != nil {
		t.Fatal(err)
	}
	defer top.Close()
	if names, err := top.Children(); err != nil || !slices.Equal(names, []string{filepath.Base(g.rel)}) {
		t.Errorf("children %v, %v", names, err)
	}
}
