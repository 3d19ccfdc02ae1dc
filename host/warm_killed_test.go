package host

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"vserver/guest"
	"vserver/internal/need"
	"vserver/kernel/seqpacket"
	"vserver/spawn/warm"
	"vserver/step"
)

// TestWarmKilled kills the warm process after each step of a start and of a stop: the caller does
// it all the same.
func TestWarmKilled(t *testing.T) {
	need.Swift(t)
	w := newWorld(t)
	n := w.guest("web1", nil)
	for _, op := range []string{"start", "stop"} {
		k := 0
		for again := 0; ; k++ {
			p := w.warm(fmt.Sprintf("%s=%s:%d", step.DieVar, op, k))
			w.answersAny("start", "web1")
			if !w.running(n) {
				t.Fatalf("killed after step %d of a %s: it does not run", k, op)
			}
			w.answersAny("stop", "web1")
			w.nothing(n)
			p.end()
			if p.ProcessState.Success() && k < 5 && again < 20 { // too slow to be asked, on a machine that has much to do
				again++
				k--
				continue
			}
			if p.ProcessState.Success() {
				break
			}
		}
		if k < 5 {
			t.Errorf("%s: %d steps", op, k)
		}
	}
}

// slow is a guest that does not end when it is asked.
func (w *world) slow(n guest.Name) guest.Name {
	return w.guest(n, func(s *guest.Spec) {
		s.Init.Style, s.Init.Command = guest.InitPlain, []string{"/bin/sleep", "1000"}
		s.Init.StopTimeout = guest.Duration(time.Minute)
	})
}

// client begins the program, which asks a warm process.
func (w *world) client(args ...string) *exec.Cmd {
	w.t.Helper()
	c := exec.Command(need.Binary(w.t), args...)
	c.Env = append(os.Environ(), "VSERVER_ROOT="+w.root)
	c.Stderr = new(bytes.Buffer)
	if err := c.Start(); err != nil {
		w.t.Fatal(err)
	}
	return c
}

// stopping tells whether a guest has been asked to end.
func (w *world) stopping(n guest.Name) bool {
	text, _ := os.ReadFile(filepath.Join(w.Dirs.State(n), "running"))
	return strings.Contains(string(text), "stopping \"true\"")
}

// TestWarmInterrupted: a signal to the program ends what it asked for, and so does its own end.
func TestWarmInterrupted(t *testing.T) {
	need.Swift(t)
	w := newWorld(t)
	n := w.slow("web1")
	p := w.warm("")
	for _, tt := range []struct {
		signal syscall.Signal
		code   int
		said   string
	}{{syscall.SIGINT, 130, "interrupted"}, {syscall.SIGTERM, 130, "interrupted"}, {syscall.SIGKILL, -1, ""}} {
		w.warmly(p, n, "start", "web1")
		c := w.client("stop", "web1")
		eventually(t, "a stop", func() bool { return w.stopping(n) })
		if threads := statusNumber(t, c.Process.Pid, "Threads"); threads != 1 {
			t.Errorf("the program stops it itself, in %d threads", threads)
		}
		c.Process.Signal(tt.signal)
		c.Wait()
		if code := c.ProcessState.ExitCode(); code != tt.code || !strings.Contains(fmt.Sprint(c.Stderr), tt.said) {
			t.Errorf("%v: exit code %d, %q", tt.signal, code, c.Stderr)
		}
		if !w.running(n) {
			t.Errorf("%v: the guest has ended", tt.signal)
		}
		if err := w.Stop(t.Context(), n, StopOptions{Kill: true}); err != nil {
			t.Error(err)
		}
	}
}

// TestWarmBusy: who comes while the warm process works for another, or who gets no answer from it,
// does it himself.
func TestWarmBusy(t *testing.T) {
	w := newWorld(t)
	n, other := w.slow("web1"), w.guest("web2", nil)
	p := w.warm("")
	w.answers("", 0, "start", "web1")
	c := w.client("stop", "web1")
	eventually(t, "a stop", func() bool { return w.stopping(n) })
	if w.startedBy(p, other, func(program string) *exec.Cmd { return exec.Command(program, "start", "web2") }) {
		t.Error("two were served at once")
	}
	if err := w.Kill(n, guest.Signal(syscall.SIGKILL)); err != nil {
		t.Fatal(err)
	}
	if err := c.Wait(); err != nil {
		t.Errorf("%v: %s", err, c.Stderr)
	}
	mute, err := seqpacket.Dial(warm.Path(w.Dirs.Run), time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(mute)
	eventually(t, "the end of patience", func() bool {
		return w.startedBy(p, other, func(program string) *exec.Cmd { return exec.Command(program, "start", "web2") })
	})
	p.Process.Signal(syscall.SIGSTOP)
	by := w.startedBy(p, other, func(program string) *exec.Cmd { return exec.Command(program, "start", "web2") })
	p.Process.Signal(syscall.SIGCONT)
	if by {
		t.Error("who sleeps has worked")
	}
	var clients []*exec.Cmd
	for i := range 6 {
		name := fmt.Sprintf("many%d", i)
		w.guest(guest.Name(name), nil)
		clients = append(clients, w.client("start", name))
	}
	for i, c := range clients {
		if err := c.Wait(); err != nil || !w.running(guest.Name(fmt.Sprintf("many%d", i))) {
			t.Errorf("start %d of many: %v: %s", i, err, c.Stderr)
		}
	}
}
