package daemon

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"vserver/bpf"
	"vserver/daemon/console"
	"vserver/daemon/logtail"
	"vserver/daemon/proto"
	"vserver/guest"
	"vserver/internal/need"
	"vserver/kernel/pty"
)

// TestMain is vserverd when the test binary was launched as that.
func TestMain(m *testing.M) {
	if filepath.Base(os.Args[0]) == proto.Program {
		os.Exit(run(os.Args, guest.Dirs{}, testActs, nil))
	}
	need.Main(m)
}

// testActs are the acts of a vserverd whose guests are processes of the tests: ends
// are written to the file ended in the directory of notes, and take as long as there is a
// NAME.slow; a start runs the script
// NAME.start there, ends are noted late if there is notes.late, and the guests that run have their pid in NAME.pid.
func testActs(dirs guest.Dirs) acts {
	return acts{
		Attend: func(proto.Start, func(string, ...any), func()) func() { return func() {} },
		Ended: func(n guest.Name, e guest.Exit) error {
			f, err := os.OpenFile(filepath.Join(dirs.Run, "ended"), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
			if err != nil {
				return err
			}
			fmt.Fprintf(f, "%s %s\n", n, describe(e))
			f.Close()
			for slow := filepath.Join(dirs.Run, string(n)+".slow"); ; time.Sleep(5 * time.Millisecond) {
				if _, err := os.Stat(slow); err != nil {
					break
				}
			}
			if _, err := os.Stat(filepath.Join(dirs.Run, string(n)+".stopping")); err == nil {
				return guest.ErrStopped
			}
			return nil
		},
		Start: func(n guest.Name) error {
			script, err := os.ReadFile(filepath.Join(dirs.Run, string(n)+".start"))
			if err != nil {
				return guest.ErrNotFound
			}
			words := strings.SplitN(string(script), "\n", 3)
			if words[0] == "fails" {
				return errors.New("cannot start")
			}
			_, err = begin(dirs, proto.Start{Name: n, Console: guest.ConsoleType(words[0]), Restart: guest.Restart(words[1])}, words[2])
			return err
		},
		OOM: func(names ...guest.Name) []int { return make([]int, len(names)) },
		Running: func(known func(guest.Name) bool) (all []proto.Start) {
			files, _ := filepath.Glob(filepath.Join(dirs.Run, "*.pid"))
			for _, f := range files {
				n := guest.Name(strings.TrimSuffix(filepath.Base(f), ".pid"))
				b, _ := os.ReadFile(f)
				if pid, err := strconv.Atoi(string(b)); err == nil && !known(n) && syscall.Kill(pid, 0) == nil {
					all = append(all, proto.Start{Name: n, InitPID: pid, Console: guest.ConsoleLog, Restart: guest.RestartNever})
				}
			}
			return all
		},
		Reopen: console.Reopen,
		Notes: func() (*bpf.Notes, error) {
			if _, err := os.Stat(filepath.Join(dirs.Run, "notes.late")); err == nil {
				time.Sleep(200 * time.Millisecond)
			}
			return bpf.WatchEnds()
		},
	}
}

// begin starts a shell script as first process of a pid namespace, with a console of
// the wanted kind, and tells vserverd. It is let go when that knows of it.
func begin(dirs guest.Dirs, s proto.Start, script string) (pid int, err error) {
	if err := os.MkdirAll(dirs.State(s.Name), 0o700); err != nil { // as a start does
		return 0, err
	}
	gate, opened, err := os.Pipe()
	if err != nil {
		return 0, err
	}
	defer opened.Close()
	defer gate.Close()
	c := exec.Command("busybox", "sh", "-c", "read x <&3; exec 3<&-; "+script)
	c.ExtraFiles = []*os.File{gate}
	fd := -1
	c.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID, PidFD: &fd}
	var console *os.File
	switch s.Console {
	case guest.ConsoleTTY:
		p, err := pty.Open(24, 80)
		if err != nil {
			return 0, err
		}
		defer p.Slave.Close()
		console = p.Master
		c.Stdin, c.Stdout, c.Stderr = p.Slave, p.Slave, p.Slave
		c.SysProcAttr.Setsid, c.SysProcAttr.Setctty = true, true
	case guest.ConsoleLog:
		r, w, err := os.Pipe()
		if err != nil {
			return 0, err
		}
		defer w.Close()
		console = r
		c.Stdout, c.Stderr = w, w
	}
	if err := c.Start(); err != nil {
		return 0, err
	}
	go c.Wait()
	s.InitPID = c.Process.Pid
	defer syscall.Close(fd)
	con := -1
	if console != nil {
		defer console.Close()
		con = int(console.Fd())
	}
	told, err := proto.Tell(dirs, s, fd, con)
	if err != nil {
		return 0, err
	}
	return s.InitPID, told.Confirm()
}

// world is a vserverd and its guests.
type world struct {
	t    testing.TB
	dirs guest.Dirs
}

