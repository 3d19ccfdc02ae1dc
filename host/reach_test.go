package host

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"vserver/fault"
	"vserver/guest"
	"vserver/internal/need"
)

// hostFile makes a file of the test's own.
func hostFile(t *testing.T, path, text string) CopyPlace {
	t.Helper()
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o644)); err != nil {
		t.Fatal(err)
	}
	return CopyPlace{Path: path}
}

// passing are names that a copying has left.
func (w *world) passing(n guest.Name) (out []string) {
	w.t.Helper()
	err := filepath.WalkDir(w.Dirs.Guest(n), func(path string, _ os.DirEntry, err error) error {
		if strings.Contains(filepath.Base(path), ".vserver-") {
			out = append(out, path)
		}
		return err
	})
	if err != nil {
		w.t.Error(err)
	}
	return out
}

// A guest that swaps directories, links, files and fifos under our hands gets nothing of
// the host's and changes nothing there.
func TestCopyHostile(t *testing.T) {
	need.Swift(t)
	w := newWorld(t)
	outside := need.TempDir(t)
	secret := filepath.Join(outside, "secret")
	f := hostFile(t, secret, "host")
	if err := os.Chmod(outside, 0o755); err != nil {
		t.Fatal(err)
	}
	up := strings.Repeat("../", 20)
	w.guest("web1", func(s *guest.Spec) {
		s.Init.Command = []string{"/bin/sh", "-c", strings.ReplaceAll(strings.ReplaceAll(`mkdir -p OUT /tmp/a /tmp/b /tmp/bag; echo guest >OUT/secret; echo guest >/tmp/a/secret
ln -s OUT /tmp/to; ln -s UPOUT /tmp/up; ln -s /proc/1/root/OUT /tmp/magic; mkfifo /tmp/fifo
while :; do for x in a to up magic fifo b; do mv -f /tmp/$x /tmp/x 2>/dev/null; mv -T /tmp/x /tmp/bag/y; mv -T /tmp/bag/y /tmp/$x; ln -sfn UPOUT /tmp/sub; rm -rf /tmp/sub; mkdir /tmp/sub
rm -f /tmp/b/secret; mkfifo /tmp/b/secret; rm -f /tmp/b/secret; ln -s UPOUT/secret /tmp/b/secret; rm -f /tmp/b/secret; ln /tmp/a/secret /tmp/b/secret; done; done`, "\n", "; "), "UPOUT", up+outside[1:])}
		s.Init.Command[2] = strings.ReplaceAll(s.Init.Command[2], "OUT", outside)
	})
	w.start("web1")
	const rounds, slow = 150, 20 * time.Second // an emulated machine does some thirty in that time
	done, tried := 0, 0
	for i, begin := 0, time.Now(); i < rounds && time.Since(begin) < slow; i++ {
		for _, at := range []string{"/tmp/x", "/tmp/sub", "/tmp/b", "/tmp/up", "/tmp/magic", "/tmp/bag/y"} {
			if err := CopyFiles(t.Context(), w.Host, []CopyPlace{f}, CopyPlace{Guest: "web1", Path: at + "/pushed"}, CopyOptions{}); err == nil {
				done++
			}
			tried++
			var out bytes.Buffer
			CopyFiles(t.Context(), w.Host, []CopyPlace{{Guest: "web1", Path: at + "/secret"}}, CopyPlace{Out: &out}, CopyOptions{})
			if out.String() == "host" {
				t.Fatal("the guest had us read a file of the host's")
			}
		}
		if i%15 > 0 {
			continue
		}
		to := need.TempDir(t)
		CopyFiles(t.Context(), w.Host, []CopyPlace{{Guest: "web1", Path: "/tmp"}}, CopyPlace{Path: to}, CopyOptions{Archive: true})
		CopyFiles(t.Context(), w.Host, []CopyPlace{{Path: to}}, CopyPlace{Guest: "web1", Path: "/tmp/sub"}, CopyOptions{Recursive: true})
	}
	t.Logf("%d of %d pushes were done", done, tried)
	names, err := os.ReadDir(outside)
	text, err2 := os.ReadFile(secret)
	if err != nil || err2 != nil || len(names) != 1 || string(text) != "host" {
		t.Errorf("outside: %v %q %v %v", names, text, err, err2)
	}
	if err := w.Stop(t.Context(), "web1", StopOptions{Kill: true}); err != nil {
		t.Fatal(err)
	}
	if left := w.passing("web1"); len(left) > 0 {
		t.Errorf("left: %q", left)
	}
	w.nothing("web1")
}

