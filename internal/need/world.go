package need

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"vserver/guest"
)

// worlds counts the worlds that this process gave out, to tell their cgroups apart.
var worlds atomic.Int64 //house:allow a test process has one count of its worlds

// Dirs gives the test a world of its own: directories below [TempDir] and a cgroup
// name that no other test has. The cgroup is neither made nor removed here; a test
// that leaves it is found by [Main].
func Dirs(t testing.TB) guest.Dirs {
	t.Helper()
	d := guest.DefaultDirs(TempDir(t))
	d.Cgroup = fmt.Sprintf("%s.%d", mark(), worlds.Add(1))
	return d
}

// TempDir is t.TempDir for tests that mount: what is still mounted below it at the
// test's end fails the test and is unmounted, before the directory is removed with
// all that is in it. Without that, a forgotten bind mount of the host's /usr would
// cost the host its /usr.
func TempDir(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	t.Cleanup(func() {
		for _, point := range unmountBelow(dir) {
			t.Errorf("still mounted at the end: %s", point)
		}
	})
	return dir
}

// unmountBelow takes down all mounts at or below dir, last mounted first, and names
// them.
func unmountBelow(dir string) []string {
	var found []string
	for _, m := range slices.Backward(mounts()) {
		if within(dir, m.point) {
			found = append(found, m.point)
			syscall.Unmount(m.point, syscall.MNT_DETACH)
		}
	}
	return found
}

// mark is a word in names of things that have no directory, which Main looks for.
func mark() string {
	if own := filepath.Base(os.TempDir()); strings.HasPrefix(own, "vserver-test.") {
		return own
	}
	return fmt.Sprintf("vserver-test.%d", os.Getpid())
}

// BinaryVar names the environment variable with the path of a built vserver, with its
// vserver-image beside it; tiers set it so that they are built once.
const BinaryVar = "VSERVER_BINARY"

// Binary gives the path of the real vserver program: that of [BinaryVar], or one
// built now as `make build` does.
func Binary(t testing.TB) string {
	t.Helper()
	if path := os.Getenv(BinaryVar); path != "" {
		return path
	}
	path, err := build()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// builtName is the directory in our temporary one that may stay until Main sweeps.
const builtName = "built"

// build makes the program once in a process.
var build = sync.OnceValues(func() (string, error) {
	path := filepath.Join(os.TempDir(), builtName, "vserver")
	c := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-ldflags=vserver/cmd/vserver=-s -w -E vserver/spawn/warm.begin",
		"-o", filepath.Dir(path)+"/", "vserver/cmd/vserver", "vserver/cmd/vserver-image")
	c.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := c.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build vserver: %w\n%s", err, out)
	}
	return path, nil
})

// Busybox asks for a static busybox and fills dir, which it makes, with the smallest
// root of a guest: busybox under the names of its commands, /etc with passwd, group
// and hostname, and empty directories to mount on. Everything belongs to the caller.
func Busybox(t testing.TB, dir string) {
	t.Helper()
	box := Command(t, "busybox")
	if err := busyboxRoot(box, dir); err != nil {
		t.Fatal(err)
	}
}

func busyboxRoot(box, dir string) error {
	for _, d := range []string{"bin", "sbin", "usr/bin", "etc", "dev", "proc", "sys", "run", "root", "home", "var/log", "mnt"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			return err
		}
	}
	tmp := filepath.Join(dir, "tmp")
	if err := os.MkdirAll(tmp, 0o755); err != nil {
		return err
	}
	if err := os.Chmod(tmp, 0o777|os.ModeSticky); err != nil {
		return err
	}
	program, err := os.ReadFile(box)
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "bin/busybox"), program, 0o755); err != nil {
		return err
	}
	list, err := exec.Command(box, "--list-full").Output()
	if err != nil {
		return fmt.Errorf("%s --list-full: %w", box, err)
	}
	for name := range strings.FieldsSeq(string(list)) {
		at := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(at), 0o755); err != nil {
			return err
		}
		if err := os.Symlink("/bin/busybox", at); err != nil && !os.IsExist(err) {
			return err
		}
	}
	for name, text := range map[string]string{
		"etc/passwd":   "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n",
		"etc/group":    "root:x:0:\nnogroup:x:65534:\n",
		"etc/hostname": "guest\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			return err
		}
	}
	return nil
}
