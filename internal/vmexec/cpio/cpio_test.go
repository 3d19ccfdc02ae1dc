package cpio

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"vserver/internal/need"
)

// TestArchive has another program read what was written.
func TestArchive(t *testing.T) {
	busybox := need.Command(t, "busybox")
	dir := t.TempDir()
	source := filepath.Join(dir, "source")
	if err := os.WriteFile(source, []byte("from the host\n"), 0o640); err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	a := New(&b)
	a.Data("a/b/file", 0o751, "content")
	a.Data("a/b/file", 0o600, "the first one stays")
	a.Link("a/link", "b/file")
	a.File("copy", source)
	a.Dir("empty")
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	c := exec.Command(busybox, "cpio", "-idm")
	c.Dir, c.Stdin = dir, &b
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("cpio: %v\n%s", err, out)
	}
	for name, want := range map[string]string{"a/b/file": "content", "a/link": "content", "copy": "from the host\n"} {
		if got, err := os.ReadFile(filepath.Join(dir, name)); err != nil || string(got) != want {
			t.Errorf("%s: %q, %v; want %q", name, got, err, want)
		}
	}
	for name, want := range map[string]os.FileMode{"a/b/file": 0o751, "copy": 0o640, "empty": os.ModeDir | 0o755} {
		if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.Mode() != want {
			t.Errorf("%s: %v, want mode %v", name, err, want)
		}
	}
}

// full refuses bytes after the first n.
type full struct{ n int }

func (f *full) Write(b []byte) (int, error) {
	if f.n -= len(b); f.n < 0 {
		return 0, errors.New("disk full")
	}
	return len(b), nil
}

func TestArchiveErrors(t *testing.T) {
	a := New(&full{n: 200})
	for range 10 {
		a.Data("x/y", 0o644, strings.Repeat("z", 100))
	}
	if err := a.Close(); err == nil || !strings.Contains(err.Error(), "disk full") {
		t.Errorf("on a full disk: %v", err)
	}
	a = New(&bytes.Buffer{})
	a.File("x", "/no/such/file")
	if err := a.Close(); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("of no file: %v", err)
	}
}
