package tty

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/term"

	"vserver/internal/need"
	"vserver/kernel/pty"
	"vserver/kernel/seqpacket"
)

// roleVar makes the test binary a program that attaches its standard files to a
// shell, for tests that kill it.
const roleVar = "VSERVER_TEST_TTY"

func TestMain(m *testing.M) {
	if os.Getenv(roleVar) != "" {
		attachShell()
	}
	need.Main(m)
}

func attachShell() {
	g, err := pty.Open(0, 0)
	if err != nil {
		os.Exit(9)
	}
	c := exec.Command("sh", "-c", "echo ready; read x; stty size; exec cat")
	c.Stdin, c.Stdout, c.Stderr = g.Slave, g.Slave, g.Slave
	c.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if c.Start() != nil {
		os.Exit(9)
	}
	g.Slave.Close()
	if os.Getenv(roleVar) == "panic" {
		Attach(context.Background(), g.Master, os.Stdin, os.Stdout, Options{Resize: func(rows, cols uint16) error {
			time.AfterFunc(100*time.Millisecond, func() { syscall.Kill(os.Getpid(), syscall.SIGWINCH) })
			if calls++; calls > 1 {
				panic("on purpose")
			}
			return nil
		}})
	}
	err = Attach(context.Background(), g.Master, os.Stdin, os.Stdout, Options{Escape: 0x1d})
	var sig SignalError
	switch {
	case errors.Is(err, ErrDetached):
		os.Exit(11)
	case errors.As(err, &sig):
		os.Exit(100 + int(sig.Signal))
	case err != nil:
		os.Exit(12)
	}
	os.Exit(10)
}

var calls int //house:allow counts in the helper process alone

// screen is what a user sees: it reads a terminal's master.
type screen struct {
	t    *testing.T
	mu   sync.Mutex
	seen bytes.Buffer
}

func watch(t *testing.T, f *os.File) *screen {
	s := &screen{t: t}
	go func() { // until the last slave is closed
		buf := make([]byte, 4096)
		for {
			n, err := f.Read(buf)
			s.mu.Lock()
			s.seen.Write(buf[:n])
			s.mu.Unlock()
			if err != nil {
				return
			}
		}
	}()
	return s
}

func (s *screen) text() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.seen.String()
}

func (s *screen) await(want string) {
	s.t.Helper()
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
		if strings.Contains(s.text(), want) {
			return
		}
	}
	s.t.Fatalf("seen %q, want %q", s.text(), want)
}

// pair makes a terminal that goes with the test.
func pair(t *testing.T, rows, cols uint16) pty.Pair {
	t.Helper()
	p, err := pty.Open(rows, cols)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Slave.Close(); p.Master.Close() })
	return p
}

// user runs the helper program on a terminal of 40 by 120.
func user(t *testing.T, role string) (*exec.Cmd, pty.Pair, *screen) {
	t.Helper()
	u := pair(t, 40, 120)
	c := exec.Command("/proc/self/exe")
	c.Env = append(os.Environ(), roleVar+"="+role)
	c.Stdin, c.Stdout, c.Stderr = u.Slave, u.Slave, u.Slave
	c.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Process.Kill(); c.Wait(); u.Slave.Close() })
	return c, u, watch(t, u.Master)
}

