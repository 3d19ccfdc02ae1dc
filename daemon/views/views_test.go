package views

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"vserver/daemon/loop"
	"vserver/guest"
	"vserver/internal/need"
	"vserver/kernel/cgroup"
	"vserver/kernel/fuse"
	"vserver/view"
)

// The test binary is a server too: its arguments are "serve", the name of the groups,
// and the name of a connection. Descriptor 3 is the slot, 4 the connection.
func TestMain(m *testing.M) {
	if len(os.Args) == 4 && os.Args[1] == "serve" {
		serve(os.Args[2], os.Args[3])
	}
	need.Main(m)
}

func serve(group, kept string) {
	l, err := loop.New()
	if err != nil {
		panic(err)
	}
	set := newSet(l, guest.Dirs{Cgroup: group}, func(format string, args ...any) {
		fmt.Fprintf(os.Stderr, format+"\n", args...)
	})
	set.Inherit(map[string]int{keptSlot: 3, kept: 4})
	for {
		l.Turn()
	}
}

func newSet(l *loop.Loop, dirs guest.Dirs, say func(string, ...any)) *Set {
	return &Set{Dirs: dirs, Loop: l, Say: say,
		Keep: func(string, int) error { return nil }, Unkeep: func(string) {}}
}

// world is a guest of one process with a view that is mounted nowhere.
type world struct {
	t    *testing.T
	dirs guest.Dirs
	pid  int
	view *view.Mount
}

const uid = 700 << 16

func newWorld(t *testing.T) *world {
	need.Root(t)
	need.Filesystem(t, "fuse")
	w := &world{t: t, dirs: need.Dirs(t)}
	cg, err := cgroup.Find()
	if err != nil {
		t.Fatal(err)
	}
	g, err := cg.Create(w.dirs.Cgroup + "/web1")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cg.Remove(w.dirs.Cgroup) })
	if err := g.Delegate(uid, uid); err != nil {
		t.Fatal(err)
	}
	init := exec.Command("sleep", "1000")
	init.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: g.FD()}
	if err := init.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { init.Process.Kill(); init.Wait(); g.Close() })
	w.pid = init.Process.Pid
	asleep(t, w.pid)
	if w.view, err = view.Make(uid, nil); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.view.Close)
	w.view.Leave()
	return w
}

// asleep waits until a process sleeps: one that runs counts for the load.
func asleep(t *testing.T, pid int) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		where, _ := os.ReadFile(fmt.Sprintf("/proc/%d/wchan", pid))
		if strings.Contains(string(where), "nanosleep") {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("process %d does not sleep: %q", pid, where)
		}
	}
}

// read reads a file of the view as a guest would, by small pieces.
func (w *world) read(name string) (string, error) {
	fd, err := syscall.Openat(w.view.FD, name, syscall.O_RDONLY|syscall.O_CLOEXEC, 0)
	if err != nil {
		return "", err
	}
	f := os.NewFile(uintptr(fd), name)
	defer f.Close()
	var out bytes.Buffer
	for buf := make([]byte, 1000); ; {
		n, err := syscall.Read(fd, buf)
		if err == syscall.EINTR {
			continue
		}
		if err != nil {
			return "", err
		}
		if n == 0 {
			return out.String(), nil
		}
		out.Write(buf[:n])
	}
}

// loop runs a set in a loop of its own until the test's end.
func (w *world) loop() *Set {
	w.t.Helper()
	l, err := loop.New()
	if err != nil {
		w.t.Fatal(err)
	}
	set := newSet(l, w.dirs, w.t.Logf)
	over, done := false, make(chan bool)
	go func() {
		for !over || set.Busy() {
			l.Turn()
		}
		if set.slot != nil {
			set.slot.close()
		}
		l.Close()
		close(done)
	}()
	w.t.Cleanup(func() {
		w.view.Close() // the guest ends
		l.Post(func() { over = true })
		<-done
	})
	return set
}

// take has a set answer for the world's guest.
func (w *world) take(set *Set) {
	w.t.Helper()
	err, fd := make(chan error), w.view.Device
	w.view.Device = -1 // it is the set's
	set.Loop.Post(func() { err <- set.Take("web1", w.pid, []int{fd}) })
	if err := <-err; err != nil {
		w.t.Fatal(err)
	}
}

// Everything in the tree can be read, says what it is to say, and belongs to the guest.
func TestFiles(t *testing.T) {
	w := newWorld(t)
	w.take(w.loop())
	for name, want := range map[string]string{
		"meminfo": "MemTotal:", "stat": "cpu  ", "cpuinfo": "", "uptime": "0.", "loadavg": "0.00 0.00 0.00 ",
		"swaps": "Filename", "diskstats": "", "cpu/online": "", "cpu/kernel_max": "", "cpu/possible": "0",
	} {
		text, err := w.read(name)
		if err != nil || !strings.HasPrefix(text, want) && name != "uptime" {
			t.Errorf("%s: %q, %v", name, text, err)
		}
	}
	dir := "/proc/self/fd/" + strconv.Itoa(w.view.FD)
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	files := 0
	var walk func(at string)
	walk = func(at string) {
		d, err := root.Open(at)
		if err != nil {
			t.Fatal(err)
		}
		defer d.Close()
		list, err := d.ReadDir(-1)
		if err != nil {
			t.Fatal(at, err)
		}
		for _, e := range list {
			path := filepath.Join(at, e.Name())
			info, err := root.Lstat(path)
			if err != nil {
				t.Error(err)
				continue
			}
			if st := info.Sys().(*syscall.Stat_t); st.Uid != uid || info.IsDir() != e.IsDir() {
				t.Errorf("%s: %v of %d", path, info.Mode(), st.Uid)
			}
			if e.IsDir() {
				walk(path)
				continue
			}
			if _, err := root.ReadFile(path); err != nil && !strings.HasPrefix(path, "pressure/") {
				t.Error(err) // a kernel may count no pressure
			}
			files++
		}
	}
	walk(".")
	if files < 12 {
		t.Errorf("%d files", files)
	}
	if _, err := w.read("none"); err != syscall.ENOENT {
		t.Errorf("none: %v", err)
	}
}

