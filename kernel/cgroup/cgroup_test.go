package cgroup

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"vserver/guest"
	"vserver/internal/need"
)

func TestMain(m *testing.M) { need.Main(m) }

// world gives the host and the path of a group of the test's own.
func world(t testing.TB) (Host, string) {
	t.Helper()
	need.Root(t)
	need.Cgroup2(t)
	h, err := Find()
	if err != nil {
		t.Fatal(err)
	}
	top := need.Dirs(t).Cgroup
	t.Cleanup(func() {
		if err := h.Remove(top); err != nil {
			t.Error(err)
		}
	})
	return h, top + "/web1"
}

func create(t testing.TB) (Host, *Group) {
	t.Helper()
	h, path := world(t)
	g, err := h.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { g.Close() })
	return h, g
}

// run starts a command inside the group.
func run(t testing.TB, g *Group, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(args[0], args[1:]...)
	cmd.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: g.FD(), Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { cmd.Wait(); close(done) }()
	t.Cleanup(func() { cmd.Process.Kill(); <-done })
	return cmd
}

func TestFindIsCgroup2(t *testing.T) {
	h, err := Find()
	if err != nil {
		t.Fatal(err)
	}
	if !h.Unified.V2 || magic(h.Unified.Mount) != unix.CGROUP2_SUPER_MAGIC {
		t.Errorf("found %+v", h)
	}
	all, err := mounted()
	if err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(all, func(m Hierarchy) bool { return m.Mount == h.Unified.Mount && m.V2 }) {
		t.Errorf("%s is not in the mount table's %+v", h.Unified.Mount, all)
	}
}

// Where the v1 controllers are is the same by the short way and by the mount table.
func TestLegacy(t *testing.T) {
	h, err := Find()
	if err != nil {
		t.Fatal(err)
	}
	all, err := mounted()
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]bool{}
	for _, m := range all {
		for _, c := range m.Controllers {
			want[c] = !m.V2
		}
	}
	for _, c := range []string{"memory", "cpu", "pids", "cpuset", "no_such"} {
		got, err := h.Legacy(c)
		if err != nil {
			t.Fatal(err)
		}
		if (len(got) == 1) != want[c] {
			t.Errorf("%s: %+v, by the mount table v1: %v", c, got, want[c])
		}
		for _, m := range got {
			if _, err := os.Stat(filepath.Join(m.Mount, "tasks")); err != nil {
				t.Errorf("controller %s: %v", c, err)
			}
		}
	}
}

func TestPathStaysBelowMount(t *testing.T) {
	h, _ := world(t)
	for _, path := range []string{"../x", "/etc", "a/../../b", ""} {
		if g, err := h.Create(path); !errors.Is(err, guest.ErrInvalid) {
			t.Errorf("Create(%q) = %v, %v", path, g, err)
		}
	}
	if _, err := (Hierarchy{Mount: t.TempDir(), V2: true}).Create("x"); err == nil {
		t.Error("made a group in an ordinary directory")
	}
}

func TestLife(t *testing.T) {
	h, g := create(t)
	if on, err := g.Populated(); on || err != nil {
		t.Errorf("new group: populated %v, %v", on, err)
	}
	cmd := run(t, g, "sleep", "100")
	pids, err := g.Procs()
	if err != nil || !slices.Equal(pids, []int{cmd.Process.Pid}) {
		t.Errorf("Procs = %v, %v; want %d", pids, err, cmd.Process.Pid)
	}
	for _, want := range []bool{true, false, true} {
		if err := g.Freeze(want); err != nil {
			t.Error(err)
		}
		if on, err := g.Frozen(); on != want || err != nil {
			t.Errorf("Frozen = %v, %v; want %v", on, err, want)
		}
	}
	if err := g.Remove(); !errors.Is(err, guest.ErrBusy) {
		t.Errorf("Remove with a process inside: %v", err)
	}
	ctx, stop := context.WithTimeout(t.Context(), 30*time.Millisecond)
	defer stop()
	if err := g.WaitEmpty(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("WaitEmpty with a process inside: %v", err)
	}
	if err := g.Kill(); err != nil { // frozen or not
		t.Error(err)
	}
	if err := g.WaitEmpty(t.Context()); err != nil {
		t.Error(err)
	}
	for range 2 {
		if err := g.Remove(); err != nil {
			t.Error(err)
		}
	}
	if err := g.WaitEmpty(t.Context()); err != nil {
		t.Errorf("WaitEmpty of a removed group: %v", err)
	}
	if on, err := g.Populated(); on || err != nil {
		t.Errorf("removed group: populated %v, %v", on, err)
	}
	if _, err := h.Open(g.rel); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Open of a removed group: %v", err)
	}
}

