package vcontext

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"vserver/guest"
	"vserver/internal/need"
	"vserver/kernel/cgroup"
	"vserver/kernel/file"
	"vserver/rootfs"
)

// attempts names the environment variable with which this test binary, in a group of the
// test's, tries what it says: words "open PATH FLAGS" and "mknod PATH MODE NUMBER".
const attempts = "VSERVER_TEST_DEVICES"

// TestAttempts is no test, but what a process of a guest tries.
func TestAttempts(t *testing.T) {
	for line := range strings.Lines(os.Getenv(attempts)) {
		var err error
		switch w := strings.Fields(line); w[0] {
		case "open":
			flags := map[string]int{"r": syscall.O_RDONLY, "w": syscall.O_WRONLY, "rw": syscall.O_RDWR}[w[2]]
			var fd int
			if fd, err = syscall.Open(w[1], flags|syscall.O_NONBLOCK|syscall.O_NOCTTY|syscall.O_CLOEXEC, 0); err == nil {
				syscall.Close(fd)
			}
		case "mknod":
			var mode uint32
			var dev int
			fmt.Sscan(w[2], &mode)
			fmt.Sscan(w[3], &dev)
			err = syscall.Mknod(w[1], mode, dev)
		}
		fmt.Println("tried", strings.TrimSpace(line)+":", err != nil && err.(syscall.Errno) == syscall.EPERM)
	}
}

// ground is a group, and a place for nodes that the machine's root made: the worst that
// a guest could come by.
type ground struct {
	group *cgroup.Group
	dir   string
}

func newGround(t *testing.T) *ground {
	need.Root(t)
	dirs := need.Dirs(t)
	cg, err := cgroup.Find()
	if err != nil {
		t.Fatal(err)
	}
	g, err := cg.Create(dirs.Cgroup + "/devices")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		g.Close()
		cg.Remove(dirs.Cgroup + "/devices")
		cg.Remove(dirs.Cgroup)
	})
	return &ground{g, t.TempDir()}
}

// refused runs the attempts in the group and gives those that met with EPERM.
func (g *ground) refused(t *testing.T, tries ...string) string {
	t.Helper()
	c := exec.Command("/proc/self/exe", "-test.run=^TestAttempts$", "-test.v")
	c.Env = append(os.Environ(), attempts+"="+strings.Join(tries, "\n"))
	c.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: g.group.FD()}
	out, err := c.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	n, list := 0, []string{}
	for line := range strings.Lines(string(out)) {
		if rest, ok := strings.CutPrefix(strings.TrimSpace(line), "tried "); ok {
			n++
			if what, yes := strings.CutSuffix(rest, ": true"); yes {
				list = append(list, strings.ReplaceAll(what, g.dir+"/", ""))
			}
		}
	}
	if n != len(tries) {
		t.Fatalf("%d of %d tried\n%s", n, len(tries), out)
	}
	return strings.Join(list, ", ")
}

// The list holds against a process with all of the machine's rights: the worst case of a
// guest without a user namespace.
func TestGuard(t *testing.T) {
	g := newGround(t)
	at := func(name string) string { return filepath.Join(g.dir, name) }
	for name, dev := range map[string]int{"null": 0x103, "tty": 0x500, "mem": 0x101, "port": 0x104, "kmsg": 0x10b, "console": 0x501, "tun": 0xac8} {
		if err := syscall.Mknod(at(name), syscall.S_IFCHR|0o666, dev); err != nil {
			t.Fatal(err)
		}
	}
	if err := syscall.Mknod(at("disk"), syscall.S_IFBLK|0o666, 0x700); err != nil { // the first loop device
		t.Fatal(err)
	}
	var tries []string
	for _, name := range []string{"null", "mem", "port", "kmsg", "console", "disk"} {
		tries = append(tries, "open "+at(name)+" r")
	}
	mk := func(name string, kind uint32, dev int) string {
		return fmt.Sprintf("mknod %s %d %d", at(name), kind|0o600, dev)
	}
	nodes := []string{mk("n1", syscall.S_IFCHR, 0x101), mk("n2", syscall.S_IFBLK, 0x800), mk("n3", syscall.S_IFCHR, 0xac8),
		mk("n4", syscall.S_IFCHR, 0x103), mk("n5", syscall.S_IFCHR, 0), mk("n6", syscall.S_IFIFO, 0)}

	spec := &guest.Spec{Userns: guest.UsernsNone}
	if err := Guard(g.group, spec); err != nil {
		t.Fatal(err)
	}
	if got, want := g.refused(t, tries...), "open mem r, open port r, open kmsg r, open console r, open disk r"; got != want {
		t.Errorf("refused %s; want %s", got, want)
	}
	if got := g.refused(t, nodes...); !strings.HasPrefix(got, "mknod n1 ") || strings.Count(got, "mknod") != 3 {
		t.Errorf("refused %s; want n1 n2 n3", got)
	}

	// Another list takes its place at once, and gives just what it says.
	var tun guest.Device
	if err := tun.UnmarshalText([]byte("c 10:200 rm")); err != nil {
		t.Fatal(err)
	}
	spec.Rights.Devices = []guest.Device{tun}
	if err := Guard(g.group, spec); err != nil {
		t.Fatal(err)
	}
	got := g.refused(t, "open "+at("tun")+" w", "open "+at("tun")+" rw", "open "+at("kmsg")+" r", mk("t", syscall.S_IFCHR, 0xac8), mk("t2", syscall.S_IFCHR, 0xac9))
	if want := "open tun w, open tun rw, open kmsg r, mknod t2"; !strings.HasPrefix(got, want) {
		t.Errorf("refused %s; want %s", got, want)
	}
}

