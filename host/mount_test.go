package host

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"vserver/guest"
	"vserver/host/state"
	"vserver/internal/need"
	"vserver/step"
)

// TestMountKilled kills a mounting after each step, and sees that the next command finds
// either a mount or none, and what it finds can be taken away.
func TestMountKilled(t *testing.T) {
	w := newWorld(t)
	need.Kernel(t, 6, 3) // where the test's directory may be a tmpfs
	w.guest("web1", nil)
	at := filepath.Join(need.TempDir(t), "at")
	if err := os.Mkdir(at, 0o755); err != nil {
		t.Fatal(err)
	}
	k := 0
	for ; ; k++ {
		c := exec.Command(need.Binary(t), "web1", "mount", "--rw", at)
		c.Env = append(os.Environ(), "VSERVER_ROOT="+w.root, fmt.Sprintf("%s=mount:%d", step.DieVar, k))
		out, err := c.CombinedOutput()
		if c.ProcessState.Success() {
			break
		}
		if ws, ok := c.ProcessState.Sys().(syscall.WaitStatus); !ok || !ws.Signaled() {
			t.Fatalf("%v: %s", err, out)
		}
		v, err := state.Mounted(w.Dirs, "web1")
		if err != nil {
			t.Fatal(err)
		}
		there, err := os.ReadDir(at)
		if err != nil || (len(there) > 0) != (v != nil) {
			t.Errorf("after step %d: noted %v, there are %d files, %v", k, v, len(there), err)
		}
		_, err = w.Start(t.Context(), "web1", StartOptions{})
		if v != nil && !errors.Is(err, guest.ErrBusy) || v == nil && err != nil {
			t.Errorf("start after step %d: %v", k, err)
		}
		if v != nil {
			err = UmountRoot(w.Host, "web1", "")
		} else {
			w.stop("web1")
			err = MountRoot(t.Context(), w.Host, "web1", at, false)
			if err == nil {
				err = UmountRoot(w.Host, "web1", at)
			}
		}
		if err != nil {
			t.Errorf("after step %d: %v", k, err)
		}
	}
	if k != 2 {
		t.Errorf("killed after %d steps", k)
	}
	if err := UmountRoot(w.Host, "web1", at); err != nil {
		t.Error(err)
	}
	w.start("web1")
	w.stop("web1")
}

// other has a shell in a mount namespace of its own: what it is told is done when the answer
// to it comes.
func other(t *testing.T, w *world) func(script string) string {
	t.Helper()
	c := exec.Command("unshare", "-m", "sh")
	c.Env = append(os.Environ(), "VSERVER_ROOT="+w.root)
	in, err := c.StdinPipe()
	out, oerr := c.StdoutPipe()
	if err := errors.Join(err, oerr); err != nil {
		t.Fatal(err)
	}
	c.Stderr = c.Stdout
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { in.Close(); c.Wait() })
	lines := bufio.NewReader(out)
	return func(script string) string {
		t.Helper()
		fmt.Fprintf(in, "%s\necho done\n", script)
		for text := ""; ; {
			line, err := lines.ReadString('\n')
			if err != nil || line == "done\n" {
				return text
			}
			text += line
		}
	}
}

// TestMountElsewhere: what is mounted in another mount namespace keeps a guest from being
// started as well, and so does a copy, or an open file, of what is taken away.
func TestMountElsewhere(t *testing.T) {
	w := newWorld(t)
	need.Kernel(t, 6, 3)
	w.guest("web1", nil)
	at := filepath.Join(need.TempDir(t), "at")
	if err := os.Mkdir(at, 0o755); err != nil {
		t.Fatal(err)
	}
	refused := func(what, why string) {
		t.Helper()
		if _, err := w.Start(t.Context(), "web1", StartOptions{}); !errors.Is(err, guest.ErrBusy) || !strings.Contains(err.Error(), why) {
			t.Errorf("%s: started: %v", what, err)
		}
		if err := w.Delete(t.Context(), "web1", DeleteOptions{}); !errors.Is(err, guest.ErrBusy) {
			t.Errorf("%s: deleted: %v", what, err)
		}
	}
	tool := need.Binary(t)
	sh := other(t, w)
	if out := sh(tool + " web1 mount --rw " + at + "; echo there >" + at + "/etc/there"); out != "" {
		t.Fatal(out)
	}
	refused("elsewhere", "mount namespace of process")
	if err := UmountRoot(w.Host, "web1", ""); !errors.Is(err, guest.ErrBusy) {
		t.Errorf("taken away from here: %v", err)
	}
	if st, err := w.Status("web1"); err != nil || st.Mounted == nil || st.Mounted.Process == 0 {
		t.Errorf("status: %+v, %v", st.Mounted, err)
	}
	if out := sh("exec 7<" + at + "/etc/there; umount -l " + at); out != "" {
		t.Fatal(out)
	}
	if st, err := w.Status("web1"); err != nil || st.Mounted == nil || !st.Mounted.Lost {
		t.Errorf("status: %+v, %v", st.Mounted, err)
	}
	if out := sh("exec 7<&-; " + tool + " web1 mount --rw " + at + "; mount --bind " + at + " /mnt; " + tool + " web1 umount"); !strings.Contains(out, "somebody still has them") {
		t.Errorf("a copy was overlooked: %q", out)
	}
	refused("a copy", "somebody still has them")
	sh("umount /mnt")
	w.start("web1")
	if st, err := w.Status("web1"); err != nil || st.Mounted != nil {
		t.Errorf("status: %+v, %v", st.Mounted, err)
	}
	if out, _ := w.sh("web1", "cat /etc/there"); out != "there\n" {
		t.Errorf("%q", out)
	}
	w.stop("web1")
}

