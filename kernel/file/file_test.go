package file

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"vserver/internal/need"
)

func TestMain(m *testing.M) { need.Main(m) }

func opened(t *testing.T, path string) *Dir {
	t.Helper()
	d, err := OpenDir(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

func TestNamesOnly(t *testing.T) {
	d := opened(t, t.TempDir())
	for _, name := range []string{"", ".", "..", "a/b", "/", "../x", "a\x00b"} {
		calls := map[string]error{
			"mkdir": d.Mkdir(name, 0o755), "symlink": d.Symlink("x", name), "unlink": d.Unlink(name),
			"rmdir": d.Rmdir(name), "mknod": d.Mknod(name, TypeFIFO, 0), "rename": d.Rename(name, d, "x"),
			"rename to": d.Rename("x", d, name), "link": d.Link(name, d, "x"), "link to": d.Link("x", d, name),
			"times": d.SetTimes(name, 0, 0),
		}
		_, calls["stat"] = d.Stat(name)
		_, calls["open"] = d.Open(name, os.O_RDONLY, 0)
		_, calls["dir"] = d.Dir(name)
		_, calls["entry"] = d.Entry(name)
		_, calls["readlink"] = d.Readlink(name)
		for call, err := range calls {
			if !errors.Is(err, syscall.EINVAL) {
				t.Errorf("%s %q: %v", call, name, err)
			}
		}
	}
}

func TestFollowsNothing(t *testing.T) {
	dir := t.TempDir()
	outside := t.TempDir()
	if err := os.WriteFile(filepath.Join(outside, "f"), []byte("outside"), 0o644); err != nil {
		t.Fatal(err)
	}
	d := opened(t, dir)
	for name, to := range map[string]string{"dir": outside, "file": filepath.Join(outside, "f")} {
		if err := d.Symlink(to, name); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := d.Dir("dir"); err == nil {
		t.Error("a link to a directory was followed")
	}
	if _, err := d.Open("file", os.O_RDWR, 0); !errors.Is(err, syscall.ELOOP) {
		t.Errorf("a link to a file was followed: %v", err)
	}
	if _, err := d.Open("file", os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o644); err == nil {
		t.Error("a link to a file was written through")
	}
	if _, _, err := d.Parent("dir/f"); err == nil {
		t.Error("a path was followed through a link")
	}
	e, err := d.Entry("file")
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	if st, err := e.Stat(); err != nil || st.Type() != TypeLink {
		t.Errorf("%+v, %v", st, err)
	}
	if err := d.RemoveAll("dir"); err != nil {
		t.Error(err)
	}
	if b, err := os.ReadFile(filepath.Join(outside, "f")); err != nil || string(b) != "outside" {
		t.Errorf("outside: %q, %v", b, err)
	}
}

func TestOpenRefuses(t *testing.T) {
	dir := t.TempDir()
	d := opened(t, dir)
	if err := d.Mknod("fifo", TypeFIFO|0o600, 0); err != nil {
		t.Fatal(err)
	}
	if err := d.Mkdir("dir", 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "big"), make([]byte, 100), 0o600); err != nil {
		t.Fatal(err)
	}
	done := make(chan error)
	go func() {
		_, err := d.Open("fifo", os.O_RDONLY, 0)
		done <- err
	}()
	select {
	case err := <-done:
		if !errors.Is(err, syscall.EINVAL) {
			t.Errorf("fifo: %v", err)
		}
	case <-time.After(30 * time.Second):
		t.Error("fifo: waits")
	}
	if _, err := d.Open("dir", os.O_RDONLY, 0); err == nil {
		t.Error("a directory was opened as a file")
	}
	if _, err := d.Read("big", 99); !errors.Is(err, syscall.EFBIG) {
		t.Errorf("big: %v", err)
	}
	if b, err := d.Read("big", 100); err != nil || len(b) != 100 {
		t.Errorf("big: %d bytes, %v", len(b), err)
	}
}

func TestMkdirMode(t *testing.T) {
	old := syscall.Umask(0o077)
	defer syscall.Umask(old)
	d := opened(t, t.TempDir())
	if err := d.Mkdir("d", 0o1777); err != nil {
		t.Fatal(err)
	}
	if st, err := d.Stat("d"); err != nil || st.Perm() != 0o1777 {
		t.Errorf("%o, %v", st.Perm(), err)
	}
}

func TestEntryMeta(t *testing.T) {
	need.Root(t)
	dir := t.TempDir()
	d := opened(t, dir)
	if err := d.Mknod("fifo", TypeFIFO|0o600, 0); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "f"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"fifo", "f"} {
		e, err := d.Entry(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(e.Chown(1000, 2000), e.Chmod(0o4711)); err != nil {
			t.Error(err)
		}
		if st, err := e.Stat(); err != nil || st.UID != 1000 || st.GID != 2000 || st.Perm() != 0o4711 {
			t.Errorf("%s: %+v, %v", name, st, err)
		}
		e.Close()
	}
	e, err := d.Entry("f")
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	long := strings.Repeat("v", 3000)
	if err := errors.Join(e.SetXattr("user.a", []byte(long)), e.SetXattr("trusted.b", nil)); err != nil {
		t.Fatal(err)
	}
	xs, err := e.Xattrs()
	got := map[string]string{}
	for _, x := range xs {
		got[x.Name] = string(x.Value)
	}
	if err != nil || len(got) != 2 || got["user.a"] != long || got["trusted.b"] != "" {
		t.Errorf("%v, %v", got, err)
	}
	if _, err := e.Xattr("user.none"); !errors.Is(err, syscall.ENODATA) {
		t.Errorf("no attribute: %v", err)
	}
	if err := d.SetTimes("f", 1e9, 2e9+5); err != nil {
		t.Fatal(err)
	}
	if st, err := e.Stat(); err != nil || st.Atime != 1e9 || st.Mtime != 2e9+5 {
		t.Errorf("times: %+v, %v", st, err)
	}
}

// TestRemoveDeep removes a tree deeper than there are descriptors or than a path can
// name.
func TestRemoveDeep(t *testing.T) {
	dir := t.TempDir()
	d := opened(t, dir)
	at := d
	for i := range 5000 {
		if err := at.Mkdir("d", 0o700); err != nil {
			t.Fatal(i, err)
		}
		next, err := at.Dir("d")
		if err != nil {
			t.Fatal(err)
		}
		if at != d {
			at.Close()
		}
		at = next
	}
	f, err := at.Open("f", os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
	at.Close()
	if err := d.RemoveAll("d"); err != nil {
		t.Error(err)
	}
	if names, err := d.Names(); err != nil || len(names) > 0 {
		t.Errorf("left %v, %v", names, err)
	}
}

func TestRemoveNotMounts(t *testing.T) {
	need.Root(t)
	dir := need.TempDir(t)
	for _, p := range []string{"host", "tree/mnt"} {
		if err := os.MkdirAll(filepath.Join(dir, p), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "host/precious"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	mnt := filepath.Join(dir, "tree/mnt")
	if err := syscall.Mount(filepath.Join(dir, "host"), mnt, "", syscall.MS_BIND, ""); err != nil {
		t.Fatal(err)
	}
	defer syscall.Unmount(mnt, 0)
	d := opened(t, dir)
	if err := d.RemoveAll("tree"); !errors.Is(err, syscall.EBUSY) {
		t.Errorf("got %v", err)
	}
	if _, err := os.Stat(filepath.Join(dir, "host/precious")); err != nil {
		t.Error(err)
	}
	if st, err := opened(t, filepath.Join(dir, "tree")).Stat("mnt"); err != nil || !st.MountRoot {
		t.Errorf("%+v, %v", st, err)
	}
	if err := d.RemoveAll("none"); err != nil {
		t.Errorf("what is not there: %v", err)
	}
}

func TestCopySparse(t *testing.T) {
	dir := t.TempDir()
	src, err := os.Create(filepath.Join(dir, "src"))
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	const size = 1 << 30
	for _, at := range []int64{0, 5 << 20, size - 3} {
		if _, err := src.WriteAt([]byte("xyz"), at); err != nil {
			t.Fatal(err)
		}
	}
	dst, err := os.Create(filepath.Join(dir, "dst"))
	if err != nil {
		t.Fatal(err)
	}
	defer dst.Close()
	if err := CopyData(dst, src); err != nil {
		t.Fatal(err)
	}
	st, err := dst.Stat()
	if err != nil || st.Size() != size {
		t.Fatal(st.Size(), err)
	}
	if blocks := st.Sys().(*syscall.Stat_t).Blocks; blocks > 1000 {
		t.Errorf("%d blocks: the holes were filled", blocks)
	}
	b := make([]byte, 3)
	for _, at := range []int64{0, 5 << 20, size - 3} {
		if _, err := dst.ReadAt(b, at); err != nil || string(b) != "xyz" {
			t.Errorf("at %d: %q, %v", at, b, err)
		}
	}
}

// TestLeave has another process keep a lock until it ends.
func TestLeave(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	l, err := TryLock(path)
	if err != nil {
		t.Fatal(err)
	}
	other := exec.Command("/bin/cat")
	other.ExtraFiles = []*os.File{l.f}
	in, err := other.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := other.Start(); err != nil {
		t.Fatal(err)
	}
	if err := l.Leave(); err != nil {
		t.Error(err)
	}
	if _, err := TryLock(path); !errors.Is(err, ErrLocked) {
		t.Errorf("while the other lives: %v", err)
	}
	in.Close()
	if err := other.Wait(); err != nil {
		t.Error(err)
	}
	last, err := TryLock(path)
	if err != nil {
		t.Fatal(err)
	}
	last.Unlock()
}
