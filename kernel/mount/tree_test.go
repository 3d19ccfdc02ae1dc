package mount

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"vserver/internal/need"
)

// TestTree joins two mounts, attaches them, finds them and takes them away.
func TestTree(t *testing.T) {
	need.Root(t)
	var fds []int
	for _, name := range []string{"outer", "inner"} {
		fd, err := New("tmpfs", 0)
		if err != nil {
			t.Fatal(err)
		}
		defer syscall.Close(fd)
		if err := errors.Join(Mkdir(fd, "place", 0o755, 0), File(fd, name, name, 0)); err != nil {
			t.Fatal(err)
		}
		fds = append(fds, fd)
	}
	fd, err := Tree(fds[0], []Below{{FD: fds[1], Path: "/place"}})
	if err != nil {
		t.Fatal(err)
	}
	id, err := ID(fd)
	if err != nil {
		t.Fatal(err)
	}
	at := filepath.Join(need.TempDir(t), "a place")
	if err := errors.Join(os.Mkdir(at, 0o755), SetAttrAll(fd, NoSuid, -1), Attach(fd, at), syscall.Close(fd)); err != nil {
		t.Fatal(err)
	}
	if text, err := os.ReadFile(filepath.Join(at, "place/inner")); err != nil || string(text) != "inner" {
		t.Errorf("%q %v", text, err)
	}
	for path, want := range map[string]bool{at: true, at + "/place": false, "/": false} {
		if there, err := At(path, id); err != nil || there != want {
			t.Errorf("%s: %v %v", path, there, err)
		}
	}
	held, err := os.Open(filepath.Join(at, "outer"))
	if err != nil {
		t.Fatal(err)
	}
	if err := Detach(at); !errors.Is(err, unix.EBUSY) {
		t.Errorf("in use: %v", err)
	}
	if err := errors.Join(held.Close(), Detach(at)); err != nil {
		t.Fatal(err)
	}
	if there, err := At(at, id); err != nil || there {
		t.Errorf("still there: %v %v", there, err)
	}
	third, err := New("tmpfs", 0)
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(third)
	if _, err := Tree(third, []Below{{FD: fds[1], Path: "/nowhere"}}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no such place: %v", err)
	}
}
