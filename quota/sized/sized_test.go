package sized

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"vserver/guest"
	"vserver/internal/need"
)

func TestMain(m *testing.M) { need.Main(m) }

func made(t *testing.T, space guest.Bytes, inodes guest.Count) string {
	t.Helper()
	need.Loop(t)
	need.Filesystem(t, kind)
	need.Command(t, "mkfs."+kind)
	dir := need.TempDir(t)
	if err := Make(t.Context(), dir, space, inodes, nil); err != nil {
		t.Fatal(err)
	}
	return dir
}

// However many come at once, all see one file system by one device.
func TestOneDevice(t *testing.T) {
	dir := made(t, 64<<20, 0)
	var all sync.WaitGroup
	names := make([]string, 16)
	disks := make([]*Disk, len(names))
	for i := range names {
		all.Go(func() {
			d, err := Open(dir)
			if err != nil {
				t.Error(err)
				return
			}
			disks[i], names[i] = d, d.dev.Name()
		})
	}
	all.Wait()
	for i, d := range disks {
		if d == nil {
			continue
		}
		if names[i] != names[0] {
			t.Errorf("%s and %s show one image", names[i], names[0])
		}
		if i == 0 {
			if err := os.WriteFile(filepath.Join(d.Path(), "x"), []byte("y"), 0o600); err != nil {
				t.Error(err)
			}
		}
		if text, err := os.ReadFile(filepath.Join(d.Path(), "x")); err != nil || string(text) != "y" {
			t.Errorf("%d: %q %v", i, text, err)
		}
	}
	for _, d := range disks {
		if d != nil {
			d.Close()
		}
	}
}

// A fill that fails leaves nothing, and what one that was killed left is swept.
func TestMake(t *testing.T) {
	need.Loop(t)
	need.Command(t, "mkfs."+kind)
	dir := need.TempDir(t)
	boom := errors.New("boom")
	if err := Make(t.Context(), dir, 64<<20, 0, func(string) error { return boom }); !errors.Is(err, boom) {
		t.Errorf("fill: %v", err)
	}
	if err := Make(t.Context(), dir, Least-1, 0, nil); !errors.Is(err, guest.ErrInvalid) {
		t.Errorf("too small: %v", err)
	}
	if names, err := os.ReadDir(dir); err != nil || len(names) > 0 {
		t.Errorf("left: %v %v", names, err)
	}
	for _, name := range []string{making(dir), filepath.Join(dir, "upper")} {
		if err := os.WriteFile(name, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := Sweep(dir); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(making(dir)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("half an image is left: %v", err)
	}
	if _, err := os.Stat(filepath.Join(dir, "upper")); err != nil {
		t.Errorf("files swept, though there is no image: %v", err)
	}
	if _, err := Open(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no image: %v", err)
	}
}