// What the guest's root may not touch in a directory of the host's that it has, we do not
// touch for it; what is its own there, we do.
func TestCopyForeign(t *testing.T) {
	w := newWorld(t)
	dir := need.TempDir(t)
	f := hostFile(t, filepath.Join(dir, "shut"), "host")
	hostFile(t, filepath.Join(dir, "open"), "host")
	if err := errors.Join(os.Chmod(f.Path, 0o600), os.Chmod(dir, 0o755)); err != nil {
		t.Fatal(err)
	}
	w.guest("web1", func(s *guest.Spec) {
		s.Mounts = []guest.Mount{{Source: dir, Target: "/tmp", Type: guest.MountBind}}
	})
	for _, state := range []string{"stopped", "running"} {
		if state == "running" {
			w.start("web1")
		}
		var out bytes.Buffer
		pull := func(name string) error {
			return CopyFiles(t.Context(), w.Host, []CopyPlace{{Guest: "web1", Path: "/tmp/" + name}}, CopyPlace{Out: &out}, CopyOptions{})
		}
		if err := pull("shut"); !errors.Is(err, os.ErrPermission) {
			t.Errorf("%s: shut: %v", state, err)
		}
		if err := pull("open"); err != nil || out.String() != "host" {
			t.Errorf("%s: open: %q %v", state, out.String(), err)
		}
		if err := CopyFiles(t.Context(), w.Host, []CopyPlace{f}, CopyPlace{Guest: "web1", Path: "/tmp/new"}, CopyOptions{}); !errors.Is(err, os.ErrPermission) {
			t.Errorf("%s: into: %v", state, err)
		}
	}
}

// begin begins to push what is never whole, and gives the other end of it.
func (w *world) begin(n guest.Name, to string) (*exec.Cmd, io.WriteCloser) {
	w.t.Helper()
	c := exec.Command(need.Binary(w.t), string(n), "push", "-", to)
	c.Env = append(os.Environ(), "VSERVER_ROOT="+w.root)
	var out bytes.Buffer
	c.Stderr = &out
	in, err := c.StdinPipe()
	if err == nil {
		err = c.Start()
	}
	if err == nil { // more than a pipe holds: it has begun when that is written
		_, err = in.Write(make([]byte, 1<<20))
	}
	if err != nil {
		w.t.Fatal(err, out.String())
	}
	return c, in
}

