package host

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"vserver/build"
	"vserver/guest"
	"vserver/internal/need"
	"vserver/stack"
)

// TestSnapshotDisks takes snapshots and clones of guests, stopped and running, on each file
// system that has its own way of it.
func TestSnapshotDisks(t *testing.T) {
	need.Root(t)
	need.Overlay(t)
	for _, c := range []struct {
		kind string
		size int64
	}{{"btrfs", 256 << 20}, {"xfs", 320 << 20}, {"ext4", 96 << 20}} {
		t.Run(c.kind, func(t *testing.T) {
			w := worldAt(t, need.Disk(t, c.kind, c.size, ""))
			spec := &guest.Spec{Network: guest.Network{Mode: guest.NetNone},
				Init: guest.Init{Style: guest.InitCommand, Command: []string{"/bin/sleep", "1000"}}}
			if err := w.Build(t.Context(), "web1", spec, boxed(t), BuildOptions{}); err != nil {
				t.Fatal(err)
			}
			put(t, w.Host, "web1", "etc/mine", "stopped")
			w.snapshot("web1", "stopped", false)
			w.start("web1")
			w.sh("web1", "echo running >/etc/mine; ln /etc/mine /etc/again; rm /etc/hostname; mkfifo /etc/pipe; ln -s mine /etc/link")
			w.snapshot("web1", "running", true)
			if err := w.Clone(t.Context(), "web1", "web2", nil, CloneOptions{}); err != nil {
				t.Fatal(err)
			}
			w.sh("web1", "echo later >/etc/mine")
			w.start("web2")
			const look = "cat /etc/mine; stat -c '%u %h' /etc/mine; readlink /etc/link; test -p /etc/pipe && echo pipe"
			if got, _ := w.sh("web2", look); got != "running\n33 2\nmine\npipe\n" {
				t.Errorf("the clone sees %q", got)
			}
			w.stop("web1")
			w.stop("web2")
			for _, back := range []struct{ name, want string }{{"stopped", "stopped"}, {"running", "running\n"}} {
				if _, err := Rollback(t.Context(), w.Host, "web1", back.name); err != nil {
					t.Error(err)
				}
				if got := content(t, w.Host, "web1", "etc/mine"); got != back.want {
					t.Errorf("rolled back to %s: %q", back.name, got)
				}
			}
			w.start("web1")
			if got, _ := w.sh("web1", look); got != "running\n33 2\nmine\npipe\n" {
				t.Errorf("rolled back, the guest sees %q", got)
			}
			w.stop("web1")
			for _, n := range []guest.Name{"web1", "web2"} {
				if err := w.Delete(t.Context(), n, DeleteOptions{}); err != nil {
					t.Error(err)
				}
			}
			if names := layersOf(t, w.Host); len(names) > 0 {
				t.Errorf("left: %q", names)
			}
		})
	}
}

// boxed is a root of busybox.
func boxed(t *testing.T) build.Source {
	return build.Source{
		Method: "box", Text: "busybox", Cache: true,
		Name: func(context.Context) (string, error) { return "boxed", nil },
		Fill: func(_ context.Context, dir string, _ build.Progress) error {
			need.Busybox(t, dir)
			return nil
		},
	}
}

// snapshot takes one and looks at what it says of itself.
func (w *world) snapshot(n guest.Name, name string, running bool) {
	w.t.Helper()
	s, err := TakeSnapshot(w.t.Context(), w.Host, n, name)
	if err != nil || s.Running != running || s.Name != name {
		w.t.Fatalf("%+v, %v", s, err)
	}
	layers, err := s.Layers()
	if err != nil || len(layers) == 0 {
		w.t.Fatalf("%v, %v", layers, err)
	}
	entries, err := os.ReadDir(layers[0].Dir(w.Dirs))
	if err != nil || len(entries) != 1 || entries[0].Name() != "upper" {
		w.t.Errorf("the layer has %v, %v", entries, err)
	}
	if _, err := os.Stat(filepath.Join(layers[0].Dir(w.Dirs), "upper/etc/mine")); err != nil {
		w.t.Error(err)
	}
}

// TestDeepSnapshots takes as many as there may be layers, each with a file of its own and
// one without the file before, and sees what the guest makes of it.
func TestDeepSnapshots(t *testing.T) {
	need.Swift(t)
	w := newWorld(t)
	w.guest("web1", nil)
	for i := range stack.Deepest {
		name := string(rune('a' + i))
		put(t, w.Host, "web1", "etc/"+name, name)
		if i > 0 {
			if err := seen(t, w.Host, "web1").Remove("etc/" + string(rune('a'+i-1))); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := TakeSnapshot(t.Context(), w.Host, "web1", name); err != nil {
			t.Fatal(err)
		}
	}
	if names := layersOf(t, w.Host); len(names) != stack.Deepest {
		t.Errorf("layers: %q", names)
	}
	w.start("web1")
	last := string(rune('a' + stack.Deepest - 1))
	if got, _ := w.sh("web1", "cd /etc; ls [a-z]"); got != last+"\n" {
		t.Errorf("the guest sees %q, want %s", got, last)
	}
	w.stop("web1")
	if _, err := Rollback(t.Context(), w.Host, "web1", "c"); err != nil {
		t.Fatal(err)
	}
	if names := layersOf(t, w.Host); len(names) != stack.Deepest {
		t.Errorf("the other snapshots lost layers: %q", names)
	}
	if got := content(t, w.Host, "web1", "etc/c"); got != "c" {
		t.Errorf("rolled back: %q", got)
	}
	for i := stack.Deepest - 1; i > 2; i-- {
		if err := DeleteSnapshot(w.Host, "web1", string(rune('a'+i))); err != nil {
			t.Error(err)
		}
	}
	if names := layersOf(t, w.Host); len(names) != 3 {
		t.Errorf("left of three: %q", names)
	}
	if err := w.Delete(t.Context(), "web1", DeleteOptions{}); err != nil {
		t.Error(err)
	}
}
