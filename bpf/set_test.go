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
	for _, known := range []bool{false, true} {
		if known {
			p.Cred, p.Effective = 2000, 48
		}
		for _, prog := range Set() {
			fd, err := ebpf.LoadProgram(prog.Hook, prog.Name, prog.Text(p))
			if err != nil {
				t.Error(err)
				continue
			}
			syscall.Close(fd)
		}
	}
}
