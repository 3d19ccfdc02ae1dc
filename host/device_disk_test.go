package host

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"vserver/fault"
	"vserver/guest"
	"vserver/internal/need"
	"vserver/quota/sized"
	"vserver/stack"
)

// device gives a block device of a size on which nothing is.
func device(t *testing.T, size int64) string {
	t.Helper()
	f, err := os.Create(filepath.Join(need.TempDir(t), "device"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.Truncate(size); err != nil {
		t.Fatal(err)
	}
	dev := need.LoopDevice(t, f)
	t.Cleanup(func() { dev.Close() })
	return dev.Name()
}

// onDevice makes a guest with its own files on a device.
func (w *world) onDevice(n guest.Name, dev string) error {
	spec := &guest.Spec{Root: guest.Root{Device: dev}, Init: guest.Init{Style: guest.InitCommand, Command: []string{"/bin/sleep", "inf"}},
		Network: guest.Network{Mode: guest.NetNone}}
	return w.Build(w.t.Context(), n, spec, boxed(w.t), BuildOptions{})
}

// A guest with its own files on a block device has that for itself, and is refused what
// would take another one.
func TestDevice(t *testing.T) {
	w := newWorld(t)
	need.Command(t, "mkfs.ext4")
	need.Command(t, "blkid")
	dev, n, ctx := device(t, 64*mebi), guest.Name("web1"), t.Context()
	if err := w.onDevice(n, dev); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(need.TempDir(t), "file")
	if err := os.WriteFile(file, make([]byte, 32*mebi), 0o600); err != nil {
		t.Fatal(err)
	}
	for bad, want := range map[string]error{dev: guest.ErrExists, file: guest.ErrInvalid, "/dev/null": guest.ErrInvalid,
		device(t, mebi): guest.ErrInvalid, "/nowhere": os.ErrNotExist} {
		if err := w.onDevice("web2", bad); !errors.Is(err, want) || !strings.Contains(err.Error(), "root.device") {
			t.Errorf("%s: %v", bad, err)
		}
	}
	w.start(n)
	if err := w.onDevice("web2", dev); !errors.Is(err, guest.ErrBusy) {
		t.Errorf("a device in use: %v", err)
	}
	w.sh(n, "echo first >/mine")
	if got := w.df(n); got < 50 || got > 64 {
		t.Errorf("df: %d MiB", got)
	}
	if st, err := w.Status(n); err != nil || st.Disk == nil || st.Disk.By != "device" || st.Disk.Limit != 64*mebi {
		t.Errorf("status: %+v %v", st.Disk, err)
	}
	if _, err := TakeSnapshot(ctx, w.Host, n, "one"); err != nil {
		t.Error(err)
	}
	w.sh(n, "echo second >/mine")
	w.stop(n)
	if err := w.Clone(ctx, n, "web3", nil, CloneOptions{Snapshot: "one"}); err != nil {
		t.Fatal(err)
	}
	text, err := vserver(t, w.root, nil, "export", string(n))
	if err == nil {
		_, err = vserver(t, w.root, text, "import", "web4", "-", "--new-identity", "--set", "root.device="+device(t, 32*mebi))
	}
	if err != nil {
		t.Fatal(err)
	}
	for g, want := range map[guest.Name]string{n: "second\n", "web3": "first\n", "web4": "second\n"} {
		w.start(g)
		if out, _ := w.sh(g, "cat /mine"); out != want {
			t.Errorf("%s has %q", g, out)
		}
		w.stop(g)
	}
	if is, err := sized.Device(w.Dirs.Guest("web3")); err != nil || is != "" {
		t.Errorf("the clone is on %q, %v", is, err)
	}
	w.set(n, "root.device=/dev/other")
	if _, err := w.Start(ctx, n, StartOptions{}); !errors.Is(err, guest.ErrInvalid) || !strings.Contains(fault.HintOf(err), "root.device="+dev) {
		t.Errorf("another device: %v", err)
	}
	for _, g := range []guest.Name{n, "web3", "web4"} {
		if err := w.Delete(ctx, g, DeleteOptions{}); err != nil {
			t.Error(err)
		}
	}
}

// A guest becomes what it was on its device, which has all of its own files then, too. One that
// is too small for both is what it was.
func TestDeviceRollback(t *testing.T) {
	w := newWorld(t)
	need.Command(t, "mkfs.ext4")
	need.Command(t, "blkid")
	n, ctx := guest.Name("web1"), t.Context()
	if err := w.onDevice(n, device(t, 64*mebi)); err != nil {
		t.Fatal(err)
	}
	w.start(n)
	w.sh(n, "echo first >/mine; ln /mine /also; head -c 26000000 /dev/urandom >/big; rm /etc/hostname")
	w.stop(n)
	if _, err := TakeSnapshot(ctx, w.Host, n, "one"); err != nil {
		t.Fatal(err)
	}
	w.start(n)
	w.sh(n, "echo second >/mine; rm -r /big /home; head -c 36000000 /dev/zero >/zeros")
	w.stop(n)
	_, err := Rollback(ctx, w.Host, n, "one")
	if !errors.Is(err, syscall.ENOSPC) || fault.HintOf(err) == "" {
		t.Errorf("a device that is too small: %v", err)
	}
	w.start(n)
	if out, _ := w.sh(n, "cat /mine; ls -d /big /home /zeros /.fresh 2>/dev/null; rm /zeros"); out != "second\n/zeros\n" {
		t.Errorf("what it was: %q", out)
	}
	w.stop(n)
	for range 2 {
		if _, err := Rollback(ctx, w.Host, n, "one"); err != nil {
			t.Fatal(err)
		}
		w.start(n)
		if out, _ := w.sh(n, "cat /mine; ls -d /also /big /home; stat -c %h /mine; echo third >/mine"); out != "first\n/also\n/big\n/home\n2\n" {
			t.Errorf("taken back: %q", out)
		}
		w.stop(n)
	}
	if layers, err := stack.Read(w.Dirs.Guest(n)); err != nil || len(layers) > 0 {
		t.Errorf("it lies on %v, %v", layers, err)
	}
	w.start(n)
	w.sh(n, "mkdir /opt; cp /big /opt/big; echo fourth >/mine")
	w.stop(n)
	if h, err := Hashify(ctx, w.Host, n, HashifyOptions{}); err != nil || h.Moved.Files == 0 {
		t.Errorf("hashify: %+v %v", h, err)
	}
	if _, err := Rollback(ctx, w.Host, n, "one"); err != nil {
		t.Fatal(err)
	}
	w.start(n)
	if out, _ := w.sh(n, "cat /mine; test -e /opt || echo none"); out != "first\nnone\n" {
		t.Errorf("taken back over what was unified: %q", out)
	}
	w.stop(n)
	if err := w.Delete(ctx, n, DeleteOptions{}); err != nil {
		t.Error(err)
	}
}

// A device that is not there is told of.
func TestDeviceGone(t *testing.T) {
	w := newWorld(t)
	need.Command(t, "mkfs.ext4")
	need.Command(t, "blkid")
	link := filepath.Join(need.TempDir(t), "volume")
	if err := os.Symlink(device(t, 32*mebi), link); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(w.onDevice("web1", link), os.Remove(link)); err != nil {
		t.Fatal(err)
	}
	_, err := w.Start(t.Context(), "web1", StartOptions{})
	if err == nil || !strings.Contains(err.Error(), "no such device") || fault.HintOf(err) == "" {
		t.Errorf("start: %v", err)
	}
	if err := w.Delete(t.Context(), "web1", DeleteOptions{}); err != nil {
		t.Error(err)
	}
}

// Volumes of LVM, made by its own commands: a snapshot of one is taken while the guest runs, the
// volume becomes that again, and a larger one, which the guest has at its next start.
func TestDeviceLVM(t *testing.T) {
	need.VM(t)
	need.Resources(t)
	need.Command(t, "blkid")
	w := worldAt(t, need.Disk(t, "ext4", 128*mebi, ""))
	// There is no udev that would make the nodes, and nothing outlives the machine.
	const config = "devices{use_devicesfile=0} activation{udev_sync=0 udev_rules=0 monitoring=0} backup{backup=0 archive=0} global{thin_check_executable=\"\"}"
	lvm := func(args ...string) {
		t.Helper()
		if out, err := exec.Command(need.Command(t, "lvm"), append(args[:1:1], append([]string{"--config", config, "-y"}, args[1:]...)...)...).CombinedOutput(); err != nil {
			t.Fatalf("lvm %q: %v: %s", args, err, out)
		}
	}
	lvm("vgcreate", "vg", device(t, 256*mebi))
	t.Cleanup(func() { lvm("vgremove", "vg") })
	lvm("lvcreate", "--type", "thin", "-L", "160m", "--thinpool", "pool", "-V", "64m", "-n", "web1", "vg")
	n := guest.Name("web1")
	if err := w.onDevice(n, "/dev/vg/web1"); err != nil {
		t.Fatal(err)
	}
	w.start(n)
	w.sh(n, "echo first >/mine")
	lvm("lvcreate", "-s", "-n", "before", "vg/web1")
	w.sh(n, "echo second >/mine")
	w.stop(n)
	lvm("lvconvert", "--merge", "vg/before")
	lvm("lvextend", "-L", "96m", "vg/web1")
	w.start(n)
	if out, _ := w.sh(n, "cat /mine"); out != "first\n" {
		t.Errorf("after its volume was taken back: %q", out)
	}
	if got := w.df(n); got < 70 || got > 96 {
		t.Errorf("df of a volume that has grown: %d MiB", got)
	}
	w.stop(n)
	if err := w.Delete(t.Context(), n, DeleteOptions{}); err != nil {
		t.Error(err)
	}
}