// A guest that shares directories with the host shows them, and what it has made of them;
// no program there becomes the host's root.
func TestMountShared(t *testing.T) {
	w := newWorld(t)
	need.Kernel(t, 6, 3)
	shared := need.TempDir(t)
	if err := errors.Join(os.Chmod(shared, 0o755), os.WriteFile(filepath.Join(shared, "given"), []byte("given"), 0o644)); err != nil {
		t.Fatal(err)
	}
	w.guest("web1", func(s *guest.Spec) { s.Root.Shared = []string{shared} })
	tree := filepath.Join(w.Dirs.Pool(), "images/box/tree", shared)
	if err := os.MkdirAll(tree, 0o755); err != nil {
		t.Fatal(err)
	}
	own := filepath.Join(w.Dirs.Guest("web1"), "shared", shared)
	base := int(guest.XID(101).IDBase())
	for _, dir := range []string{"upper", "work"} {
		if err := errors.Join(os.MkdirAll(filepath.Join(own, dir), 0o755), os.Chown(filepath.Join(own, dir), base, base)); err != nil {
			t.Fatal(err)
		}
	}
	if err := CopyFiles(t.Context(), w.Host, []CopyPlace{{Path: "/bin/sh"}}, CopyPlace{Guest: "web1", Path: "/tmp/sh"}, CopyOptions{}); err != nil {
		t.Fatal(err)
	}
	at := filepath.Join(need.TempDir(t), "at")
	if err := os.Mkdir(at, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := MountRoot(t.Context(), w.Host, "web1", at, true); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(at, shared, "given"))
	if err != nil || string(text) != "given" {
		t.Errorf("%q %v", text, err)
	}
	var fs syscall.Statfs_t
	const nosuid, nodev = 2, 4 // ST_NOSUID, ST_NODEV
	for _, place := range []string{at, filepath.Join(at, shared)} {
		if err := syscall.Statfs(place, &fs); err != nil || fs.Flags&nosuid == 0 || fs.Flags&nodev == 0 {
			t.Errorf("%s: flags %x, %v", place, fs.Flags, err)
		}
	}
	if err := errors.Join(os.WriteFile(filepath.Join(at, shared, "made"), []byte("made"), 0o644), UmountRoot(w.Host, "web1", "")); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(shared, "made")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("it was made in the host's: %v", err)
	}
	w.start("web1")
	if out, _ := w.sh("web1", "stat -c %u "+shared+"/made; cat "+shared+"/made"); out != "0\nmade" {
		t.Errorf("%q", out)
	}
	w.stop("web1")
}

// On a disk of an old kernel: ids are shown and kept, the guest's limit holds, and many
// layers become fewer by links within the guest's project.
func TestMountDisk(t *testing.T) {
	need.VM(t)
	w := worldAt(t, need.Disk(t, "ext4", 128<<20, "prjquota", "-O", "quota,project"))
	w.guest("web1", func(s *guest.Spec) { s.Limits.Disk = 16 << 20 })
	if err := Adopt(t.Context(), w.Host, "web1"); err != nil {
		t.Fatal(err)
	}
	at := filepath.Join(need.TempDir(t), "at")
	if err := os.Mkdir(at, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := MountRoot(t.Context(), w.Host, "web1", at, true); err != nil {
		t.Fatal(err)
	}
	err := os.WriteFile(filepath.Join(at, "etc/big"), make([]byte, 32<<20), 0o644)
	if !errors.Is(err, syscall.EDQUOT) && !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("more than the limit: %v", err)
	}
	err = errors.Join(os.Remove(filepath.Join(at, "etc/big")), os.WriteFile(filepath.Join(at, "etc/made"), []byte("made"), 0o640),
		os.Chown(filepath.Join(at, "etc/made"), 33, 44), UmountRoot(w.Host, "web1", at))
	if err != nil {
		t.Fatal(err)
	}
	if left := uncounted(t, w.Dirs.Guest("web1"), 101); len(left) > 0 {
		t.Errorf("not counted: %v", left)
	}
	if err := MountRoot(t.Context(), w.Host, "web1", at, false); err != nil {
		t.Fatal(err)
	}
	if text, err := os.ReadFile(filepath.Join(at, "etc/made")); err != nil || string(text) != "made" {
		t.Errorf("read-only: %q %v", text, err)
	}
	if err := UmountRoot(w.Host, "web1", ""); err != nil {
		t.Fatal(err)
	}
	for i := range 14 { // each of a MiB: copied they would not fit
		if err := seen(t, w.Host, "web1").Write(fmt.Sprint("etc/f", i), make([]byte, 1<<20), 0o644, 0, 0); err != nil {
			t.Fatal(err)
		}
		if _, err := TakeSnapshot(t.Context(), w.Host, "web1", fmt.Sprint(i)); err != nil {
			t.Fatal(err)
		}
	}
	w.start("web1")
	if out, _ := w.sh("web1", "ls /etc/f* | wc -l; stat -c %u:%g:%a /etc/made"); out != "14\n33:44:640\n" {
		t.Errorf("the guest sees %q", out)
	}
	w.stop("web1")
}
