package bpf

import (
	"syscall"
	"testing"

	"vserver/internal/need"
	"vserver/kernel/ebpf"
)

// parts makes the maps of network contexts for a test.
func parts(t testing.TB) Parts {
	t.Helper()
	need.Root(t)
	p := Parts{Level: 2}
	for i, fd := range p.Descriptors() {
		var err error
		if *fd, err = ebpf.NewMap(Maps()[i]); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { syscall.Close(*fd) })
	}
	return p
}

// The kernel takes every program.
func TestSetLoads(t *testing.T) {
	p := parts(t)
	tasks, err := FindTasks()
	if err != nil {
		t.Fatal(err)
	}
	for _, p.Tasks = range []Tasks{{}, tasks} {
		for _, prog := range Set() {

			if p.Ancestors == 0 && prog.Hook.Attach == 3 {
				continue // SockOps, which wants them on an older kernel
			}
			fd, err := ebpf.LoadProgram(prog.Hook, prog.Name, prog.Text(p))
			if err != nil {
				t.Error(err)
				continue
			}
			syscall.Close(fd)
		}
	}
}
