package spawn

import (
	"errors"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"vserver/internal/need"
	"vserver/kernel/mount"
)

// own gives a table that begins in a mount namespace of its own, where nothing that it
// mounts is seen by others.
func own(fill func(*Table)) func(*Table) {
	return func(t *Table) {
		t.Unshare("make mount namespace", unix.CLONE_NEWNS)
		t.Private()
		fill(t)
	}
}

// A mount finds its directory, or has it made with the mode that is asked for.
func TestAttachAt(t *testing.T) {
	need.Root(t)
	dir := need.TempDir(t)
	there, missing := filepath.Join(dir, "there"), filepath.Join(dir, "missing")
	if err := os.Mkdir(there, 0o700); err != nil {
		t.Fatal(err)
	}
	out, c, err := output(t, Options{Cgroup: -1}, own(func(t *Table) {
		t.Umask(0)
		t.AttachAt(t.NewFS("tmpfs", 0), there, 0o755)
		t.AttachAt(t.NewFS("tmpfs", 0), missing, 0o711)
		t.Exec([]string{"/bin/sh"}, []string{"sh", "-c", "grep -c ' " + dir + "/' /proc/self/mounts"}, []string{"PATH=/bin:/usr/bin"})
	}))
	if err != nil {
		t.Fatal(err)
	}
	c.Wait()
	if strings.TrimSpace(out) != "2" {
		t.Errorf("mounts: %q", out)
	}
	for path, want := range map[string]os.FileMode{there: 0o700, missing: 0o711} {
		if st, err := os.Stat(path); err != nil || st.Mode().Perm() != want {
			t.Errorf("%s: %v, %v, want %v", path, st, err, want)
		}
	}
}

// No link is followed to where a mount is attached, and none is replaced.
func TestAttachAtLink(t *testing.T) {
	need.Root(t)
	dir := need.TempDir(t)
	link := filepath.Join(dir, "link")
	if err := os.Symlink(dir, link); err != nil {
		t.Fatal(err)
	}
	_, c, err := output(t, Options{Cgroup: -1}, own(func(t *Table) {
		t.AttachAt(t.NewFS("tmpfs", 0), link, 0o755)
		t.End()
	}))
	c.Wait()
	if !errors.Is(err, syscall.ELOOP) || !strings.Contains(err.Error(), link) {
		t.Errorf("%v", err)
	}
}

// What is covered reads as what covers it; a path that the kernel lacks is passed over,
// but not a cover that is missing: then nothing would be hidden.
func TestCover(t *testing.T) {
	need.Root(t)
	cover := filepath.Join(need.TempDir(t), "cover")
	if err := os.WriteFile(cover, []byte("nothing to see\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	out, c, err := output(t, Options{Cgroup: -1}, own(func(t *Table) {
		t.Cover(cover, "/proc/cmdline", "/proc/no-such-file", "/proc/version")
		t.Exec([]string{"/bin/cat"}, []string{"cat", "/proc/cmdline", "/proc/version"}, nil)
	}))
	if err != nil {
		t.Fatal(err)
	}
	c.Wait()
	if out != strings.Repeat("nothing to see\n", 2) {
		t.Errorf("reads %q", out)
	}
	_, c, err = output(t, Options{Cgroup: -1}, own(func(t *Table) {
		t.Cover(cover+"-missing", "/proc/cmdline")
		t.End()
	}))
	c.Wait()
	if !errors.Is(err, syscall.ENOENT) {
		t.Errorf("a cover that is missing: %v", err)
	}
}

// What is missing on either side is passed over, and what is there is bound.
func TestBindIfThere(t *testing.T) {
	need.Root(t)
	from := filepath.Join(need.TempDir(t), "from")
	if err := os.WriteFile(from, []byte("bound\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	out, c, err := output(t, Options{Cgroup: -1}, own(func(t *Table) {
		for _, attr := range []uint64{0, mount.ReadOnly} {
			t.BindIfThere(from, "/proc/no-such-file", attr)
			t.BindIfThere(from+"-missing", "/proc/version", attr)
			t.BindIfThere(from, "/proc/cmdline", attr)
		}
		t.Exec([]string{"/bin/cat"}, []string{"cat", "/proc/version", "/proc/cmdline"}, nil)
	}))
	if err != nil {
		t.Fatal(err)
	}
	c.Wait()
	if !strings.HasPrefix(out, "Linux version") || !strings.HasSuffix(out, "\nbound\n") {
		t.Errorf("reads %q", out)
	}
}

// All signals have their default action again, those that were ignored as well, and none
// is blocked.
func TestResetSignals(t *testing.T) {
	signal.Ignore(syscall.SIGUSR2)
	defer signal.Reset(syscall.SIGUSR2)
	out, c, err := output(t, Options{Cgroup: -1}, func(t *Table) {
		t.ResetSignals()
		t.Exec([]string{"/bin/grep"}, []string{"grep", "-E", "^Sig(Ign|Blk)", "/proc/self/status"}, nil)
	})
	if err != nil {
		t.Fatal(err)
	}
	c.Wait()
	for line := range strings.Lines(out) {
		if _, mask, _ := strings.Cut(line, ":"); strings.Trim(mask, "0 \t\n") != "" {
			t.Errorf("left: %s", line)
		}
	}
	if strings.Count(out, "\n") != 2 {
		t.Errorf("status: %q", out)
	}
}
