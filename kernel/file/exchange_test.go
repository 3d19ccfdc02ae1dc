package file

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"vserver/internal/need"
)

// TestExchange exchanges two directories, and leaves one alone that has no other.
func TestExchange(t *testing.T) {
	dir := t.TempDir()
	a, b := filepath.Join(dir, "a"), filepath.Join(dir, "b")
	err := errors.Join(os.MkdirAll(filepath.Join(a, "of-a"), 0o755), os.MkdirAll(filepath.Join(b, "of-b"), 0o755))
	if err != nil {
		t.Fatal(err)
	}
	if err := Exchange(a, b); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{filepath.Join(a, "of-b"), filepath.Join(b, "of-a")} {
		if there, err := Exists(want); err != nil || !there {
			t.Errorf("%s: %v, %v", want, there, err)
		}
	}
	if err := Exchange(a, filepath.Join(dir, "none")); !errors.Is(err, syscall.ENOENT) {
		t.Errorf("with nothing: %v", err)
	}
	if there, _ := Exists(a); !there {
		t.Error("it is gone")
	}
}

// TestSettle writes a file on each file system and is content with it.
func TestSettle(t *testing.T) {
	for _, at := range []string{t.TempDir(), "/dev/shm"} {
		f, err := os.CreateTemp(at, "settle")
		if err != nil {
			t.Fatal(err)
		}
		defer os.Remove(f.Name())
		_, err = f.WriteString("text")
		if err = errors.Join(err, Settle(f), f.Close()); err != nil {
			t.Errorf("%s: %v", at, err)
		}
		if err := Settle(f); err == nil {
			t.Errorf("%s: a closed file is settled", at)
		}
	}
}

// TestEntryTimes sets the times of a directory that is held.
func TestEntryTimes(t *testing.T) {
	need.Root(t)
	d := opened(t, t.TempDir())
	e, err := d.SelfEntry()
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	const access, change = 1_000_000_000_000_000_001, 1_000_000_001_000_000_002
	if err := e.SetTimes(access, change); err != nil {
		t.Fatal(err)
	}
	if st, err := d.Self(); err != nil || st.Mtime != change {
		t.Errorf("%+v, %v", st, err)
	}
}
