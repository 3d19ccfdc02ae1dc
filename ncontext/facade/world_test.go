package facade

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"vserver/guest"
	"vserver/internal/need"
	"vserver/kernel/cgroup"
	"vserver/kernel/cred"
	"vserver/kernel/ns"
	"vserver/kernel/pidfd"
	"vserver/kernel/seccomp"
	"vserver/spawn"
)

// insideWord as first argument makes the test binary do, inside a guest, what the
// other arguments say.
const insideWord = "inside-guest"

func TestMain(m *testing.M) {
	if len(os.Args) > 2 && os.Args[1] == insideWord {
		inside(os.Args[2], os.Args[3:])
		os.Exit(0)
	}
	need.Main(m)
}

// base is the first id of the tests' guests.
const base = 1 << 24

// box is a guest reduced to what matters here: two user namespaces, a pid namespace, a
// network namespace, a control group, the filter. Its files are the host's.
type box struct {
	t     testing.TB
	group *cgroup.Group
	tree  *Tree
	child *spawn.Child
	out   *os.File
	init  int
}

// program is a copy of the test binary that every user may execute.
func program(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.Chmod(filepath.Dir(dir), 0o755); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "inside")
	text, err := os.ReadFile("/proc/self/exe")
	if err == nil {
		err = os.WriteFile(path, text, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func newGroup(t testing.TB) *cgroup.Group {
	t.Helper()
	need.Root(t)
	need.Cgroup2(t)
	cg, err := cgroup.Find()
	if err != nil {
		t.Fatal(err)
	}
	dirs := need.Dirs(t)
	g, err := cg.Create(dirs.Cgroup + "/box")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		g.Kill()
		g.WaitEmpty(t.Context())
		g.Close()
		if err := cg.Remove(dirs.Cgroup); err != nil {
			t.Error(err)
		}
	})
	return g
}

// start starts the test binary in a box, with its first process's filter served.
func start(t testing.TB, args ...string) *box {
	t.Helper()
	return begin(t, newGroup(t), program(t), args...)
}

// begin is start in a group that is there, with a program that is there.
func begin(t testing.TB, group *cgroup.Group, path string, args ...string) *box {
	t.Helper()
	b := launch(t, group, path, args...)
	listener, err := b.child.Listener()
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(listener)
	if b.init, err = b.child.Pidfd(); err != nil {
		t.Fatal(err)
	}
	if b.tree, err = Serve(b.group, listener, b.init); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.tree.Close)
	if err := b.child.Finish(); err != nil {
		t.Fatal(err)
	}
	return b
}

// launch starts the first process, which waits for its calls to be served.
func launch(t testing.TB, group *cgroup.Group, program string, args ...string) *box {
	t.Helper()
	filter, err := seccomp.Compile(seccomp.Policy{Private: true, Capped: true, Notify: true})
	if err != nil {
		t.Fatal(err)
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	procfs, err := os.Open("/proc")
	if err != nil {
		t.Fatal(err)
	}
	defer procfs.Close()
	b := &box{t: t, group: group, out: r}
	idmap := fmt.Sprintf("0 0 %d", guest.IDs)
	c := &spawn.Table{}
	c.Await("outer id map")
	c.Show()
	c.Fork("make namespaces", spawn.NewUser|spawn.NewPid|spawn.NewNet|spawn.NewMount, func(pid spawn.Reg) {
		c.WriteOf(int(procfs.Fd()), pid, "uid_map", idmap)
		c.WriteOf(int(procfs.Fd()), pid, "gid_map", idmap)
	})
	c.LoopbackUp()
	c.Await("begin")
	c.Become(0, 0, nil)
	c.StdioFds([3]int{0, int(w.Fd()), 2})
	c.ResetSignals()
	c.CloseOthers()
	c.SeccompListened(filter)
	c.Capabilities(1<<(cred.LastCap()+1) - 1)
	c.Exec([]string{program}, append([]string{"inside", insideWord}, args...), []string{"TMPDIR=" + os.TempDir()})
	if b.child, err = spawn.Start(c, spawn.Options{Flags: spawn.NewUser, Owner: base, Cgroup: group.FD(), Share: true}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		b.child.Kill()
		b.child.Close()
		r.Close()
	})
	err = ns.MapIDs(b.child.First(), fmt.Sprintf("0 %d %d", base, guest.IDs))
	if err == nil {
		err = b.child.Open()
	}
	if err == nil {
		_, err = b.child.Forked()
	}
	if err == nil {
		err = b.child.Open()
	}
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// said gives what the box printed until its end.
func (b *box) said() string {
	b.t.Helper()
	var text bytes.Buffer
	if _, err := io.Copy(&text, b.out); err != nil {
		b.t.Fatal(err)
	}
	return text.String()
}

// kill kills the server, unless it has ended with the box, and waits until it is dead.
func (b *box) kill() {
	b.t.Helper()
	if err := pidfd.Signal(b.tree.Server, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
		b.t.Fatal(err)
	}
	readable(b.t, b.tree.Server)
}

func lines(s string) []string { return strings.Split(strings.TrimSpace(s), "\n") }
