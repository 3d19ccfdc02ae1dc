package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"vserver/internal/need"
)

// insideVar says what the test binary does in the machine that TestMachine boots.
const insideVar = "VSERVER_TEST_INSIDE"

// TestMachine boots machines whose tests end in all the ways that a test can.
func TestMachine(t *testing.T) {
	need.Root(t)
	need.Command(t, "qemu-system-x86_64")
	need.Long(t)
	if need.InVM() {
		t.Skip("need a host: this is a machine in a machine")
	}
	for _, c := range []struct {
		inside   string
		code     int
		out, err string
	}{
		{"much", 7, "end of much", ""},
		{"killed", 128 + 9, "killed by killed", ""},
		{"crash", 1, "", "ended without the test's exit code"},
		{"hang", 1, "", "stuck after 12s"},
		{"silence", 1, "", "stood still"},
	} {
		t.Run(c.inside, func(t *testing.T) {
			t.Setenv(insideVar, c.inside)
			work := t.TempDir()
			k, err := findKernel(os.Getenv("VSERVER_VM_KERNEL"))
			if err != nil {
				t.Fatal(err)
			}
			want, _ := parseSettings(strings.NewReader(""))
			if c.inside == "hang" {
				want.patience = 12 * time.Second
			}
			if c.inside == "silence" {
				want.silence = 2 * time.Second
			}
			m := machine{kernel: k.image, initrd: filepath.Join(work, "initrd"), settings: want}
			self := buildSelf(t, work)
			if err := writeImage(m.initrd, self, k, want, []string{"/proc/self/exe", "-test.run=^TestInside$", "-test.v"}); err != nil {
				t.Fatal(err)
			}
			var out bytes.Buffer
			code, err := m.run(work, &out, io.Discard)
			if code != c.code || !strings.Contains(out.String(), c.out) || (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
				t.Errorf("code %d, error %v; want %d, %q, and %q in:\n%s", code, err, c.code, c.err, c.out, tail(out.String()))
			}
			if c.inside == "much" && !strings.Contains(out.String(), much()) {
				t.Errorf("lost some of %d bytes; got %d", len(much()), out.Len())
			}
		})
	}
}

// buildSelf builds the program under test: a test binary cannot be the init.
func buildSelf(t *testing.T, dir string) string {
	need.Go(t)
	path := filepath.Join(dir, "vmexec")
	c := exec.Command("go", "build", "-o", path, ".")
	c.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return path
}

func tail(s string) string { return s[max(0, len(s)-2000):] }

// much is text of about 300 KB in which a lost byte shows.
func much() string {
	var b strings.Builder
	for i := range 10000 {
		fmt.Fprintf(&b, "line %d of what the test says\n", i)
	}
	return b.String()
}

// TestInside is what runs in the machines of TestMachine.
func TestInside(t *testing.T) {
	switch os.Getenv(insideVar) {
	case "much":
		fmt.Print(much())
		fmt.Println("end of much")
		os.Exit(7)
	case "killed":
		syscall.Kill(os.Getpid(), syscall.SIGKILL)
	case "crash":
		os.WriteFile("/proc/sysrq-trigger", []byte("c"), 0)
	case "hang", "silence":
		time.Sleep(time.Hour)
	}
}

// TestGround is for the machine itself: it is what its text promises.
func TestGround(t *testing.T) {
	need.VM(t)
	need.Root(t)
	need.Controllers(t, "cpu", "cpuset", "io", "memory", "pids")
	need.Overlay(t)
	need.Loop(t)
	need.Filesystem(t, "erofs") // loaded when asked for
	need.Command(t, "busybox")
	var s syscall.Statfs_t
	const ext4 = 0xEF53
	if err := syscall.Statfs(t.TempDir(), &s); err != nil || s.Type != ext4 {
		t.Errorf("temporary directory on type %#x, %v; want ext4", s.Type, err)
	}
	if err := syscall.Statfs("/usr", &s); err != nil || s.Type != ext4 {
		t.Errorf("/usr on type %#x, %v; want ext4, as vm.conf says", s.Type, err)
	}
	if group, err := os.ReadFile("/proc/self/cgroup"); err != nil || string(group) != "0::/tests\n" {
		t.Errorf("in cgroup %q, %v", group, err)
	}
	if data, err := os.ReadFile("testdata/ground"); err != nil || string(data) != "packed\n" {
		t.Errorf("testdata: %q, %v", data, err)
	}
	for _, name := range []string{"mkfs.ext4"} { // of testdata/vm.conf, with its libraries
		if out, err := exec.Command(name, "-V").CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", name, err, out)
		}
	}
	if info, err := os.Stat("/dev/vdb"); err != nil || info.Mode()&os.ModeDevice == 0 {
		t.Errorf("second disk: %v", err)
	}
}

// TestPivotRoot sees that the machine's root can be left, as that of a guest is.
func TestPivotRoot(t *testing.T) {
	need.VM(t)
	script := `mount -t tmpfs none /mnt && mkdir /mnt/old && pivot_root /mnt /mnt/old`
	c := exec.Command("/bin/busybox", "unshare", "-m", "sh", "-c", script)
	if out, err := c.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
