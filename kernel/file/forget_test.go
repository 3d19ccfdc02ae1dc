package file

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"vserver/internal/need"
)

// Where nothing can be written, nothing that is not there has to be removed.
func TestReadOnly(t *testing.T) {
	need.Root(t)
	dir := need.TempDir(t)
	if err := Writable(filepath.Join(dir, "not", "there")); err != nil {
		t.Error(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "there"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, flags := range []uintptr{unix.MS_BIND, unix.MS_BIND | unix.MS_REMOUNT | unix.MS_RDONLY} {
		if err := unix.Mount(dir, dir, "", flags, ""); err != nil {
			t.Fatal(err)
		}
	}
	defer unix.Unmount(dir, unix.MNT_DETACH)
	d, err := OpenDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	for _, err := range []error{Forget(filepath.Join(dir, "gone")), d.RemoveAll("gone")} {
		if err != nil {
			t.Error(err)
		}
	}
	for _, err := range []error{
		Forget(filepath.Join(dir, "there")), d.RemoveAll("there"), Writable(dir), Writable(filepath.Join(dir, "not", "there")),
	} {
		if !errors.Is(err, unix.EROFS) {
			t.Errorf("%v, want %v", err, unix.EROFS)
		}
	}
}