// Nodes come into a guest's /dev and go again, whatever the guest has put in their way.
func TestPutNodes(t *testing.T) {
	need.Root(t)
	const base = 300000
	dir := t.TempDir()
	dev, err := file.OpenDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer dev.Close()
	nodes := []rootfs.Node{
		{Name: "bus/usb/one", Major: 10, Minor: 229, Perm: 0o640, Access: guest.MayRead},
		{Name: "disk", Block: true, Major: 259, Minor: 300, Perm: 0o600, Access: guest.MayRead},
		{Major: 10, Minor: 1},
	}
	for range 2 {
		if err := rootfs.PutNodes(dev, nodes, base); err != nil {
			t.Fatal(err)
		}
	}
	for name, want := range map[string]string{"bus/usb/one": "640 10 229", "disk": "600 259 300"} {
		var st syscall.Stat_t
		if err := syscall.Lstat(filepath.Join(dir, name), &st); err != nil {
			t.Fatal(err)
		}
		d := uint64(st.Rdev)
		got := fmt.Sprintf("%o %d %d", st.Mode&0o777, d>>8&0xfff, d&0xff|d>>12&0xfff00)
		if got != want || st.Uid != base || st.Gid != base {
			t.Errorf("%s: %s of %d, want %s", name, got, st.Uid, want)
		}
	}
	if st, err := os.Stat(filepath.Join(dir, "bus/usb")); err != nil || st.Sys().(*syscall.Stat_t).Uid != base {
		t.Errorf("directory: %v, %v", st, err)
	}
	if err := rootfs.TakeNodes(dev, nodes); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(filepath.Join(dir, "disk")); err == nil {
		t.Error("disk is still there")
	}
	// A way out of the directory, and a file of the guest's.
	outside := t.TempDir()
	os.RemoveAll(filepath.Join(dir, "bus"))
	if err := os.Symlink(outside, filepath.Join(dir, "bus")); err != nil {
		t.Fatal(err)
	}
	if err := rootfs.PutNodes(dev, nodes[:1], base); err == nil {
		t.Error("a symbolic link was followed")
	}
	if left, _ := os.ReadDir(outside); len(left) > 0 {
		t.Errorf("outside: %v", left)
	}
	if err := os.WriteFile(filepath.Join(dir, "disk"), []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := rootfs.TakeNodes(dev, nodes[1:]); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(filepath.Join(dir, "disk")); err != nil {
		t.Error("the guest's own file was removed")
	}
}

func TestMakes(t *testing.T) {
	nodes := []rootfs.Node{{Major: 10, Minor: 229, Access: guest.MayMknod}, {Block: true, Major: 8, Minor: guest.AnyMinor, Access: guest.MayRead}}
	for name, c := range map[string]struct {
		block        bool
		major, minor int
		want         bool
	}{
		"null": {false, 1, 3, true}, "mem": {false, 1, 1, false}, "port": {false, 1, 4, false}, "kmsg": {false, 1, 11, false},
		"console": {false, 5, 1, true}, "fuse": {false, 10, 229, true}, "tun": {false, 10, 200, false},
		"sda": {true, 8, 0, false}, "block 1:3": {true, 1, 3, false}, "tty1": {false, 4, 1, false},
	} {
		if got := Makes(nodes, c.block, c.major, c.minor); got != c.want {
			t.Errorf("%s: %t", name, got)
		}
	}
}
