package daemon

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"vserver/daemon/logtail"
	"vserver/daemon/proto"
	"vserver/guest"
	"vserver/internal/need"
	"vserver/kernel/seqpacket"
)

var kinds = []guest.ConsoleType{guest.ConsoleTTY, guest.ConsoleLog} //house:allow a table of tests

func TestLogAndEnd(t *testing.T) {
	w := newWorld(t)
	for _, kind := range kinds {
		n := guest.Name("a-" + kind)
		w.guest(proto.Start{Name: n, Console: kind}, "echo hello; exit 3")
		w.await("hello\n", func() string { return w.log(n) })
	}
	w.guest(proto.Start{Name: "silent", Console: guest.ConsoleNone}, "exit 0")
	w.until(func() bool { return strings.Count(w.ended(), "\n") == 3 })
	for _, want := range []string{"a-tty exited with code 3\n", "a-log exited with code 3\n", "silent exited with code 0\n"} {
		if !strings.Contains(w.ended(), want) {
			t.Errorf("ends are %q, want among them %q", w.ended(), want)
		}
	}
	w.until(func() bool { all, _ := proto.List(w.dirs); return len(all) == 0 })
}

// What is printed is logged once and in order, whatever is killed meanwhile.
func TestKill(t *testing.T) {
	for _, role := range []string{"--worker", "--keeper"} {
		t.Run(role, func(t *testing.T) {
			w := newWorld(t)
			rounds, fast, slow := 25, 30000, 600
			if need.InVM() { // which is slow
				rounds, fast, slow = 5, 2000, 150
			}
			for _, kind := range kinds {
				w.guest(proto.Start{Name: guest.Name("fast-" + kind), Console: kind}, counter(fast, ":")+"; sleep 1000")
				w.guest(proto.Start{Name: guest.Name("slow-" + kind), Console: kind}, counter(slow, "usleep 1000")+"; sleep 1000")
			}
			for i := range rounds {
				w.kill(role)
				time.Sleep(time.Duration(i) * time.Millisecond)
			}
			for _, kind := range kinds {
				for n, last := range map[guest.Name]int{guest.Name("fast-" + kind): fast, guest.Name("slow-" + kind): slow} {
					w.until(func() bool { return strings.HasSuffix(w.log(n), fmt.Sprintf("\n%d\n", last)) })
					w.counted(n, last)
				}
			}
			if all, err := proto.List(w.dirs); len(all) != 4 || err != nil {
				t.Errorf("watched are %v, %v", all, err)
			}
			if w.ended() != "" {
				t.Errorf("ended: %s", w.ended())
			}
		})
	}
}

// With worker and keeper dead, the next command starts another pair, which finds the
// guests by itself. Log pipes are had again, terminals are not.
func TestKillBoth(t *testing.T) {
	w := newWorld(t)
	w.guest(proto.Start{Name: "one", Console: guest.ConsoleLog}, "trap '' PIPE; while :; do echo x; usleep 20000; done")
	two := w.guest(proto.Start{Name: "two", Console: guest.ConsoleTTY}, "trap '' HUP; sleep 1000")
	for range 5 {
		worker, keeper := w.pid("--worker"), w.pid("--keeper")
		hit(keeper, syscall.SIGSTOP) // else it starts another worker first
		hit(worker, syscall.SIGKILL)
		hit(keeper, syscall.SIGKILL)
		w.until(func() bool { return w.role("") == 0 })
		if err := proto.Launch(w.dirs); err != nil {
			t.Fatal(err)
		}
		all, err := proto.List(w.dirs)
		if len(all) != 2 || err != nil {
			t.Fatalf("watched are %v, %v", all, err)
		}
		size := len(w.log("one"))
		w.until(func() bool { return len(w.log("one")) > size+4 })
	}
	w.attached()
	hit(two, syscall.SIGKILL)
	w.await("two was ended by SIGKILL\n", w.ended)
}

