package bpf

import (
	"fmt"
	"hash/fnv"
	"os"
	"strings"
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
			if prog.Extra && !p.Extras() {
				continue
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

// So does it take Steer.
func TestSteerLoads(t *testing.T) {
	p := parts(t)
	h, err := SteerHook()
	if err != nil {
		t.Fatal(err)
	}
	if p.Tasks, err = FindTasks(); err != nil {
		t.Fatal(err)
	}
	fd, err := ebpf.LoadProgram(h, "steer", Steer(p))
	if err != nil {
		t.Fatal(err)
	}
	syscall.Close(fd)
}

// The texts of the programs change only on purpose, and with them the version.
func TestSetText(t *testing.T) {
	p := Parts{Manifest: 1, Guests: 2, Owners: 3, Accounts: 4, Counts: 5, Ports: 6, Listeners: 7, Notes: 8, Events: 9, Bound: 10, Change: 11, Direct: 12, Places: 13, Level: 2}
	p.Tasks = Tasks{Cred: 100, Effective: 200, Cgroups: 300, Group: 400, Ancestors: 500, Node: 600, NodeID: 700, State: 18}
	p.Tasks.Unix = Sockets{Sock: 0, Address: 8, Length: 32, Net: 48, Node: 104, Type: 110, Socket: 120, Group: 130, Inode: 140,
		Buckets: 150, Name: 160, NameLen: 4, NameIs: 8, Level: 170}
	all := fnv.New64a()
	for _, prog := range Set() {
		_, name, _ := strings.Cut(prog.Name, "_")
		got := ebpf.Text(prog.Text(p))
		all.Write([]byte(got))
		golden(t, name, got)
	}
	golden(t, "version", fmt.Sprintf("%d %x\n", Version, all.Sum64()))
}

// golden holds a text against a file, or writes it.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := "testdata/" + name + ".golden"
	want, err := os.ReadFile(path)
	if string(want) == got {
		return
	}
	if *update {
		err = os.WriteFile(path, []byte(got), 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
	if !*update {
		t.Errorf("%s changed (a new Version, and go test -update):\n%s", name, got)
	}
}
