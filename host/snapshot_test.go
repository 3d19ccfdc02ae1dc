package host

import (
	"errors"
	"os"
	"os/exec"
	"testing"
	"time"

	"vserver/guest"
	"vserver/host/files"
	"vserver/internal/need"
	"vserver/kernel/cgroup"
	"vserver/layer"
	"vserver/step"
	"vserver/store"
)

// seen opens a guest's root as its layers show it.
func seen(t *testing.T, h *Host, n guest.Name) *layer.Root {
	t.Helper()
	spec, err := store.Load(h.Dirs.Spec(n))
	if err != nil {
		t.Fatal(err)
	}
	full := spec.WithDefaults(n)
	r, err := files.Root(h.Dirs, &full, h.Dirs.Guest(n))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	return r
}

// content is what a guest's processes would read.
func content(t *testing.T, h *Host, n guest.Name, path string) string {
	t.Helper()
	text, err := seen(t, h, n).Read(path, 1<<20)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	return string(text)
}

// put writes a file as a guest that is stopped.
func put(t *testing.T, h *Host, n guest.Name, path, text string) {
	t.Helper()
	if err := seen(t, h, n).Write(path, []byte(text), 0o640, 33, 44); err != nil {
		t.Fatal(err)
	}
}

// layersOf are the names in the directory of the layers.
func layersOf(t *testing.T, h *Host) []string {
	t.Helper()
	entries, err := os.ReadDir(h.Dirs.Layers())
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// TestSnapshots takes two, goes back to either, clones one, and sees the layers go with
// the last who lists them.
func TestSnapshots(t *testing.T) {
	need.Root(t)
	for _, kind := range []guest.RootKind{guest.RootOverlay, guest.RootDir} {
		h := Open(need.Dirs(t))
		mustBuild(t, h, "web1", guest.Spec{Root: guest.Root{Kind: kind}})
		for _, s := range []string{"one", "two"} {
			put(t, h, "web1", "etc/mine", s)
			if _, err := TakeSnapshot(t.Context(), h, "web1", s); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := TakeSnapshot(t.Context(), h, "web1", "one"); !errors.Is(err, guest.ErrExists) {
			t.Errorf("the same name: %v", err)
		}
		for _, bad := range []string{"../x", ".x", "a/b", "-x"} {
			if _, err := TakeSnapshot(t.Context(), h, "web1", bad); !errors.Is(err, guest.ErrInvalid) {
				t.Errorf("%s: %v", bad, err)
			}
		}
		put(t, h, "web1", "etc/mine", "three")
		if err := seen(t, h, "web1").Remove("etc/hostname"); err != nil {
			t.Error(err)
		}
		for _, back := range []struct{ name, want string }{{"", "two"}, {"one", "one"}, {"two", "two"}} {
			s, err := Rollback(t.Context(), h, "web1", back.name)
			if got := content(t, h, "web1", "etc/mine"); err != nil || got != back.want || s.Name != back.want {
				t.Errorf("back to %q: %q, %s, %v", back.name, got, s.Name, err)
			}
			if st, err := seen(t, h, "web1").Stat("etc/mine"); err != nil || st.UID != 33 || st.GID != 44 || st.Perm() != 0o640 {
				t.Errorf("%+v, %v", st, err)
			}
		}
		if _, err := Rollback(t.Context(), h, "web1", "four"); !errors.Is(err, ErrNoSnapshot) {
			t.Error(err)
		}
		if err := h.Clone(t.Context(), "web1", "web2", nil, CloneOptions{Snapshot: "one"}); err != nil {
			t.Fatal(err)
		}
		if got := content(t, h, "web2", "etc/mine"); got != "one" {
			t.Errorf("the clone has %q", got)
		}
		if err := h.Delete(t.Context(), "web1", DeleteOptions{}); err != nil {
			t.Error(err)
		}
		if got := content(t, h, "web2", "etc/mine"); got != "one" {
			t.Errorf("without its original the clone has %q", got)
		}
		if err := h.Delete(t.Context(), "web2", DeleteOptions{}); err != nil {
			t.Error(err)
		}
		if names := layersOf(t, h); len(names) > 0 {
			t.Errorf("left: %q", names)
		}
	}
}

// TestKilledSnapshot kills snapshots, rollbacks and clones after each step: the guest is
// whole, and the next command sweeps.
func TestKilledSnapshot(t *testing.T) {
	need.Root(t)
	for _, job := range []string{"snapshot", "rollback", "layer"} {
		steps := 0
		for k := 0; ; k++ {
			root := need.TempDir(t)
			h := Open(guest.DefaultDirs(root))
			mustBuild(t, h, "web1", guest.Spec{})
			put(t, h, "web1", "etc/mine", "before")
			if _, err := TakeSnapshot(t.Context(), h, "web1", "before"); err != nil {
				t.Fatal(err)
			}
			put(t, h, "web1", "etc/mine", "now")
			if !killed(t, root, job, job, k) {
				break
			}
			steps++
			got := content(t, h, "web1", "etc/mine")
			if want := map[bool]string{true: "before", false: "now"}[job == "rollback" && k >= 2]; got != want {
				t.Errorf("%s:%d: %q, want %q", job, k, got, want)
			}
			if err := errors.Join(DeleteSnapshot(h, "web1", "before"), h.Delete(t.Context(), "web1", DeleteOptions{})); err != nil {
				t.Errorf("%s:%d: %v", job, k, err)
			}
			left(t, h)
			if names := layersOf(t, h); len(names) > 0 {
				t.Errorf("%s:%d: left %q", job, k, names)
			}
		}
		if steps != 4 {
			t.Errorf("%s: killed after %d steps", job, steps)
		}
	}
}

// TestRunningSnapshot takes a snapshot and a clone of a guest that runs, and is killed
// while the guest is frozen: it runs on.
func TestRunningSnapshot(t *testing.T) {
	for _, kind := range []guest.RootKind{guest.RootOverlay, guest.RootDir} {
		t.Run(string(kind), func(t *testing.T) { runningSnapshot(t, kind) })
	}
}

func runningSnapshot(t *testing.T, kind guest.RootKind) {
	w := newWorld(t)
	spec := &guest.Spec{Root: guest.Root{Kind: kind}, Network: guest.Network{Mode: guest.NetNone},
		Init: guest.Init{Style: guest.InitCommand, Command: []string{"/bin/sleep", "1000"}}}
	if err := w.Build(t.Context(), "web1", spec, boxed(t), BuildOptions{}); err != nil {
		t.Fatal(err)
	}
	w.start("web1")
	w.sh("web1", "echo live >/root/mine; ln /root/mine /root/again")
	s, err := TakeSnapshot(t.Context(), w.Host, "web1", "live")
	if err != nil || !s.Running || len(s.Stack) != 1 {
		t.Fatalf("%+v, %v", s, err)
	}
	if err := w.Clone(t.Context(), "web1", "web2", nil, CloneOptions{}); err != nil {
		t.Fatal(err)
	}
	w.sh("web1", "echo later >/root/mine")
	w.start("web2")
	if got, _ := w.sh("web2", "cat /root/mine; stat -c '%u %h' /root/mine"); got != "live\n0 2\n" {
		t.Errorf("the clone sees %q", got)
	}
	if got, _ := w.sh("web2", "echo own >/root/mine; cat /root/mine"); got != "own\n" {
		t.Errorf("the clone writes %q", got)
	}
	cmd := exec.Command(need.Binary(t), "web1", "snapshot", "create", "dead")
	cmd.Env = append(os.Environ(), "VSERVER_ROOT="+w.root, step.DieVar+"=snapshot:1")
	if out, err := cmd.CombinedOutput(); err == nil {
		t.Fatalf("was not killed: %s", out)
	}
	thawed(t, w.Dirs, "web1")
	if got, _ := w.sh("web1", "cat /root/mine"); got != "later\n" {
		t.Errorf("the guest reads %q", got)
	}
	w.stop("web1")
	w.stop("web2")
	if _, err := Rollback(t.Context(), w.Host, "web1", ""); err != nil {
		t.Error(err)
	}
	if got := content(t, w.Host, "web1", "root/mine"); got != "live\n" {
		t.Errorf("rolled back to %q", got)
	}
	for _, n := range []guest.Name{"web1", "web2"} {
		if err := w.Delete(t.Context(), n, DeleteOptions{}); err != nil {
			t.Error(err)
		}
	}
	if names := layersOf(t, w.Host); len(names) > 0 {
		t.Errorf("left: %q", names)
	}
}

// thawed waits until a guest is not frozen.
func thawed(t *testing.T, d guest.Dirs, n guest.Name) {
	t.Helper()
	cg, err := cgroup.Find()
	if err != nil {
		t.Fatal(err)
	}
	g, err := cg.Open(d.Group(n))
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	for end := time.Now().Add(5 * time.Second); ; time.Sleep(time.Millisecond) {
		frozen, err := g.Frozen()
		if err == nil && !frozen {
			return
		}
		if err != nil || time.Now().After(end) {
			t.Fatalf("frozen for good: %v", err)
		}
	}
}