// A keeper whose worker was killed while it handed everything over may lack the socket: the
// next worker makes it.
func TestKilledHandingOver(t *testing.T) {
	w := coldWorld(t)
	if err := proto.MakeRun(w.dirs); err != nil {
		t.Fatal(err)
	}
	ours, theirs, err := seqpacket.Pair()
	if err != nil {
		t.Fatal(err)
	}
	syscall.Close(ours)
	socket := os.NewFile(uintptr(theirs), "worker")
	defer socket.Close()
	p, err := os.StartProcess("/proc/self/exe", proto.Args(w.dirs, "--adopt"), &os.ProcAttr{Files: []*os.File{nil, nil, nil, socket}})
	if err != nil {
		t.Fatal(err)
	}
	go p.Wait()
	worker := w.pid("--worker")
	w.until(func() bool { return proto.Awake(w.dirs) })
	if all, err := proto.List(w.dirs); all != nil || err != nil || w.pid("--worker") != worker {
		t.Errorf("%v, %v; the worker is another one", all, err)
	}
}

// While the end of a guest is seen to, its console is closed, and the next keeper gets no other
// file in its place, as a client's connection, which would never end.
func TestKillAtEnd(t *testing.T) {
	w := newWorld(t)
	w.guest(proto.Start{Name: "two", Console: guest.ConsoleTTY}, "while :; do echo x; usleep 10000; done")
	w.write("one.slow", "")
	w.guest(proto.Start{Name: "one", Console: guest.ConsoleTTY}, "exit 0")
	w.await("one exited with code 0\n", w.ended)
	client := w.attach("two", 0) // has the console's number now
	w.kill("--keeper")
	if _, err := proto.List(w.dirs); err != nil { // by then it has what it gets
		t.Fatal(err)
	}
	w.kill("--worker")
	w.until(func() bool { return len(client.end) == 1 })
	if all, err := proto.List(w.dirs); err != nil || len(all) != 2 {
		t.Fatalf("watched are %+v, %v", all, err)
	}
	size := len(w.log("two"))
	w.until(func() bool { return len(w.log("two")) > size+4 })
	os.Remove(filepath.Join(w.dirs.Run, "one.slow"))
}

// A start at the very moment of a kill is not lost either.
func TestStartDuringKill(t *testing.T) {
	w := newWorld(t)
	w.guest(proto.Start{Name: "first", Console: guest.ConsoleNone}, "sleep 1000")
	for i := range 20 {
		pid := w.pid("--worker")
		go func() {
			time.Sleep(time.Duration(i*100) * time.Microsecond)
			hit(pid, syscall.SIGKILL)
		}()
		n := guest.Name(fmt.Sprintf("g%d", i))
		w.guest(proto.Start{Name: n, Console: guest.ConsoleTTY}, "echo up; sleep 1000")
		w.await("up\n", func() string { return w.log(n) })
	}
	all, err := proto.List(w.dirs)
	if len(all) != 21 || err != nil {
		t.Errorf("%d watched, %v", len(all), err)
	}
	for _, g := range all {
		if !g.Open && g.Name != "first" {
			t.Errorf("%s: console lost", g.Name)
		}
	}
}

// An end that nobody saw is seen by the next worker, with the last output.
func TestEndsWhileDead(t *testing.T) {
	w := newWorld(t)
	pid := w.guest(proto.Start{Name: "one", Console: guest.ConsoleTTY}, "sleep 0.3; echo last words; exit 7")
	keeper, worker := w.pid("--keeper"), w.pid("--worker")
	hit(keeper, syscall.SIGSTOP)
	hit(worker, syscall.SIGKILL)
	w.until(func() bool { return syscall.Kill(pid, 0) != nil })
	hit(keeper, syscall.SIGCONT)
	w.await("one exited with code 7\n", w.ended)
	w.await("last words\n", func() string { return w.log("one") })
}

func TestRotation(t *testing.T) {
	w := newWorld(t)
	const limit = 64 << 10
	for _, kind := range kinds {
		n := guest.Name("g-" + kind)
		w.guest(proto.Start{Name: n, Console: kind, LogSize: limit}, "busybox seq 60000; sleep 1000")
		w.until(func() bool { return strings.HasSuffix(w.log(n), "\n60000\n") })
		path := w.dirs.Console(n)
		for _, f := range []string{path, logtail.Rotated(path)} {
			st, err := os.Stat(f)
			if err != nil || st.Size() > limit*5/4 || st.Mode().Perm() != 0o600 {
				t.Errorf("%s: %v, %v", f, st, err)
			}
		}
		lines := strings.Split(strings.TrimSpace(w.log(n)), "\n")
		for i, line := range lines[1:] {
			if want := fmt.Sprint(60000 - len(lines) + 2 + i); line != want {
				t.Fatalf("%s: line %q where %s should be", kind, line, want)
			}
		}
		if files, _ := filepath.Glob(path + "*"); len(files) != 2 {
			t.Errorf("files: %v", files)
		}
	}
}