// A copying that is interrupted, killed, or whose guest ends leaves what was there.
func TestCopyBroken(t *testing.T) {
	w := newWorld(t)
	old := hostFile(t, filepath.Join(need.TempDir(t), "old"), "old")
	w.guest("web1", nil)
	push := func() {
		if err := CopyFiles(t.Context(), w.Host, []CopyPlace{old}, CopyPlace{Guest: "web1", Path: "/etc/file"}, CopyOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	for _, running := range []bool{false, true} {
		push()
		for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGKILL} {
			if running {
				w.Start(t.Context(), "web1", StartOptions{})
			}
			for _, path := range []string{"/etc/file", "/etc/new"} {
				c, in := w.begin("web1", path)
				c.Process.Signal(sig)
				if err := c.Wait(); err == nil {
					t.Errorf("%v: done all the same", sig)
				}
				in.Close()
			}
		}
		if running {
			c, in := w.begin("web1", "/etc/new")
			w.stop("web1")
			if err := c.Wait(); c.ProcessState.ExitCode() != 3 {
				t.Errorf("the guest ended: %v", err)
			}
			in.Close()
		}
		var out bytes.Buffer // the next one to look removes what a killed one had to give a name
		if err := CopyFiles(t.Context(), w.Host, []CopyPlace{{Guest: "web1", Path: "/etc/file"}}, CopyPlace{Out: &out}, CopyOptions{}); err != nil {
			t.Error(err)
		}
		if got := content(t, w.Host, "web1", "etc/file"); got != "old" {
			t.Errorf("the file is %q", got)
		}
		if got := content(t, w.Host, "web1", "etc/new"); got != "" {
			t.Errorf("the new file is %d bytes", len(got))
		}
		if left := w.passing("web1"); len(left) > 0 {
			t.Errorf("left: %q", left)
		}
	}
	w.start("web1")
	push()
	w.stop("web1")
}

// A guest is not started while something is copied to its files, and its files are not
// changed behind its back by one that is copied to while it stops.
func TestCopyKeepsStart(t *testing.T) {
	w := newWorld(t)
	w.guest("web1", nil)
	c, in := w.begin("web1", "/etc/new")
	if _, err := w.Start(t.Context(), "web1", StartOptions{}); !errors.Is(err, guest.ErrBusy) {
		t.Errorf("start meanwhile: %v", err)
	}
	in.Close()
	if err := c.Wait(); err != nil {
		t.Error(err)
	}
	w.start("web1")
	if out, _ := w.sh("web1", "stat -c '%s %u:%g' /etc/new"); out != fmt.Sprintf("%d 0:0\n", 1<<20) {
		t.Errorf("pushed: %q", out)
	}
}

// A full disk, and a guest's own limit, are one clear line, and leave what was there.
func TestCopyFullDisk(t *testing.T) {
	need.Root(t)
	need.Kernel(t, 6, 3) // of a tmpfs with other ids
	need.Overlay(t)
	root := filepath.Join(need.TempDir(t), "small")
	if err := os.Mkdir(root, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("small", root, "tmpfs", 0, "size=6M"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Unmount(root, syscall.MNT_DETACH) }) // the kernel may still be busy with overlays
	w := worldAt(t, root)
	big := hostFile(t, filepath.Join(need.TempDir(t), "big"), strings.Repeat("x", 8<<20))
	w.guest("web1", nil)
	for _, running := range []bool{false, true} {
		if running {
			w.start("web1")
		}
		for _, o := range []CopyOptions{{}, {Archive: true}} {
			err := CopyFiles(t.Context(), w.Host, []CopyPlace{big}, CopyPlace{Guest: "web1", Path: "/etc/"}, o)
			if !errors.Is(err, syscall.ENOSPC) || !strings.Contains(fault.HintOf(err), "df -h") {
				t.Errorf("%v, hint %q", err, fault.HintOf(err))
			}
		}
		err := CopyFiles(t.Context(), w.Host, []CopyPlace{big, {Guest: "web1", Path: "/bin/busybox"}}, CopyPlace{Path: root}, CopyOptions{})
		if !errors.Is(err, syscall.ENOSPC) || !strings.Contains(fault.HintOf(err), "df -h "+root) {
			t.Errorf("out: %v, hint %q", err, fault.HintOf(err))
		}
	}
	w.stop("web1")
	if got := content(t, w.Host, "web1", "etc/big"); got != "" || len(w.passing("web1")) > 0 {
		t.Errorf("left: %d bytes, %q", len(got), w.passing("web1"))
	}
}

// What is copied to a guest counts as the guest's, and its limit holds for us.
func TestCopyLimit(t *testing.T) {
	w := newWorld(t)
	w.sized("web1", guest.Limits{Disk: 16 << 20})
	big := hostFile(t, filepath.Join(need.TempDir(t), "big"), strings.Repeat("x", 24<<20))
	for _, running := range []bool{false, true} {
		if running {
			w.start("web1")
		}
		err := CopyFiles(t.Context(), w.Host, []CopyPlace{big}, CopyPlace{Guest: "web1", Path: "/etc/big"}, CopyOptions{})
		if !errors.Is(err, syscall.EDQUOT) && !errors.Is(err, syscall.ENOSPC) || fault.HintOf(err) == "" {
			t.Errorf("running %v: %v, hint %q", running, err, fault.HintOf(err))
		}
	}
	if left := uncounted(t, w.Dirs.Guest("web1"), 101); len(left) > 0 {
		t.Errorf("not counted: %v", left)
	}
	w.stop("web1")
}