func TestWholeLife(t *testing.T) {
	c, u, s := user(t, "attach")
	before, err := term.GetState(int(u.Slave.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	s.await("ready\r\n")
	if err := pty.Resize(int(u.Master.Fd()), 25, 81); err != nil { // and SIGWINCH
		t.Fatal(err)
	}
	time.Sleep(100 * time.Millisecond)
	u.Master.WriteString("\r")
	s.await("25 81\r\n")
	u.Master.WriteString("typed\r")
	s.await("typed\r\ntyped\r\n") // the echo of the guest's terminal alone, and cat's
	now, _ := term.GetState(int(u.Slave.Fd()))
	if same(before, now) {
		t.Error("the terminal is not in raw mode")
	}
	u.Master.WriteString("\x04") // ends cat
	c.Wait()
	if code := c.ProcessState.ExitCode(); code != 10 {
		t.Errorf("exit code %d, want 10", code)
	}
	if now, _ := term.GetState(int(u.Slave.Fd())); !same(before, now) {
		t.Error("the terminal was not restored")
	}
}

func same(a, b *term.State) bool { return *a == *b }

// Whatever ends it, the terminal is as before.
func TestRestored(t *testing.T) {
	for name, c := range map[string]struct {
		role string
		end  func(*exec.Cmd, pty.Pair)
		code int
	}{
		"escape":  {"attach", func(_ *exec.Cmd, u pty.Pair) { u.Master.WriteString("\x1d") }, 11},
		"SIGTERM": {"attach", func(c *exec.Cmd, _ pty.Pair) { c.Process.Signal(syscall.SIGTERM) }, 115},
		"SIGHUP":  {"attach", func(c *exec.Cmd, _ pty.Pair) { c.Process.Signal(syscall.SIGHUP) }, 101},
		"SIGINT":  {"attach", func(c *exec.Cmd, _ pty.Pair) { c.Process.Signal(syscall.SIGINT) }, 102},
		"panic":   {"panic", func(*exec.Cmd, pty.Pair) {}, 2},
	} {
		t.Run(name, func(t *testing.T) {
			cmd, u, s := user(t, c.role)
			before, err := term.GetState(int(u.Slave.Fd()))
			if err != nil {
				t.Fatal(err)
			}
			if c.role == "attach" {
				s.await("ready\r\n")
			}
			c.end(cmd, u)
			cmd.Wait()
			if code := cmd.ProcessState.ExitCode(); code != c.code {
				t.Errorf("exit code %d, want %d: %s", code, c.code, s.text())
			}
			if now, _ := term.GetState(int(u.Slave.Fd())); !same(before, now) {
				t.Error("the terminal was not restored")
			}
		})
	}
}

// Without a terminal it copies, and the end of the input is typed if asked for.
func TestNoTerminal(t *testing.T) {
	g := pair(t, 0, 0)
	c := exec.Command("sh", "-c", "stty -echo; echo go; wc -l; echo over")
	c.Stdin, c.Stdout = g.Slave, g.Slave
	c.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	g.Slave.Close()
	dir := t.TempDir()
	in, err1 := os.CreateTemp(dir, "in")
	out, err2 := os.CreateTemp(dir, "out")
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	defer out.Close()
	in.WriteString(strings.Repeat("a line with \x1d in it\n", 500))
	in.Seek(0, 0)
	time.Sleep(100 * time.Millisecond) // stty
	if err := Attach(t.Context(), g.Master, in, out, Options{Escape: 0x1d, EOT: true}); err != nil {
		t.Error(err)
	}
	c.Wait()
	if got, _ := os.ReadFile(filepath.Join(out.Name())); string(got) != "go\r\n500\r\nover\r\n" {
		t.Errorf("out is %q", got)
	}
}

// The end of the context lets out what was printed, and is not held up by what does
// not end, nor by an output that nobody reads.
func TestContext(t *testing.T) {
	g := pair(t, 0, 0)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	null, err := os.Open("/dev/null")
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- Attach(ctx, g.Master, null, w, Options{}) }()
	g.Slave.WriteString("hello")
	buf := make([]byte, 64)
	if n, err := r.Read(buf); string(buf[:n]) != "hello" {
		t.Errorf("read %q, %v", buf[:n], err)
	}
	g.Slave.WriteString("last words")
	stop()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if n, err := r.Read(buf); string(buf[:n]) != "last words" {
		t.Errorf("read %q, %v", buf[:n], err)
	}

	c := exec.Command("yes")
	c.Stdout = g.Slave
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { c.Process.Kill(); c.Wait() }()
	ctx, stop = context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer stop()
	begin := time.Now()
	if err := Attach(ctx, g.Master, null, w, Options{}); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
	if d := time.Since(begin); d > 30*time.Second {
		t.Errorf("took %v", d)
	}
	for r.SetReadDeadline(time.Now().Add(time.Second)); ; { // lets the copying end
		if _, err := r.Read(make([]byte, 64<<10)); err != nil {
			break
		}
	}
}

// A socket can stand for the master, as vserverd's consoles do.
func TestSocket(t *testing.T) {
	a, b, err := seqpacket.Pair()
	if err != nil {
		t.Fatal(err)
	}
	master := os.NewFile(uintptr(a), "console")
	defer master.Close()
	u := pair(t, 30, 90)
	s := watch(t, u.Master)
	sizes := make(chan [2]uint16, 1)
	ended := make(chan error)
	go func() {
		ended <- Attach(t.Context(), master, u.Slave, u.Slave, Options{Resize: func(r, c uint16) error {
			sizes <- [2]uint16{r, c}
			return nil
		}})
	}()
	if got := <-sizes; got != [2]uint16{30, 90} {
		t.Errorf("size %v", got)
	}
	seqpacket.Send(b, []byte("from the console"))
	s.await("from the console")
	u.Master.WriteString("typed")
	buf := make([]byte, 64)
	if n, _, err := seqpacket.Recv(b, buf); string(buf[:n]) != "typed" {
		t.Errorf("received %q, %v", buf[:n], err)
	}
	syscall.Close(b)
	if err := <-ended; err != nil {
		t.Error(err)
	}
	u.Slave.Close()
}
