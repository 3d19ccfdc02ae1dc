package loop

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"vserver/internal/need"
	"vserver/kernel/mount"
)

func TestMain(m *testing.M) { need.Main(m) }

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// image gives a file of 16 MiB with an ext4 in it.
func image(t *testing.T) *os.File {
	t.Helper()
	need.Loop(t)
	need.Filesystem(t, "ext4")
	mkfs := need.Command(t, "mkfs.ext4")
	f, err := os.Create(filepath.Join(need.TempDir(t), "image"))
	check(t, err)
	t.Cleanup(func() { f.Close() })
	check(t, f.Truncate(16<<20))
	if out, err := exec.Command(mkfs, "-q", "-F", f.Name()).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return f
}

// A device is found again by its image, and is gone with its last user.
func TestAttach(t *testing.T) {
	f := image(t)
	if _, err := Find(f); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("Find before: %v", err)
	}
	dev, err := Attach(f)
	check(t, err)
	fd, err := mount.Disk("ext4", dev.Name(), mount.NoDev)
	check(t, err)
	check(t, dev.Close())

	again, err := Attach(f)
	check(t, err)
	if again.Name() != dev.Name() {
		t.Errorf("the image is on %s and on %s", dev.Name(), again.Name())
	}
	check(t, f.Truncate(32<<20))
	check(t, Resized(again))
	size, err := again.Seek(0, 2)
	if err != nil || size != 32<<20 {
		t.Errorf("size after: %d %v", size, err)
	}
	check(t, again.Close())
	if _, err := Find(f); err != nil {
		t.Errorf("Find while mounted: %v", err)
	}
	check(t, unix.Close(fd)) // need.Main waits for the device to go
}
