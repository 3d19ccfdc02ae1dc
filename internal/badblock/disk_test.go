package badblock

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"vserver/internal/need"
)

// disk is a file system on a device of which blocks can be made bad.
type disk struct {
	*testing.T
	under   string // the device below
	sectors int
	at      string // where it is mounted
}

const (
	name   = "vserver-badblock"
	device = "/dev/mapper/" + name
	sector = 512
)

// newDisk makes one of size bytes.
func newDisk(t *testing.T, size int64) *disk {
	dir := need.TempDir(t)
	f, err := os.Create(filepath.Join(dir, "image"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.Truncate(size); err != nil {
		t.Fatal(err)
	}
	loop := need.LoopDevice(t, f)
	defer loop.Close()
	d := &disk{t, loop.Name(), int(size / sector), filepath.Join(dir, "disk")}
	d.tool("dmsetup", "create", name, "--table", d.table(nil))
	d.tool("dmsetup", "mknodes") // there is no udev to do so
	t.Cleanup(func() { d.tool("dmsetup", "remove", "--retry", name) })
	d.tool("mkfs.ext4", "-q", device)
	if err := os.Mkdir(d.at, 0o755); err != nil {
		t.Fatal(err)
	}
	d.mount()
	t.Cleanup(d.unmount)
	return d
}

func (d *disk) tool(name string, args ...string) string {
	d.Helper()
	out, err := exec.Command(need.Command(d, name), args...).CombinedOutput()
	if err != nil {
		d.Fatalf("%s %q: %v: %s", name, args, err, out)
	}
	return string(out)
}

func (d *disk) mount() {
	d.Helper()
	if err := unix.Mount(device, d.at, "ext4", 0, ""); err != nil {
		d.Fatal(err)
	}
}

// unmount waits for the overlay of a guest that has just ended.
func (d *disk) unmount() {
	d.Helper()
	err := unix.Unmount(d.at, 0)
	for end := time.Now().Add(time.Minute); err == unix.EBUSY && time.Now().Before(end); err = unix.Unmount(d.at, 0) {
		time.Sleep(10 * time.Millisecond)
	}
	if err != nil {
		d.Error(err)
	}
}

// mend has the whole disk good again, and its file system put right as at a boot.
func (d *disk) mend() {
	d.Helper()
	d.set(nil)
	d.unmount()
	out, err := exec.Command(need.Command(d, "e2fsck"), "-fy", device).CombinedOutput()
	if x, ok := err.(*exec.ExitError); err != nil && (!ok || x.ExitCode() > 2) {
		d.Fatalf("e2fsck: %v: %s", err, out)
	}
	d.mount()
}

// run is sectors in a row, from the first to the one before end.
type run struct{ from, end int }

// table is the device with bad runs.
func (d *disk) table(bad []run) string {
	var b strings.Builder
	at := 0
	good := func(end int) {
		if end > at {
			fmt.Fprintf(&b, "%d %d linear %s %d\n", at, end-at, d.under, at)
		}
	}
	slices.SortFunc(bad, func(a, b run) int { return a.from - b.from })
	for _, r := range bad {
		good(r.from)
		fmt.Fprintf(&b, "%d %d error\n", r.from, r.end-r.from)
		at = r.end
	}
	good(d.sectors)
	return b.String()
}

// set makes these runs bad and all others good; nothing read before is remembered.
func (d *disk) set(bad []run) {
	d.Helper()
	unix.Sync()
	d.tool("dmsetup", "suspend", "--nolockfs", name)
	d.tool("dmsetup", "load", name, "--table", d.table(bad))
	d.tool("dmsetup", "resume", name)
	if err := os.WriteFile("/proc/sys/vm/drop_caches", []byte("3"), 0); err != nil {
		d.Fatal(err)
	}
}

// of gives where a file's content is.
func (d *disk) of(path string) (out []run) {
	d.Helper()
	unix.Sync()
	const unit = 1024
	text := d.tool("filefrag", "-v", "-b1024", path)
	for _, m := range regexp.MustCompile(`(?m)^ *\d+: +\d+\.\. *\d+: +(\d+)\.\. *(\d+):`).FindAllStringSubmatch(text, -1) {
		from, _ := strconv.Atoi(m[1])
		last, _ := strconv.Atoi(m[2])
		out = append(out, run{from * unit / sector, (last + 1) * unit / sector})
	}
	if len(out) == 0 {
		d.Fatalf("%s is nowhere: %s", path, text)
	}
	return out
}

// free gives nearly all that no file has. What ext4 keeps for itself nobody could have.
func (d *disk) free() []run {
	d.Helper()
	const left = 256 << 10 // for directories and the like
	var dev unix.Stat_t
	err := unix.Stat(device, &dev)
	if err == nil {
		err = os.WriteFile(fmt.Sprintf("/sys/fs/ext4/dm-%d/reserved_clusters", unix.Minor(dev.Rdev)), []byte("0"), 0)
	}
	if err != nil {
		d.Fatal(err)
	}
	path := filepath.Join(d.at, "ballast")
	var st unix.Statfs_t
	f, err := os.Create(path)
	if err == nil {
		err = unix.Fstatfs(int(f.Fd()), &st)
	}
	if err == nil {
		err = errors.Join(unix.Fallocate(int(f.Fd()), 0, 0, int64(st.Bfree)*st.Bsize-left), f.Close())
	}
	if err != nil {
		d.Fatal(err)
	}
	out := d.of(path)
	if err := os.Remove(path); err != nil {
		d.Fatal(err)
	}
	return out
}
