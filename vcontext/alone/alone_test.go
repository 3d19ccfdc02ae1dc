package alone

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"vserver/guest"
	"vserver/internal/need"
	"vserver/kernel/cgroup"
	"vserver/kernel/file"
)

func TestMain(m *testing.M) { need.Main(m) }

func ground(t *testing.T) guest.Dirs {
	need.Root(t)
	if _, err := cgroup.Find(); err != nil {
		t.Skip(err)
	}
	d := guest.DefaultDirs(t.TempDir())
	t.Cleanup(func() { // what runs in a failed test
		entries, _ := os.ReadDir(filepath.Join(d.Run, "xids"))
		for _, e := range entries {
			id, _ := strconv.Atoi(e.Name())
			if x, err := Open(d, guest.XID(id)); err == nil {
				x.Signal(syscall.SIGKILL)
				x.Close()
			}
		}
		if cg, err := cgroup.Find(); err == nil {
			cg.Remove(d.Cgroup)
		}
	})
	return d
}

func begin(t *testing.T, d guest.Dirs, id guest.XID, c Config, script string) (*Context, func() int) {
	t.Helper()
	x, err := Create(d, id)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { x.Close() })
	c.Caps = ^uint64(0)
	child, err := x.Run(c, "/bin/sh", []string{"sh", "-c", script})
	if err != nil {
		t.Fatal(errors.Join(err, x.End()))
	}
	return x, func() int {
		t.Helper()
		defer child.Close()
		ws, err := child.Wait()
		if err := errors.Join(err, x.End()); err != nil {
			t.Fatal(err)
		}
		if ws.Signaled() {
			return 128 + int(ws.Signal())
		}
		return ws.ExitStatus()
	}
}

// empty fails if anything of the contexts is left.
func empty(t *testing.T, d guest.Dirs) {
	t.Helper()
	left, _ := filepath.Glob(filepath.Join(d.Run, "xids", "[0-9]*"))
	cg, err := cgroup.Find()
	if err != nil {
		t.Fatal(err)
	}
	groups, _ := filepath.Glob(filepath.Join(cg.Unified.Mount, d.Cgroup, prefix+"*"))
	if len(left) > 0 || len(groups) > 0 {
		t.Errorf("left: notes %q, groups %q", left, groups)
	}
}

// TestRun: the command's exit code is the context's, with the reaper and without, and
// nothing is left.
func TestRun(t *testing.T) {
	d := ground(t)
	for _, c := range []Config{{}, {Init: true}, {Hostname: "box", Domainname: "nis"}} {
		pid := "2"
		if c.Init {
			pid = "1"
		}
		_, wait := begin(t, d, 77, c, "[ $$ = "+pid+" ] && [ -d /proc/1 ] && [ ! -d /proc/"+strconv.Itoa(os.Getpid())+" ] && exit 7")
		if got := wait(); got != 7 {
			t.Errorf("%+v: exit code %d", c, got)
		}
	}
	empty(t, d)
}

// TestDaemon: a context lasts as long as what its command has left behind.
func TestDaemon(t *testing.T) {
	d := ground(t)
	file := filepath.Join(t.TempDir(), "fifo")
	if err := syscall.Mkfifo(file, 0o600); err != nil {
		t.Fatal(err)
	}
	_, wait := begin(t, d, 0, Config{}, "(read x <"+file+") & exit 3")
	if _, err := Create(d, guest.DynamicXID); !errors.Is(err, guest.ErrExists) {
		t.Errorf("made again: %v", err)
	}
	if err := os.WriteFile(file, []byte("x\n"), 0); err != nil {
		t.Fatal(err)
	}
	if got := wait(); got != 3 {
		t.Errorf("exit code %d", got)
	}
	empty(t, d)
}

// TestJoin: another process comes into the same namespaces, and a signal reaches those of
// the context alone.
func TestJoin(t *testing.T) {
	d := ground(t)
	x, wait := begin(t, d, 78, Config{Hostname: "box"}, "while :; do sleep 1000; done")
	y, err := Open(d, 78)
	if err != nil {
		t.Fatal(err)
	}
	defer y.Close()
	c, err := y.Join("/bin/sh", []string{"sh", "-c", "read n </proc/sys/kernel/hostname; [ $n = box ] && kill -0 2 && exit 9"})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if ws, err := c.Wait(); err != nil || ws.ExitStatus() != 9 {
		t.Errorf("exit code %d, %v", ws.ExitStatus(), err)
	}
	if err := x.Signal(syscall.SIGTERM, os.Getpid()); !errors.Is(err, syscall.ESRCH) {
		t.Errorf("a stranger is signalled: %v", err)
	}
	if err := x.End(); err != nil {
		t.Errorf("end while it runs: %v", err)
	}
	if err := x.Signal(syscall.SIGKILL); err != nil {
		t.Error(err)
	}
	if got := wait(); got != 128+9 {
		t.Errorf("exit code %d", got)
	}
	empty(t, d)
}

// TestFails: what cannot be executed is told, and a maker that was killed leaves nothing
// that the next does not take away.
func TestFails(t *testing.T) {
	d := ground(t)
	for _, c := range []Config{{}, {Init: true}} {
		x, err := Create(d, 79)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := x.Run(c, "/no/such", []string{"/no/such"}); !errors.Is(err, syscall.ENOENT) || !strings.Contains(err.Error(), "/no/such") {
			t.Errorf("%+v: %v", c, err)
		}
		x.Close() // without End, as after a kill
	}
	if err := file.Replace(filepath.Join(d.Run, "xids", "80"), []byte(d.Cgroup+"/.xid-80\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(d, 80); !errors.Is(err, guest.ErrNotFound) {
		t.Errorf("a note without a group: %v", err)
	}
	_, wait := begin(t, d, 81, Config{}, "exit 0")
	if got := wait(); got != 0 {
		t.Errorf("exit code %d", got)
	}
	empty(t, d)
	for _, id := range []guest.XID{1, 65536} {
		if _, err := Create(d, id); !errors.Is(err, guest.ErrInvalid) {
			t.Errorf("number %d: %v", id, err)
		}
	}
	if _, err := Open(d, 5); !errors.Is(err, guest.ErrNotFound) {
		t.Errorf("none: %v", err)
	}
}

// TestNote: a note that names another group is not followed.
func TestNote(t *testing.T) {
	d := guest.DefaultDirs(t.TempDir())
	x := &Context{ID: 5, dirs: d}
	if err := os.MkdirAll(filepath.Dir(x.note()), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{"", "../.xid-5", "/.xid-5", "system.slice"} {
		if err := file.Replace(x.note(), []byte(bad+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := x.path(); !errors.Is(err, guest.ErrInvalid) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

// TestHeld: a context that nobody is in yet is not ended by who looks for ended ones, and
// is when its maker gives it up.
func TestHeld(t *testing.T) {
	d := ground(t)
	x, err := Create(d, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer x.Close()
	y, err := Create(d, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer y.Close()
	if x.ID == y.ID {
		t.Errorf("both are %d", x.ID)
	}
	if err := y.End(); err != nil {
		t.Error(err)
	}
	child, err := x.Run(Config{Caps: ^uint64(0)}, "/bin/sh", []string{"sh", "-c", "exit 3"})
	if err != nil {
		t.Fatal(err)
	}
	defer child.Close()
	ws, err := child.Wait()
	if err != nil || ws.ExitStatus() != 3 {
		t.Error(ws, err)
	}
	if err := x.End(); err != nil {
		t.Error(err)
	}
	empty(t, d)
}
