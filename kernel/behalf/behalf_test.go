package behalf

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"vserver/internal/need"
)

func TestMain(m *testing.M) {
	if os.Getenv("VSERVER_TEST_WAIT") != "" {
		wait()
	}
	need.Main(m)
}

const base = 700000 // host id of the test's guest

// guest starts a process with ids of its own whose root is dir, and gives its pid. It is
// this test binary, which waits for the end of its input.
func guest(t *testing.T, dir, cwd string) int {
	t.Helper()
	need.Root(t)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(self)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "self"), text, 0o755); err != nil {
		t.Fatal(err)
	}
	c := exec.Command("/self")
	c.Env, c.Dir = []string{"VSERVER_TEST_WAIT=1"}, cwd
	in, err1 := c.StdinPipe()
	out, err2 := c.StdoutPipe()
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	ids := []syscall.SysProcIDMap{{HostID: base, Size: 65536}}
	c.SysProcAttr = &syscall.SysProcAttr{Chroot: dir, Cloneflags: syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
		UidMappings: ids, GidMappings: ids, GidMappingsEnableSetgroups: true, Credential: &syscall.Credential{Groups: []uint32{7}}}
	if err := c.Start(); err != nil {
		t.Skip("need user namespaces: ", err)
	}
	t.Cleanup(func() {
		in.Close()
		c.Wait()
	})
	out.Read(make([]byte, 1)) // it is there
	return c.Process.Pid
}

// wait is what that process does.
func wait() {
	unix.Umask(0o027)
	os.Stdout.WriteString("x")
	os.Stdin.Read(make([]byte, 1))
	os.Exit(0)
}