func newWorld(t testing.TB) *world {
	t.Helper()
	w := coldWorld(t)
	if err := proto.Launch(w.dirs); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat("/sys/kernel/btf/vmlinux"); err == nil {
		w.attached()
	}
	return w
}

// coldWorld is one whose vserverd is not there yet.
func coldWorld(t testing.TB) *world {
	t.Helper()
	need.Root(t)
	need.Command(t, "busybox")
	w := &world{t, need.Dirs(t)}
	t.Cleanup(func() {
		all, _ := proto.List(w.dirs)
		for _, g := range all { // those that vserverd has started again
			hit(g.InitPID, syscall.SIGKILL)
		}
		if err := proto.Quit(w.dirs); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Logf("vserverd.log:\n%s", w.diary())
		}
		for end := time.Now().Add(2 * time.Second); time.Now().Before(end) && w.role("") != 0; {
			time.Sleep(time.Millisecond)
		}
	})
	return w
}

// guest starts a script as a guest that dies with the test.
func (w *world) guest(s proto.Start, script string) int {
	w.t.Helper()
	if s.Restart == "" {
		s.Restart = guest.RestartNever
	}
	pid, err := begin(w.dirs, s, script)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { hit(pid, syscall.SIGKILL) })
	w.write(string(s.Name)+".pid", strconv.Itoa(pid))
	return pid
}

func (w *world) write(name, text string) {
	w.t.Helper()
	if err := os.MkdirAll(w.dirs.Run, 0o711); err != nil {
		w.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(w.dirs.Run, name), []byte(text), 0o600); err != nil {
		w.t.Fatal(err)
	}
}

// log gives the whole console log of a guest.
func (w *world) log(n guest.Name) string {
	var b bytes.Buffer
	logtail.Copy(w.t.Context(), w.dirs.Console(n), &b, logtail.Options{Lines: logtail.All, Raw: true})
	return strings.ReplaceAll(b.String(), "\r\n", "\n")
}

// ended gives the ends so far.
func (w *world) ended() string {
	b, _ := os.ReadFile(filepath.Join(w.dirs.Run, "ended"))
	return string(b)
}

// diary gives what vserverd itself said.
func (w *world) diary() string {
	b, _ := os.ReadFile(filepath.Join(w.dirs.Run, "vserverd.log"))
	return string(b)
}

// await waits until what gives want.
func (w *world) await(want string, what func() string) {
	w.t.Helper()
	var got string
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(2 * time.Millisecond) {
		if got = what(); got == want {
			return
		}
	}
	if len(got) > 2000 {
		got = got[:1000] + " ... " + got[len(got)-1000:]
	}
	w.t.Fatalf("got %q, want %q", got, want)
}

// until waits until what is true.
func (w *world) until(what func() bool) {
	w.t.Helper()
	w.await("true", func() string { return strconv.FormatBool(what()) })
}

// role gives the pid of a process of this world's vserverd, 0 when there is none.
func (w *world) role(role string) int {
	cmds, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, f := range cmds {
		b, _ := os.ReadFile(f)
		words := strings.Split(string(b), "\x00")
		if words[0] != proto.Program || len(words) < 2 || !slices.Contains(words, "--run="+w.dirs.Run) {
			continue
		}
		if role == "" || words[1] == role || role == "--keeper" && words[1] == "--adopt" {
			pid, _ := strconv.Atoi(strings.Split(f, "/")[2])
			return pid
		}
	}
	return 0
}

// pid gives the process in a role, waiting for it.
func (w *world) pid(role string) (pid int) {
	w.t.Helper()
	w.until(func() bool { pid = w.role(role); return pid != 0 })
	return pid
}

// kill kills a process of vserverd and waits for the next in its role.
func (w *world) kill(role string) {
	w.t.Helper()
	pid := w.pid(role)
	hit(pid, syscall.SIGKILL)
	w.until(func() bool { next := w.role(role); return next != 0 && next != pid })
}

// hit sends a signal to one process; 0 would be the tests' whole group.
func hit(pid int, sig syscall.Signal) {
	if pid > 1 {
		syscall.Kill(pid, sig)
	}
}

// counter is a script that prints the numbers from 1.
func counter(last int, pause string) string {
	return fmt.Sprintf("i=0; while [ $i -lt %d ]; do i=$((i+1)); echo $i; %s; done", last, pause)
}

// counted checks that a log has the numbers from 1 to last, once each, in order.
func (w *world) counted(n guest.Name, last int) {
	w.t.Helper()
	lines := strings.Split(strings.TrimSuffix(w.log(n), "\n"), "\n")
	for i, line := range lines {
		if line != strconv.Itoa(i+1) {
			w.t.Fatalf("%s: line %d of %d is %q", n, i+1, len(lines), line)
		}
	}
	if len(lines) != last {
		w.t.Fatalf("%s: %d lines, want %d", n, len(lines), last)
	}
}
