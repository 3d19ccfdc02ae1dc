package spawn

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"vserver/internal/need"
)

func TestMain(m *testing.M) { need.Main(m) }

// ways are the two ways to clone the first child.
var ways = map[string]Options{"copied": {Cgroup: -1}, "shared": {Cgroup: -1, Share: true}}

// output starts a child whose standard output is read to its end.
func output(t *testing.T, o Options, fill func(*Table)) (string, *Child, error) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	table := &Table{}
	table.StdioFds([3]int{0, int(w.Fd()), 2})
	fill(table)
	c, err := Start(table, o)
	w.Close()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	err = c.Finish()
	text, readErr := io.ReadAll(r)
	if readErr != nil {
		t.Fatal(readErr)
	}
	return string(text), c, err
}

func TestExec(t *testing.T) {
	for name, o := range ways {
		t.Run(name, func(t *testing.T) {
			text, c, err := output(t, o, func(t *Table) {
				t.Chdir("/")
				t.ResetSignals()
				t.CloseOthers()
				t.Exec([]string{"/no/sh", "/bin/sh"}, []string{"sh", "-c", "pwd; echo $X; ls /proc/self/fd; exit 3"}, []string{"X=y", "PATH=/usr/bin:/bin"})
			})
			if err != nil || text != "/\ny\n0\n1\n2\n3\n" { // 3 is ls's own
				t.Errorf("%q, %v", text, err)
			}
			if ws, err := c.Wait(); err != nil || ws.ExitStatus() != 3 {
				t.Errorf("ended with %v, %v", ws, err)
			}
		})
	}
}

// What goes wrong in the child is told with the entry's name.
func TestReport(t *testing.T) {
	for name, o := range ways {
		for _, c := range []struct {
			fill func(*Table)
			want string
			err  error
		}{
			{func(t *Table) { t.Chdir("/no/where") }, "chdir /no/where", syscall.ENOENT},
			{func(t *Table) { t.Exec([]string{"/etc/passwd"}, []string{"x"}, nil) }, "exec /etc/passwd", syscall.EACCES},
			{func(t *Table) { t.Exec([]string{"/a", "/b"}, []string{"x"}, nil) }, "exec /b", syscall.ENOENT},
			{func(t *Table) { t.Fork("fork", 0, nil); t.Chdir("/no/where") }, "chdir /no/where", syscall.ENOENT},
			{func(t *Table) { t.Fork("fork", unix.CLONE_THREAD, nil) }, "fork", syscall.EINVAL},
		} {
			_, child, err := output(t, o, c.fill)
			if !errors.Is(err, c.err) || !strings.HasPrefix(err.Error(), c.want+": ") {
				t.Errorf("%s: got %v, want %s: %v", name, err, c.want, c.err)
			}
			child.Kill()
		}
	}
}

// The process that goes on after the fork is our child, and the old one can write to
// its files in /proc.
func TestFork(t *testing.T) {
	need.Root(t) // a program's oom_score_adj is root's once it runs as another
	procfs, err := os.Open("/proc")
	if err != nil {
		t.Fatal(err)
	}
	defer procfs.Close()
	for name, o := range ways {
		t.Run(name, func(t *testing.T) {
			text, c, err := output(t, o, func(t *Table) {
				t.Show()
				t.Fork("fork", 0, func(pid Reg) { t.WriteOf(int(procfs.Fd()), pid, "oom_score_adj", "321") })
				t.Exec([]string{"/bin/sh"}, []string{"sh", "-c", "read p < /proc/self/oom_score_adj; echo $p $PPID"}, nil)
			})
			if err != nil {
				t.Fatal(err)
			}
			// The write and the program's start race: the first word may be 0 still.
			f := strings.Fields(text)
			if len(f) != 2 || f[0] != "321" && f[0] != "0" {
				t.Errorf("printed %q", text)
			}
			if ws, err := c.Wait(); err != nil || !ws.Exited() || ws.ExitStatus() != 0 {
				t.Errorf("ended with %v, %v", ws, err)
			}
		})
	}
}