// Nodes are made where the process could have made a file, and nowhere else.
func TestMknod(t *testing.T) {
	need.Root(t)
	dir, outside := t.TempDir(), t.TempDir()
	if err := os.Chmod(filepath.Dir(dir), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, owner := range map[string]int{"own": base, "host": 0, "sub": base} {
		if err := errors.Join(os.Mkdir(filepath.Join(dir, name), 0o755), os.Chown(filepath.Join(dir, name), owner, owner)); err != nil {
			t.Fatal(err)
		}
	}
	for to, name := range map[string]string{outside: "out", "/own": "in", "/..": "up"} {
		if err := os.Symlink(to, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	pid := guest(t, dir, "/sub")
	for path, want := range map[string]error{
		"/own/null": nil, "here": nil, "/in/linked": nil, "../own/dots": nil, "/../../own/top": nil,
		"/host/null": unix.EACCES, "/out/null": unix.ENOENT, "/self/x": unix.ENOTDIR, "": unix.ENOENT,
		"/": unix.EEXIST, "/own/.": unix.EEXIST, "/own/..": unix.EEXIST, "/own/x/": unix.ENOENT, "/own/here/x": unix.ENOENT,
		"/own": unix.EEXIST, "/up/own/upper": nil, outside + "/null": unix.ENOENT,
	} {
		a := Ask{Dir: unix.AT_FDCWD, Mode: unix.S_IFCHR | 0o666, Dev: 0x103}
		c, err := Hold(pid, a)
		if err != nil {
			t.Fatal(err)
		}
		if !c.May(pid, Mknod) || c.May(os.Getpid(), Mknod) {
			t.Errorf("may %t, and as another %t", c.May(pid, Mknod), c.May(os.Getpid(), Mknod))
		}
		if err := c.Mknod(path, a); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", path, err, want)
		}
		c.Close()
	}
	var st unix.Stat_t
	if err := unix.Lstat(filepath.Join(dir, "sub/here"), &st); err != nil || st.Uid != base || st.Gid != base || st.Mode != unix.S_IFCHR|0o640 || st.Rdev != 0x103 {
		t.Errorf("node %+v, %v", st, err)
	}
	if left, _ := os.ReadDir(outside); len(left) > 0 {
		t.Errorf("outside: %v", left)
	}
	// This process is who it was.
	if text, _ := os.ReadFile("/proc/self/status"); !strings.Contains(string(text), "\nUid:\t0\t0\t0\t0\n") {
		t.Error("the ids of this process have changed")
	}
}

// A magic link leads nowhere, though the machine's root may follow it.
func TestMagicLinks(t *testing.T) {
	need.Root(t)
	dir := t.TempDir()
	if err := errors.Join(os.Chmod(filepath.Dir(dir), 0o755), os.Chown(dir, base, base)); err != nil {
		t.Fatal(err)
	}
	pid := guest(t, dir, "/")
	if err := os.Mkdir(filepath.Join(dir, "proc"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("/proc", filepath.Join(dir, "proc"), "", unix.MS_BIND, ""); err != nil {
		t.Fatal(err)
	}
	defer unix.Unmount(filepath.Join(dir, "proc"), unix.MNT_DETACH)
	a := Ask{Dir: unix.AT_FDCWD, Mode: unix.S_IFCHR | 0o666, Dev: 0x103}
	// From outside: the mount is not in the process's namespace, so it is held anew.
	c := &Caller{tid: pid, uid: base, gid: base}
	var err error
	if c.root, err = unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0); err != nil {
		t.Fatal(err)
	}
	c.dir = -1
	defer c.Close()
	for _, path := range []string{"/proc/1/root/tmp/no", "/proc/1/cwd/no"} {
		if err := c.Mknod(path, a); err == nil || errors.Is(err, unix.ENOENT) {
			t.Errorf("%s: %v", path, err)
		}
	}
}

func TestText(t *testing.T) {
	text := append([]byte(strings.Repeat("a", 5000)), 0)
	at := addressOf(&text[0])
	c := &Caller{tid: os.Getpid()}
	if got, err := c.Text(at + 4990); err != nil || got != strings.Repeat("a", 10) {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := c.Text(at); !errors.Is(err, unix.ENAMETOOLONG) {
		t.Errorf("long: %v", err)
	}
	if _, err := c.Text(8); !errors.Is(err, unix.EFAULT) {
		t.Errorf("nowhere: %v", err)
	}
}

func TestAsk(t *testing.T) {
	cwd := unix.AT_FDCWD
	a, ok := AskOf(unix.SYS_MKNODAT, [6]uint64{uint64(uint32(cwd)), 5, unix.S_IFBLK | 0o600, 0x12345678})
	block, major, minor, dev := a.Device()
	if !ok || a.Dir != cwd || a.Path != 5 || !block || !dev || major != int(unix.Major(0x12345678)) || minor != int(unix.Minor(0x12345678)) {
		t.Errorf("%+v: %t %d:%d", a, block, major, minor)
	}
	if _, ok := AskOf(unix.SYS_GETPID, [6]uint64{}); ok {
		t.Error("getpid asks for a node")
	}
	if _, _, _, dev := (Ask{Mode: unix.S_IFIFO}).Device(); dev {
		t.Error("a fifo is a device")
	}
}

func FuzzStatus(f *testing.F) {
	f.Add("Uid:\t1\t1\t1\t1\nGid:\t1\t1\t1\t1\nUmask:\t0022\nCapEff:\t00ff\nGroups:\t1 2\n")
	f.Fuzz(func(t *testing.T, text string) { new(Caller).read(text) })
}

func FuzzSplit(f *testing.F) {
	f.Add("/dev/null")
	f.Fuzz(func(t *testing.T, path string) {
		dir, name, err := split(path)
		if err == nil && (dir == "" || name == "" || name == "." || name == ".." || strings.Contains(name, "/") || !strings.HasSuffix(path, name)) {
			t.Errorf("%q: %q, %q", path, dir, name)
		}
	})
}

func addressOf(b *byte) uint64 { return uint64(uintptr(unsafe.Pointer(b))) }