// server starts a server in another process.
func (w *world) server(s *slot, c *connection) *exec.Cmd {
	w.t.Helper()
	cmd := exec.Command("/proc/self/exe", "serve", w.dirs.Cgroup, c.kept())
	cmd.Stderr = w.t.Output()
	dup := func(fd int, name string) *os.File {
		n, err := syscall.Dup(fd)
		if err != nil {
			w.t.Fatal(err)
		}
		syscall.CloseOnExec(n)
		f := os.NewFile(uintptr(n), name)
		cmd.ExtraFiles = append(cmd.ExtraFiles, f)
		return f
	}
	a, b := dup(s.fd, "slot"), dup(w.view.Device, "connection")
	defer a.Close()
	defer b.Close()
	if err := cmd.Start(); err != nil {
		w.t.Fatal(err)
	}
	return cmd
}

// A server is killed over and over while guests read: they wait, and get what they
// asked for.
func TestKilled(t *testing.T) {
	w := newWorld(t)
	s, err := newSlot()
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	c := &connection{name: "web1", pid: w.pid, id: 42}
	var reads atomic.Int64
	var stop atomic.Bool
	var readers sync.WaitGroup
	names := []string{"meminfo", "stat", "cpu/online", "loadavg"}
	for i := range 4 {
		readers.Go(func() {
			for n := i; !stop.Load(); n++ {
				text, err := w.read(names[n%len(names)])
				if err != nil || !strings.HasSuffix(text, "\n") {
					t.Errorf("%s: %q, %v", names[n%len(names)], text, err)
					return
				}
				reads.Add(1)
			}
		})
	}
	kills := 200
	if need.InVM() {
		kills = 20 // each takes an emulated machine long
	}
	for i := range kills {
		srv := w.server(s, c)
		for begin := reads.Load(); reads.Load() < begin+int64(i%7); {
			if t.Failed() {
				break
			}
			time.Sleep(50 * time.Microsecond)
		}
		srv.Process.Kill()
		srv.Wait()
	}
	srv := w.server(s, c)
	stop.Store(true)
	readers.Wait()
	srv.Process.Kill()
	srv.Wait()
	t.Logf("%d reads over %d deaths", reads.Load(), kills)
}

// The memory gives the newest of what was told of each file of each guest, to another
// server as well, and forgets the oldest.
func TestTold(t *testing.T) {
	s, err := newSlot()
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	one, two := toldOf{s, 1}, toldOf{s, 2}
	one.Tell(3, []byte("old\n"), 10)
	two.Tell(3, []byte("another's\n"), 11)
	one.Tell(3, []byte("new\n"), 12)
	one.Tell(4, make([]byte, toldSize), 13) // too long
	next, err := openSlot(s.fd)
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Munmap(next.mem)
	if text, since := (toldOf{next, 1}).Told(3); string(text) != "new\n" || since != 12 {
		t.Errorf("%q since %d", text, since)
	}
	if _, since := (toldOf{next, 1}).Told(4); since != 0 {
		t.Error("a long text is kept")
	}
	for i := range maxTold {
		(toldOf{next, 9}).Tell(view.Node(i+2), nil, 20)
	}
	if text, since := two.Told(3); since != 0 {
		t.Errorf("%q was not forgotten", text)
	}
}

// A request that a server took and did not answer is answered by the next; one that
// kills each is given up.
func TestLeft(t *testing.T) {
	for _, deaths := range []int{1, tooOften} {
		w := newWorld(t)
		s, err := newSlot()
		if err != nil {
			t.Fatal(err)
		}
		defer s.close()
		c := &connection{name: "web1", pid: w.pid, id: 42}
		answer := make(chan error, 1)
		go func() {
			_, err := w.read("loadavg")
			answer <- err
		}()
		s.begin(c.id)
		if _, err := fuse.Wait(w.view.Device, -1); err != nil {
			t.Fatal(err)
		}
		if _, err := fuse.Take(w.view.Device, s.buffer()); err != nil {
			t.Fatal(err)
		}
		for range deaths - 1 {
			if _, _, _, ok := s.left(); !ok {
				t.Fatal("nothing is left")
			}
		}
		srv := w.server(s, c)
		if err := <-answer; deaths < tooOften && err != nil || deaths == tooOften && err != syscall.EIO {
			t.Errorf("after %d deaths: %v", deaths, err)
		}
		srv.Process.Kill()
		srv.Wait()
	}
}