// A group is made though somebody prunes its parent all the time, and a parent with a
// group in it stays.
func TestCreateBesidePrune(t *testing.T) {
	h, path := world(t)
	end, done := make(chan struct{}), make(chan error, 1)
	go func() {
		for {
			select {
			case <-end:
				done <- nil
				return
			default:
			}
			if err := h.Unified.Prune(path); err != nil {
				done <- err
				return
			}
		}
	}()
	for range 200 {
		g, err := h.Create(path + "/child")
		if err != nil {
			t.Fatal(err)
		}
		if err := g.Remove(); err != nil {
			t.Fatal(err)
		}
		g.Close()
	}
	close(end)
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestWaitEmptyWakes(t *testing.T) {
	_, g := create(t)
	run(t, g, "sleep", "0.3")
	if err := g.WaitEmpty(t.Context()); err != nil {
		t.Error(err)
	}
	run(t, g, "sleep", "100")
	ctx, stop := context.WithCancel(t.Context())
	time.AfterFunc(100*time.Millisecond, stop)
	begin := time.Now()
	if err := g.WaitEmpty(ctx); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if d := time.Since(begin); d > 30*time.Second {
		t.Errorf("cancelled after %v", d)
	}
}

// A guest makes groups of its own, with processes in them.
func TestNested(t *testing.T) {
	_, g := create(t)
	deep := g.Path()
	for i := range 20 {
		deep = filepath.Join(deep, fmt.Sprintf("%0200d", i)) // the whole beyond PATH_MAX later on
		if err := os.Mkdir(deep, 0o755); err != nil {
			deep = filepath.Dir(deep)
			break
		}
		os.Mkdir(filepath.Join(filepath.Dir(deep), "side"), 0o755)
	}
	low, err := g.tree.Open(filepath.Join(g.rel, deep[len(g.Path()):][1:]))
	if err != nil {
		t.Fatal(err)
	}
	defer low.Close()
	a, b := run(t, g, "sleep", "100"), run(t, low, "sleep", "100")
	pids, err := g.Procs()
	slices.Sort(pids)
	want := []int{a.Process.Pid, b.Process.Pid}
	slices.Sort(want)
	if err != nil || !slices.Equal(pids, want) {
		t.Errorf("Procs = %v, %v; want %v", pids, err, want)
	}
	if err := g.Remove(); !errors.Is(err, guest.ErrBusy) {
		t.Errorf("Remove with processes inside: %v", err)
	}
	if err := g.Kill(); err != nil {
		t.Error(err)
	}
	if err := g.WaitEmpty(t.Context()); err != nil {
		t.Error(err)
	}
	if err := g.Remove(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(g.Path()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("still there: %v", err)
	}
}

func TestThreadedGroupIsRead(t *testing.T) {
	h, g := create(t)
	sub, err := h.Create(g.rel + "/threads")
	if err != nil {
		t.Fatal(err)
	}
	defer sub.Close()
	if err := sub.Write("cgroup.type", "threaded"); err != nil {
		t.Fatal(err)
	}
	cmd := run(t, g, "sleep", "100")
	if pids, err := g.Procs(); err != nil || !slices.Equal(pids, []int{cmd.Process.Pid}) {
		t.Errorf("Procs = %v, %v", pids, err)
	}
}

func TestWriteMakesNoFile(t *testing.T) {
	_, g := create(t)
	if err := g.Write("no.such", "1"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("write: %v", err)
	}
	if err := g.Write("cgroup.max.depth", "many"); !errors.Is(err, unix.EINVAL) {
		t.Errorf("write: %v", err)
	}
	if err := g.Write("cgroup.max.depth", "7"); err != nil {
		t.Error(err)
	}
	if s, err := g.Read("cgroup.max.depth"); s != "7" || err != nil {
		t.Errorf("read %q, %v", s, err)
	}
}

func TestDelegate(t *testing.T) {
	_, g := create(t)
	if err := g.Delegate(524288, 524289); err != nil {
		t.Fatal(err)
	}
	for file, want := range map[string]uint32{
		".": 524288, "cgroup.procs": 524288, "cgroup.threads": 524288, "cgroup.subtree_control": 524288,
		"cgroup.max.depth": 0, "cgroup.max.descendants": 0, "cgroup.freeze": 0, "cgroup.kill": 0,
	} {
		var st unix.Stat_t
		if err := unix.Stat(filepath.Join(g.Path(), file), &st); err != nil || st.Uid != want {
			t.Errorf("%s: uid %d, %v; want %d", file, st.Uid, err, want)
		}
	}
}

// The budget of the tool's start: 150 µs beyond mkdir and rmdir themselves.
func BenchmarkLife(b *testing.B) {
	h, path := world(b)
	if g, err := h.Create(path); err == nil {
		g.Close()
	}
	for b.Loop() {
		h, err := Find()
		if err != nil {
			b.Fatal(err)
		}
		g, err := h.Create(path)
		if err != nil {
			b.Fatal(err)
		}
		g.Close()
		g, err = h.Open(path)
		if err != nil {
			b.Fatal(err)
		}
		g.Close()
		if err := g.Remove(); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkBare is what BenchmarkLife is to be compared with.
func BenchmarkBare(b *testing.B) {
	h, path := world(b)
	abs := filepath.Join(h.Unified.Mount, path)
	os.MkdirAll(filepath.Dir(abs), 0o755)
	for b.Loop() {
		unix.Mkdir(abs, 0o755)
		unix.Rmdir(abs)
	}
}

// A file that is held open says each time what is so then, in whatever room, until the
// group is gone.
func TestFile(t *testing.T) {
	h, g := create(t)
	f, err := g.File("cgroup.procs")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if text, err := f.Read(make([]byte, 64)); err != nil || len(text) != 0 {
		t.Errorf("empty: %q, %v", text, err)
	}
	cmd := run(t, g, "/bin/sleep", "60")
	for _, room := range []int{0, 1, 3, 64} {
		text, err := f.Read(make([]byte, room))
		if want := strconv.Itoa(cmd.Process.Pid); err != nil || string(text) != want {
			t.Errorf("room for %d: %q, %v, want %s", room, text, err, want)
		}
		if pids, err := g.ProcsOf(f, make([]byte, room)); err != nil || !slices.Equal(pids, []int{cmd.Process.Pid}) {
			t.Errorf("room for %d: processes %d, %v, want %d", room, pids, err, cmd.Process.Pid)
		}
	}
	if err := g.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := h.Remove(g.rel); err != nil {
		t.Fatal(err)
	}
	if text, err := f.Read(nil); !errors.Is(err, syscall.ENODEV) {
		t.Errorf("removed: %q, %v", text, err)
	}
	if _, err := g.File("no.such"); !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.ENODEV) {
		t.Errorf("no such file: %v", err)
	}
}