// A child waits at its gates, gets the files it is sent, and ends with its parent's
// end of the gate.
func TestGate(t *testing.T) {
	for name, o := range ways {
		t.Run(name, func(t *testing.T) {
			r, w, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			table := &Table{}
			table.Await("the word")
			table.Fork("fork", 0, nil)
			files := table.Receive("files", 2)
			table.Stdio([3]Reg{files[0], files[1], files[1]})
			table.CloseOthers()
			table.Exec([]string{"/bin/cat"}, []string{"cat"}, nil)
			c, err := Start(table, o)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if err := c.Open(); err != nil {
				t.Fatal(err)
			}
			in, err := os.Open("/proc/sys/kernel/ostype")
			if err != nil {
				t.Fatal(err)
			}
			err = c.Send([]int{int(in.Fd()), int(w.Fd())})
			in.Close()
			w.Close()
			if err = errors.Join(err, c.Finish()); err != nil {
				t.Fatal(err)
			}
			if text, err := io.ReadAll(r); err != nil || string(text) != "Linux\n" {
				t.Errorf("%q, %v", text, err)
			}
			if _, err := c.Wait(); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestGateCloses(t *testing.T) {
	for name, o := range ways {
		t.Run(name, func(t *testing.T) {
			table := &Table{}
			table.Fork("fork", 0, nil)
			table.Await("the word")
			table.Exec([]string{"/bin/sleep"}, []string{"sleep", "100"}, nil)
			c, err := Start(table, o)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if _, err := c.Forked(); err != nil {
				t.Fatal(err)
			}
			began := time.Now()
			if err := c.Finish(); err == nil || !strings.Contains(err.Error(), "wait for the word") {
				t.Errorf("finish: %v", err)
			}
			if ws, err := c.Wait(); err != nil || ws.ExitStatus() != 127 || time.Since(began) > time.Minute {
				t.Errorf("ended with %v, %v", ws, err)
			}
		})
	}
}

// dying makes TestGateOfTheDead a parent that ends with nothing done.
const dying = "SPAWN_TEST_DYING"

// A child ends with its parent though somebody else has the parent's end of its gate
// open, as a child that was cloned at the same time has.
func TestGateOfTheDead(t *testing.T) {
	if os.Getenv(dying) != "" {
		die()
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestGateOfTheDead$")
	cmd.Env = append(os.Environ(), dying+"=1")
	out, err := cmd.Output()
	if !cmd.ProcessState.Sys().(syscall.WaitStatus).Signaled() {
		t.Fatalf("the parent: %q, %v", out, err)
	}
	var child, other int
	if _, err := fmt.Sscan(string(out), &child, &other); err != nil {
		t.Fatalf("%q: %v", out, err)
	}
	defer syscall.Kill(other, syscall.SIGKILL)
	for began := time.Now(); syscall.Kill(child, 0) == nil; time.Sleep(time.Millisecond) {
		if time.Since(began) > time.Minute {
			syscall.Kill(child, syscall.SIGKILL)
			t.Fatal("the child still waits")
		}
	}
}

// die starts a child that waits, and another process that holds the gate, tells their
// pids and kills us.
func die() {
	table := &Table{}
	table.Await("the word")
	table.End()
	c, err := Start(table, Options{Cgroup: -1})
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	other := exec.Command("sleep", "100")
	other.ExtraFiles = []*os.File{c.gate}
	if err := other.Start(); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	os.Remove(os.TempDir()) // it is ours: need.Main does not end here
	fmt.Println(c.First(), other.Process.Pid)
	syscall.Kill(os.Getpid(), syscall.SIGKILL)
	select {}
}

func BenchmarkStart(b *testing.B) {
	for name, o := range ways {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				table := &Table{}
				table.Fork("fork", 0, nil)
				table.Exec([]string{"/bin/true"}, []string{"true"}, nil)
				c, err := Start(table, o)
				if err != nil {
					b.Fatal(err)
				}
				if err := c.Finish(); err != nil {
					b.Fatal(err)
				}
				c.Wait()
				c.Close()
			}
		})
	}
}

// Who kills a child that waits is told of as that, not as a broken pipe.
func TestKilledByOthers(t *testing.T) {
	table := &Table{}
	table.Await("the test")
	table.Exec([]string{"/bin/true"}, []string{"true"}, nil)
	c, err := Start(table, Options{Cgroup: -1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	t.Cleanup(c.Kill)
	if err := unix.Kill(c.First(), unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if err := unix.Waitid(unix.P_PID, c.First(), nil, unix.WEXITED|unix.WNOWAIT, nil); err != nil {
		t.Fatal(err)
	}
	if err := c.Open(); err == nil || !strings.Contains(err.Error(), "killed before it executed") {
		t.Errorf("the gate of a dead child: %v", err)
	}
}

// Reap takes a child that has ended, and one that ends later.
func TestReap(t *testing.T) {
	for _, script := range []string{"exit 3", "sleep 0.1; exit 3"} {
		var ws syscall.WaitStatus
		_, c, err := output(t, Options{Cgroup: -1, Share: true}, func(t *Table) {
			t.ResetSignals()
			t.CloseOthers()
			t.Exec([]string{"/bin/sh"}, []string{"sh", "-c", script}, []string{"PATH=/usr/bin:/bin"})
		})
		if err == nil {
			ws, err = c.Reap()
		}
		if err != nil || ws.ExitStatus() != 3 {
			t.Fatalf("%s: status %v, %v", script, ws, err)
		}
		if _, err := syscall.Wait4(c.pid, nil, syscall.WNOHANG, nil); err != syscall.ECHILD {
			t.Errorf("%s: left: %v", script, err)
		}
	}
}
