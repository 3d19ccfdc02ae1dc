package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"vserver/fault"
	"vserver/guest"
	"vserver/store/settings"
)

// web1 is a spec as people have it, of twenty lines.
const web1 = `# the shop's front
xid: %d
hostname: %s.example.org
root:
  lower: [bookworm] # the image
init:
  style: plain
  stop_timeout: 2m
  environment:
    LANG: C.UTF-8
network:
  addresses:
    - %s/24
limits:
  memory: 512M
  cpus: 1.5
  rlimits: {nofile: "1024:4096"}
boot:
  marks: [default]
restart: on-failure
`

func write(t testing.TB, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// fleet writes n specs and gives their directory.
func fleet(t testing.TB, n int) string {
	dir := t.TempDir()
	for i := range n {
		name := fmt.Sprintf("g%03d", i)
		addr := fmt.Sprintf("10.%d.%d.2", i/250, i%250)
		write(t, filepath.Join(dir, name+suffix), fmt.Sprintf(web1, 8+i, name, addr))
	}
	return dir
}

func TestLoad(t *testing.T) {
	path := filepath.Join(fleet(t, 1), "g000.yaml")
	spec, err := Load(path)
	if err != nil || spec.XID != 8 || spec.Limits.Memory != 512<<20 {
		t.Fatalf("%+v, %v", spec, err)
	}
	if _, err := Load(path + "x"); !errors.Is(err, guest.ErrNotFound) {
		t.Errorf("a missing file: %v", err)
	}
	write(t, path, "boot:\n  depends: [g000]\n")
	if _, err := Load(path); err == nil || err.Error() != path+":2:13: boot.depends[0]: a guest cannot depend on itself" {
		t.Errorf("depends on itself: %v", err)
	}
	write(t, path, strings.Repeat("# much\n", settings.MaxSize/6))
	if _, err := Load(path); !errors.Is(err, guest.ErrInvalid) {
		t.Errorf("a file without end: %v", err)
	}
}

// TestTrust refuses files that somebody else could have written, and what is no file
// at all without waiting for it.
func TestTrust(t *testing.T) {
	dir := fleet(t, 1)
	path := filepath.Join(dir, "g000.yaml")
	for _, mode := range []fs.FileMode{0o660, 0o606} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		_, err := Load(path)
		if !errors.Is(err, guest.ErrInvalid) || !strings.HasPrefix(fault.HintOf(err), "chmod go-w ") {
			t.Errorf("mode %o: %v, hint %q", mode, err, fault.HintOf(err))
		}
	}
	if os.Geteuid() == 0 {
		if err := errors.Join(os.Chmod(path, 0o600), os.Chown(path, 1234, -1)); err != nil {
			t.Fatal(err)
		}
		if _, err := Load(path); !errors.Is(err, guest.ErrInvalid) || !strings.Contains(err.Error(), "uid 1234") {
			t.Errorf("somebody else's: %v", err)
		}
	}
	pipe := filepath.Join(dir, "pipe.yaml")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, p := range []string{pipe, dir} {
		if _, err := Load(p); !errors.Is(err, guest.ErrInvalid) {
			t.Errorf("%s: %v", p, err)
		}
	}
}

func TestNames(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"web2.yaml", "web1.yaml", "a.b.yaml", ".web3.yaml.123", ".x.yaml", "start.yaml", "web4.yml", "a b.yaml", "old"} {
		write(t, filepath.Join(dir, name), "")
	}
	if err := os.Mkdir(filepath.Join(dir, "dir.yaml"), 0o700); err != nil {
		t.Fatal(err)
	}
	names, err := Names(dir)
	if want := []guest.Name{"a.b", "web1", "web2"}; err != nil || !slices.Equal(names, want) {
		t.Errorf("%v, %v", names, err)
	}
	if names, err := Names(filepath.Join(dir, "none")); len(names) > 0 || err != nil {
		t.Errorf("no directory: %v, %v", names, err)
	}
}

func TestWrite(t *testing.T) {
	path := filepath.Join(t.TempDir(), "vservers", "web1.yaml")
	spec := &guest.Spec{XID: 9, Limits: guest.Limits{Memory: 1 << 30}}
	if err := Write(path, spec); err != nil {
		t.Fatal(err)
	}
	got, err := Load(path)
	if err != nil || got.XID != 9 || got.Limits.Memory != 1<<30 {
		t.Fatalf("%+v, %v", got, err)
	}
	perm := func(p string) fs.FileMode {
		info, err := os.Stat(p)
		if err != nil {
			t.Fatal(err)
		}
		return info.Mode().Perm()
	}
	if perm(path) != 0o600 || perm(filepath.Dir(path)) != 0o755 {
		t.Errorf("modes %o and %o", perm(path), perm(filepath.Dir(path)))
	}
	// A mode, and a link, that somebody chose are kept.
	other := filepath.Join(t.TempDir(), "elsewhere.yaml")
	if err := errors.Join(os.Chmod(path, 0o644), os.Rename(path, other), os.Symlink(other, path)); err != nil {
		t.Fatal(err)
	}
	if err := WriteText(path, []byte("xid: 10\n")); err != nil {
		t.Fatal(err)
	}
	if to, err := os.Readlink(path); to != other || perm(other) != 0o644 {
		t.Errorf("link to %s, %v, mode %o", to, err, perm(other))
	}
	if got, err := Load(other); err != nil || got.XID != 10 {
		t.Errorf("%+v, %v", got, err)
	}
	if err := Write(path, &guest.Spec{XID: 1}); !errors.Is(err, guest.ErrInvalid) {
		t.Errorf("a wrong spec: %v", err)
	}
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(path), ".*")); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

