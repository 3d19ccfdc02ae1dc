package mount

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"vserver/internal/need"
	"vserver/kernel/ns"
)

func TestMain(m *testing.M) { need.Main(m) }

// The two ways to make an overlay give the same, and leave the host's mounts alone.
func TestOverlay(t *testing.T) {
	need.Overlay(t)
	for name, make := range map[string]func([]int, *os.File, *os.File) (int, error){"Overlay": Overlay, "attached": attached} {
		t.Run(name, func(t *testing.T) { testOverlay(t, make) })
	}
}

// A kernel that takes no detached layers is not asked each time: it would say so in its log.
func TestOverlayQuiet(t *testing.T) {
	need.VM(t)
	log := func() int {
		b := make([]byte, 1<<20)
		n, err := unix.Klogctl(unix.SYSLOG_ACTION_READ_ALL, b)
		if err != nil {
			t.Fatal(err)
		}
		return bytes.Count(b[:n], []byte("overlayfs: "))
	}
	before := log()
	testOverlay(t, Overlay)
	if after := log(); after != before {
		t.Errorf("the kernel complained %d times", after-before)
	}
}

// As many layers as a guest may have, which are more than one option of fsconfig(2) has
// room for by the paths of their descriptors.
func TestOverlayDeep(t *testing.T) {
	need.Overlay(t)
	ways := map[string]func([]int, *os.File, *os.File) (int, error){"Overlay": Overlay, "attached": attached}
	for name, join := range ways {
		dir := need.TempDir(t)
		var lower []int
		open := func(name string) *os.File {
			t.Helper()
			if err := os.Mkdir(filepath.Join(dir, name), 0o755); err != nil {
				t.Fatal(err)
			}
			f, err := os.Open(filepath.Join(dir, name))
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { f.Close() })
			return f
		}
		upper, work := open("upper"), open("work")
		for i := range 100 {
			path := open(short(i)).Name()
			for _, name := range []string{"all", short(i)} {
				if err := os.WriteFile(filepath.Join(path, name), []byte(short(i)), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			fd, err := Clone(path)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { unix.Close(fd) })
			lower = append(lower, fd)
		}
		fd, err := join(lower, upper, work)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		names, err := os.ReadDir(procFD(fd))
		text, rerr := os.ReadFile(procFD(fd) + "/all")
		if err != nil || rerr != nil || len(names) != 101 || string(text) != short(0) {
			t.Errorf("%s: %d names, %q, %v, %v", name, len(names), text, err, rerr)
		}
		unix.Close(fd)
	}
}

const hostID = 524288

func testOverlay(t *testing.T, join func([]int, *os.File, *os.File) (int, error)) {
	userns := holder(t)
	dir := need.TempDir(t)
	open := func(name string) *os.File {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.Mkdir(path, 0o755); err != nil {
			t.Fatal(err)
		}
		f, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		return f
	}
	upper, work := open("upper"), open("work")
	var lower []int
	for _, name := range []string{"top", "bottom"} {
		path := open(name).Name()
		if err := os.WriteFile(filepath.Join(path, "both"), []byte(name), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(path, name), nil, 0o644); err != nil {
			t.Fatal(err)
		}
		fd, err := Clone(path)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { unix.Close(fd) })
		if err := SetAttr(fd, ReadOnly, int(userns.Fd())); err != nil {
			t.Fatal(err)
		}
		lower = append(lower, fd)
	}
	fd, err := join(lower, upper, work)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	at := procFD(fd)
	if text, err := os.ReadFile(at + "/both"); err != nil || string(text) != "top" {
		t.Errorf("read %q, %v", text, err)
	}
	for _, name := range []string{"top", "bottom"} {
		st, err := os.Stat(filepath.Join(at, name))
		if err != nil || st.Sys().(*syscall.Stat_t).Uid != hostID {
			t.Errorf("%s: %+v, %v", name, st, err)
		}
	}
	if err := os.WriteFile(at+"/both", []byte("new"), 0o644); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{"upper/both": "new", "top/both": "top"} {
		if text, err := os.ReadFile(filepath.Join(dir, path)); err != nil || string(text) != want {
			t.Errorf("%s: %q, %v", path, text, err)
		}
	}
}

// holder gives a user namespace in which 0 is hostID.
func holder(t *testing.T) *os.File {
	t.Helper()
	need.Namespaces(t, unix.CLONE_NEWUSER)
	cmd := exec.Command("sleep", "100")
	ids := []syscall.SysProcIDMap{{ContainerID: 0, HostID: hostID, Size: 1}}
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWUSER, UidMappings: ids, GidMappings: ids}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	f, err := ns.Open(cmd.Process.Pid, "user")
	cmd.Process.Kill()
	cmd.Wait()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}
