package view

import (
	"os"
	"strings"
	"testing"
	"time"

	"vserver/internal/need"
	"vserver/kernel/cgroup"
)

// A group that was made anew is looked for anew, by who has its files open.
func TestGroupAnew(t *testing.T) {
	need.Root(t)
	need.Cgroup2(t)
	h, err := cgroup.Find()
	if err != nil {
		t.Fatal(err)
	}
	top := need.Dirs(t).Cgroup
	path := top + "/web1"
	anew := func() {
		if err := h.Remove(path); err != nil {
			t.Fatal(err)
		}
		g, err := h.Create(path)
		if err != nil {
			t.Fatal(err)
		}
		g.Close()
	}
	anew()
	t.Cleanup(func() {
		if err := h.Remove(top); err != nil {
			t.Error(err)
		}
	})
	m, err := OpenMachine()
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	g, err := m.NewGuest(path, os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	for range 3 {
		if text, err := g.read("", "cpu.stat"); err != nil || !strings.Contains(string(text), "user_usec 0") {
			t.Errorf("%q, %v", text, err)
		}
		anew()
	}
	if err := h.Remove(path); err != nil {
		t.Fatal(err)
	}
	if text, err := g.read("", "cpu.stat"); err == nil {
		t.Errorf("removed: %q", text)
	}
}

// The load is not asked for again before tasks are counted again; all else is at once.
func TestSame(t *testing.T) {
	g := Guest{counted: time.Now().Add(time.Hour)}
	if g.same(nodeLoadavg) < time.Hour || g.same(nodeStat) != 0 {
		t.Errorf("load %v, stat %v", g.same(nodeLoadavg), g.same(nodeStat))
	}
	text := "0.00"
	tree := said(&text)
	tree.Same = g.same
	if _, _, nanos := attributes(t, tree, nodeUptime); nanos != uint32(known) {
		t.Errorf("uptime is known for %d ns", nanos)
	}
	g.counted = time.Now().Add(100*time.Millisecond - LoadEvery + known)
	if _, _, nanos := attributes(t, tree, nodeLoadavg); nanos < uint32(known) {
		t.Errorf("load is known for %d ns", nanos)
	}
}