// TestWriteAtOnce has many write one spec: it is one of theirs, whole, and what a
// killed one left is gone.
func TestWriteAtOnce(t *testing.T) {
	path := filepath.Join(fleet(t, 1), "g000.yaml")
	write(t, beside(path), "half a sp")
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			text := strings.Repeat(fmt.Sprintf("# writer %d\n", i), 1000) + fmt.Sprintf("xid: %d\n", 100+i)
			if err := WriteText(path, []byte(text)); err != nil {
				t.Error(err)
			}
			if spec, err := Load(path); err != nil || spec.XID < 100 {
				t.Errorf("%+v, %v", spec, err)
			}
		})
	}
	wg.Wait()
	text, err := os.ReadFile(path)
	lines := strings.Split(string(text), "\n")
	if err != nil || len(lines) != 1002 || len(slices.Compact(lines[:1000])) != 1 {
		t.Errorf("%v: a mixture of %d lines", err, len(lines))
	}
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(path), ".*")); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

// TestWriteFails leaves the old text when there is no room for the new one.
func TestWriteFails(t *testing.T) {
	path := filepath.Join(fleet(t, 1), "g000.yaml")
	var old syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &old); err != nil {
		t.Fatal(err)
	}
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	small := syscall.Rlimit{Cur: 100, Max: old.Max}
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &small); err != nil {
		t.Fatal(err)
	}
	err = WriteText(path, append(before, before...))
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &old); err != nil {
		t.Fatal(err)
	}
	if !errors.Is(err, syscall.EFBIG) {
		t.Errorf("%v", err)
	}
	if after, err := os.ReadFile(path); err != nil || string(after) != string(before) {
		t.Errorf("%v\n%s", err, after)
	}
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(path), ".*")); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

func TestRenameRemove(t *testing.T) {
	dir := fleet(t, 2)
	a, b, c := filepath.Join(dir, "g000.yaml"), filepath.Join(dir, "g001.yaml"), filepath.Join(dir, "c.yaml")
	if err := Rename(a, b); !errors.Is(err, guest.ErrExists) {
		t.Errorf("onto another: %v", err)
	}
	if err := Rename(c, a); !errors.Is(err, guest.ErrExists) && !errors.Is(err, guest.ErrNotFound) {
		t.Errorf("from nothing: %v", err)
	}
	write(t, beside(c), "half a sp")
	if err := os.Link(a, c); err != nil { // as a killed Rename leaves it
		t.Fatal(err)
	}
	for range 2 {
		if err := Rename(a, c); err != nil && !errors.Is(err, guest.ErrNotFound) {
			t.Errorf("%v", err)
		}
	}
	if err := Rename(a, filepath.Join(dir, "d.yaml")); !errors.Is(err, guest.ErrNotFound) {
		t.Errorf("again: %v", err)
	}
	for range 2 {
		if err := Remove(c); err != nil {
			t.Errorf("%v", err)
		}
	}
	if err := Remove(filepath.Join(dir, "no", "such.yaml")); err != nil {
		t.Error(err)
	}
	if left, _ := os.ReadDir(dir); len(left) != 1 || left[0].Name() != "g001.yaml" {
		t.Errorf("left: %v", left)
	}
}

func TestLock(t *testing.T) {
	path := filepath.Join(t.TempDir(), "run", "locks", "web1")
	held, err := Lock(path, 0)
	if err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	if _, err := Lock(path, 50*time.Millisecond); !errors.Is(err, guest.ErrBusy) || time.Since(start) < 50*time.Millisecond {
		t.Errorf("a lock that is held: %v after %v", err, time.Since(start))
	}
	go func() {
		time.Sleep(20 * time.Millisecond)
		held.Release()
	}()
	again, err := Lock(path, 10*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	again.Release()
}

// TestAll reads good and bad ones side by side.
func TestAll(t *testing.T) {
	dir := fleet(t, 40)
	write(t, filepath.Join(dir, "g020.yaml"), "xid: no\n")
	all, err := All(dir)
	if err != nil || len(all) != 40 {
		t.Fatalf("%d, %v", len(all), err)
	}
	for i, e := range all {
		if (e.Err != nil) != (i == 20) || (e.Spec == nil) != (i == 20) || string(e.Name) != fmt.Sprintf("g%03d", i) {
			t.Errorf("%d: %+v", i, e)
		}
	}
}

func BenchmarkLoad(b *testing.B) {
	path := filepath.Join(fleet(b, 1), "g000.yaml")
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Load(path); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkAll500 is what `vserver list` reads.
func BenchmarkAll500(b *testing.B) {
	dir := fleet(b, 500)
	for b.Loop() {
		if all, err := All(dir); err != nil || len(all) != 500 {
			b.Fatal(err)
		}
	}
}

// BenchmarkCheck500 is what a build and a set add to that.
func BenchmarkCheck500(b *testing.B) {
	all, err := All(fleet(b, 500))
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if found := Check(all, nil); len(found) > 0 {
			b.Fatal(found)
		}
	}
}
