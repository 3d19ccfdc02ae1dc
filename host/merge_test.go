package host

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"vserver/guest"
	"vserver/internal/need"
	"vserver/stack"
	"vserver/step"
)

// shows is all that a guest's processes would find below /etc, a line each, as the kernel's
// overlay shows it, but what the tool itself writes there.
func shows(t *testing.T, h *Host, n guest.Name) string {
	t.Helper()
	to := filepath.Join(need.TempDir(t), "etc")
	if err := CopyFiles(t.Context(), h, []CopyPlace{{Guest: n, Path: "/etc"}}, CopyPlace{Path: to}, CopyOptions{Archive: true}); err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	err := filepath.WalkDir(to, func(path string, d fs.DirEntry, err error) error {
		switch filepath.Base(path) {
		case "machine-id", "hosts", "hostname", "resolv.conf": // written anew by what gives files back
			return err
		}
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		st := info.Sys().(*syscall.Stat_t)
		text := ""
		if d.Type().IsRegular() {
			data, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			text = string(data)
		}
		fmt.Fprintf(&b, "%s %v %d:%d %q\n", strings.TrimPrefix(path, to), info.Mode(), st.Uid, st.Gid, text)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// change is the i-th of the changes by which layers differ: files made, changed and taken
// away, directories taken away and made anew, a file in the place of a directory and the
// other way round.
func change(t *testing.T, h *Host, n guest.Name, i int) {
	t.Helper()
	r := seen(t, h, n)
	write := func(path string) error { return r.Write(path, []byte(fmt.Sprint(path, i)), 0o640, uint32(i), 44) }
	err := errors.Join(write(fmt.Sprintf("etc/own%d", i)), write("etc/all"), write(fmt.Sprintf("etc/dir/sub/f%d", i)))
	switch i % 4 {
	case 0:
		err = errors.Join(err, r.Remove("etc/turn"), write("etc/turn/a"), write(fmt.Sprintf("etc/turn/%d", i)))
	case 1:
		err = errors.Join(err, r.Remove("etc/turn"), write("etc/turn"))
	case 2:
		err = errors.Join(err, r.Remove("etc/dir"), write("etc/dir/anew"), r.Remove("etc/passwd"))
	case 3:
		err = errors.Join(err, r.Remove(fmt.Sprintf("etc/own%d", i-1)), r.Remove("etc/ssh"), write("etc/ssh/key"))
	}
	if err != nil {
		t.Fatal(err)
	}
}

// TestManyLayers takes far more snapshots than a guest can have layers, and finds each as
// it was.
func TestManyLayers(t *testing.T) {
	need.Root(t)
	need.Overlay(t)
	need.Kernel(t, 6, 3)
	h := Open(need.Dirs(t))
	mustBuild(t, h, "web1", guest.Spec{})
	var want []string
	for i := range 3 * stack.Deepest {
		change(t, h, "web1", i)
		before := shows(t, h, "web1")
		if _, err := TakeSnapshot(t.Context(), h, "web1", fmt.Sprint(i)); err != nil {
			t.Fatal(err)
		}
		layers, err := stack.Read(h.Dirs.Guest("web1"))
		if err != nil || len(layers) > stack.Deepest {
			t.Fatalf("%d layers, %v", len(layers), err)
		}
		if after := shows(t, h, "web1"); after != before {
			t.Fatalf("snapshot %d changed what is seen:\n%s\ninstead of\n%s", i, after, before)
		}
		want = append(want, before)
	}
	for i, text := range want {
		if _, err := Rollback(t.Context(), h, "web1", fmt.Sprint(i)); err != nil {
			t.Fatal(err)
		}
		if got := shows(t, h, "web1"); got != text {
			t.Errorf("snapshot %d:\n%s\ninstead of\n%s", i, got, text)
		}
	}
	for i := range 2 * stack.Deepest { // each a layer more
		old, n := guest.Name(fmt.Sprint("web", i+1)), guest.Name(fmt.Sprint("web", i+2))
		change(t, h, old, i)
		text := shows(t, h, old)
		if err := h.Clone(t.Context(), old, n, nil, CloneOptions{}); err != nil {
			t.Fatal(err)
		}
		change(t, h, old, i+1)
		if err := errors.Join(h.Delete(t.Context(), old, DeleteOptions{})); err != nil {
			t.Fatal(err)
		}
		if got := content(t, h, n, "etc/all"); !strings.Contains(text, fmt.Sprintf("%q", got)) {
			t.Errorf("clone %d has %q", i, got)
		}
	}
	if err := h.Delete(t.Context(), guest.Name(fmt.Sprint("web", 2*stack.Deepest+1)), DeleteOptions{}); err != nil {
		t.Error(err)
	}
	if names := layersOf(t, h); len(names) > 0 {
		t.Errorf("left: %q", names)
	}
}

// TestMergeKilled kills a snapshot that merges layers after each of its steps. The guest
// shows what it did, and the next command puts right what was left.
func TestMergeKilled(t *testing.T) {
	need.Root(t)
	need.Overlay(t)
	need.Kernel(t, 6, 3)
	root := need.TempDir(t)
	h := Open(guest.DefaultDirs(root))
	mustBuild(t, h, "web1", guest.Spec{})
	kills := 0
	for k := 0; ; k++ {
		for i := 0; ; i++ { // as deep as can be
			layers, err := stack.Read(h.Dirs.Guest("web1"))
			if err != nil {
				t.Fatal(err)
			}
			if len(layers) == stack.Deepest {
				break
			}
			change(t, h, "web1", i)
			name := fmt.Sprint("s", k, "-", i)
			if _, err := TakeSnapshot(t.Context(), h, "web1", name); err != nil {
				t.Fatal(err)
			}
			if i%2 == 0 { // so that some layers are listed by the guest alone
				if err := DeleteSnapshot(h, "web1", name); err != nil {
					t.Fatal(err)
				}
			}
		}
		before := shows(t, h, "web1")
		c := exec.Command(need.Binary(t), "web1", "snapshot", "create", fmt.Sprint("killed", k))
		c.Env = append(os.Environ(), "VSERVER_ROOT="+root, fmt.Sprintf("%s=snapshot:%d", step.DieVar, k))
		if out, err := c.CombinedOutput(); c.ProcessState.Success() {
			break
		} else if ws, ok := c.ProcessState.Sys().(syscall.WaitStatus); !ok || !ws.Signaled() {
			t.Fatalf("%v: %s", err, out)
		}
		kills++
		if _, err := TakeSnapshot(t.Context(), h, "web1", fmt.Sprint("after", k)); err != nil {
			t.Errorf("after step %d: %v", k, err)
		}
		if after := shows(t, h, "web1"); after != before {
			t.Errorf("after step %d:\n%s\ninstead of\n%s", k, after, before)
		}
		used, err := stack.Users(h.Dirs)
		for _, name := range layersOf(t, h) {
			if err != nil || len(used[name]) == 0 {
				t.Errorf("after step %d: layer %s is nobody's, %v", k, name, err)
			}
		}
	}
	if kills != 7 {
		t.Errorf("killed after %d steps", kills)
	}
	if err := h.Delete(t.Context(), "web1", DeleteOptions{}); err != nil {
		t.Error(err)
	}
	if names := layersOf(t, h); len(names) > 0 {
		t.Errorf("left: %q", names)
	}
}

// On btrfs layers are subvolumes, between which there are no links: files are shared by
// reflinks. On XFS they are links.
func TestMergeDisk(t *testing.T) {
	need.Root(t)
	need.Overlay(t)
	for kind, size := range map[string]int64{"btrfs": 256 << 20, "xfs": 320 << 20} {
		t.Run(kind, func(t *testing.T) {
			w := worldAt(t, need.Disk(t, kind, size, ""))
			w.guest("web1", nil)
			for i := range stack.Deepest + 2 {
				change(t, w.Host, "web1", i)
				if _, err := TakeSnapshot(t.Context(), w.Host, "web1", fmt.Sprint(i)); err != nil {
					t.Fatal(err)
				}
			}
			want := shows(t, w.Host, "web1")
			if _, err := Rollback(t.Context(), w.Host, "web1", fmt.Sprint(stack.Deepest)); err != nil {
				t.Fatal(err)
			}
			change(t, w.Host, "web1", stack.Deepest+1)
			if got := shows(t, w.Host, "web1"); got != want {
				t.Errorf("%s\ninstead of\n%s", got, want)
			}
			if err := w.Delete(t.Context(), "web1", DeleteOptions{}); err != nil {
				t.Error(err)
			}
			if names := layersOf(t, w.Host); len(names) > 0 {
				t.Errorf("left: %q", names)
			}
		})
	}
}
