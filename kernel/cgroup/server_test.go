package cgroup

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
)

// Processes in the group for servers are not the guest's, and keep it from being
// removed all the same.
func TestServers(t *testing.T) {
	h, g := create(t)
	leaf, err := OpenServer(g)
	if err != nil {
		t.Fatal(err)
	}
	defer leaf.Close()
	server := run(t, leaf, "sleep", "100")
	look := func(want bool, pids ...int) {
		t.Helper()
		if on, err := g.Populated(); on != want || err != nil {
			t.Errorf("populated %v, %v; want %v", on, err, want)
		}
		if got, err := g.Procs(); !slices.Equal(got, pids) || err != nil {
			t.Errorf("processes %v, %v; want %v", got, err, pids)
		}
		if on, err := g.Occupied(); !on || err != nil {
			t.Errorf("occupied %v, %v", on, err)
		}
		if got, err := g.Servers(); !slices.Equal(got, []int{server.Process.Pid}) || err != nil {
			t.Errorf("servers %v, %v", got, err)
		}
	}
	look(false)
	direct := run(t, g, "sleep", "100")
	look(true, direct.Process.Pid)
	direct.Process.Signal(syscall.SIGKILL)
	direct.Wait()
	look(false)
	sub, err := h.Create(g.rel + "/init.scope/deep")
	if err != nil {
		t.Fatal(err)
	}
	defer sub.Close()
	deep := run(t, sub, "sleep", "100")
	look(true, deep.Process.Pid)
	if err := g.Kill(); err != nil {
		t.Fatal(err)
	}
	deep.Wait()
	server.Wait()
	if on, err := g.Occupied(); on || err != nil {
		t.Errorf("occupied %v, %v after the kill", on, err)
	}
	if pids, err := g.Servers(); len(pids) != 0 || err != nil {
		t.Errorf("servers %v, %v after the kill", pids, err)
	}
}

// A guest that makes a group of the servers' name hides nobody in it, and gets no server.
func TestServersForged(t *testing.T) {
	_, g := create(t)
	dir := filepath.Join(g.Path(), ServerLeaf)
	if err := errors.Join(os.Mkdir(dir, 0o755), os.Chown(dir, 65534, 65534)); err != nil {
		t.Fatal(err)
	}
	leaf, err := g.below(ServerLeaf)
	if err != nil {
		t.Fatal(err)
	}
	defer leaf.Close()
	hidden := run(t, leaf, "sleep", "100")
	if on, err := g.Populated(); !on || err != nil {
		t.Errorf("populated %v, %v", on, err)
	}
	if pids, err := g.Procs(); !slices.Equal(pids, []int{hidden.Process.Pid}) || err != nil {
		t.Errorf("processes %v, %v", pids, err)
	}
	if pids, err := g.Servers(); len(pids) != 0 || err != nil {
		t.Errorf("servers %v, %v", pids, err)
	}
	if _, err := OpenServer(g); !errors.Is(err, fs.ErrExist) {
		t.Errorf("a server's group of the guest's: %v", err)
	}
	g.Kill()
	hidden.Wait()
}