// A guest that prints without end takes little of us, and nothing of others.
func TestFlood(t *testing.T) {
	w := newWorld(t)
	for _, kind := range kinds {
		w.guest(proto.Start{Name: guest.Name("flood-" + kind), Console: kind}, "exec busybox yes floodfloodfloodflood")
	}
	w.guest(proto.Start{Name: "quiet", Console: guest.ConsoleTTY}, "while read x; do echo got $x; done")
	c, err := proto.Attach(w.dirs, "quiet", 0)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	time.Sleep(2 * time.Second) // past the burst
	before, begin := w.processorTime(), time.Now()
	worst := time.Duration(0)
	buf := make([]byte, proto.MaxMessage)
	for i := 0; time.Since(begin) < 2*time.Second; i++ {
		asked := time.Now()
		fmt.Fprintf(c, "%d\n", i)
		for got := ""; !strings.Contains(got, fmt.Sprintf("got %d\r\n", i)); {
			n, err := c.Read(buf)
			if err != nil {
				t.Fatal(err)
			}
			got += string(buf[:n])
		}
		worst = max(worst, time.Since(asked))
		time.Sleep(10 * time.Millisecond)
	}
	share := (w.processorTime() - before).Seconds() / time.Since(begin).Seconds()
	t.Logf("two floods: %.1f%% of a processor; slowest answer of another guest %v", 100*share, worst)
	if share > 0.30 && !need.InVM() {
		t.Errorf("vserverd takes %.0f%% of a processor for two floods", 100*share)
	}
	if worst > time.Second && !need.InVM() {
		t.Errorf("another guest waited %v", worst)
	}
	for _, kind := range kinds {
		path := w.dirs.Console(guest.Name("flood-" + kind))
		size := int64(0)
		for _, f := range []string{path, logtail.Rotated(path)} {
			if st, err := os.Stat(f); err == nil { // for a moment, only the older is there
				size += st.Size()
			}
		}
		if size == 0 || size > 2*(1<<20+64<<10) {
			t.Errorf("%s: %d bytes of logs", kind, size)
		}
	}
}

// processorTime is what the worker has used.
func (w *world) processorTime() time.Duration {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", w.role("--worker")))
	if err != nil {
		w.t.Fatal(err)
	}
	f := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))
	var user, sys int
	fmt.Sscan(f[11], &user)
	fmt.Sscan(f[12], &sys)
	return time.Duration(user+sys) * time.Second / 100 // USER_HZ
}

// The first start of all starts vserverd, and is told of.
func TestColdStart(t *testing.T) {
	w := coldWorld(t)
	w.guest(proto.Start{Name: "one", Console: guest.ConsoleTTY}, "echo up; sleep 1000")
	w.await("up\n", func() string { return w.log("one") })
	if all, err := proto.List(w.dirs); len(all) != 1 || err != nil {
		t.Errorf("watched are %v, %v", all, err)
	}
}

// vserverd goes when its directory does, and when it is told to.
func TestEnds(t *testing.T) {
	w := newWorld(t)
	w.guest(proto.Start{Name: "one", Console: guest.ConsoleNone}, "exit 0")
	w.await("one exited with code 0\n", w.ended)
	os.RemoveAll(w.dirs.Run)
	w.until(func() bool { return w.role("") == 0 })

	if err := proto.Launch(w.dirs); err != nil {
		t.Fatal(err)
	}
	w.pid("--worker")
	hit(w.pid("--keeper"), syscall.SIGTERM)
	w.until(func() bool { return w.role("") == 0 })
	if _, err := os.Stat(w.dirs.Socket()); err == nil {
		t.Error("the socket is still there")
	}
}

func TestRenew(t *testing.T) {
	w := newWorld(t)
	w.guest(proto.Start{Name: "one", Console: guest.ConsoleTTY}, "while :; do echo x; usleep 10000; done")
	worker := w.pid("--worker")
	if err := proto.Renew(w.dirs); err != nil {
		t.Fatal(err)
	}
	w.until(func() bool { next := w.role("--worker"); return next != 0 && next != worker })
	size := len(w.log("one"))
	w.until(func() bool { return len(w.log("one")) > size })
}
