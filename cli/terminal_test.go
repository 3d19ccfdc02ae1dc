package cli

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"vserver/guest"
	"vserver/internal/need"
	"vserver/kernel/pty"
)

// seat is a terminal with somebody before it.
type seat struct {
	t             *testing.T
	master, slave *os.File
	seen          chan string // all that was printed so far
}

func newSeat(t *testing.T) *seat {
	t.Helper()
	pair, err := pty.Open(10, 60)
	if err != nil {
		t.Fatal(err)
	}
	master, slave := pair.Master, pair.Slave
	s := &seat{t, master, slave, make(chan string, 1)}
	s.seen <- ""
	done := make(chan struct{})
	go func() {
		defer close(done)
		buf := make([]byte, 4096)
		for {
			n, err := master.Read(buf)
			if err != nil {
				return
			}
			s.seen <- <-s.seen + string(buf[:n])
		}
	}()
	t.Cleanup(func() { slave.Close(); master.Close(); <-done })
	return s
}

// run runs a program before which somebody sits.
func (s *seat) run(env []string, program string, args ...string) *exec.Cmd {
	s.t.Helper()
	c := exec.Command(program, args...)
	c.Env = append(os.Environ(), env...)
	c.Stdin, c.Stdout, c.Stderr = s.slave, s.slave, s.slave
	if err := c.Start(); err != nil {
		s.t.Fatal(err)
	}
	return c
}

// waits comes back when the text was printed.
func (s *seat) waits(text string) {
	s.t.Helper()
	var seen string
	for range 500 {
		seen = <-s.seen
		s.seen <- seen
		if strings.Contains(seen, text) {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	s.t.Fatalf("%q was not printed, but %q", text, seen)
}

func (s *seat) types(text string) {
	s.t.Helper()
	if _, err := s.master.WriteString(text); err != nil {
		s.t.Fatal(err)
	}
}

// echoes says whether the terminal is as a shell wants it.
func (s *seat) echoes() bool {
	s.t.Helper()
	var state *unix.Termios
	c, err := s.slave.SyscallConn()
	if err == nil {
		c.Control(func(fd uintptr) { state, err = unix.IoctlGetTermios(int(fd), unix.TCGETS) })
	}
	if err != nil {
		s.t.Fatal(err)
	}
	return state.Lflag&unix.ECHO != 0
}

// The live table heeds its keys, stays in the window and gives the terminal back.
func TestTopOnTerminal(t *testing.T) {
	s := newSeat(t)
	env := []string{guest.RootVar + "=" + t.TempDir(), "TERM=xterm"}
	c := s.run(env, need.Binary(t), "top", "--delay", "0.1")
	s.waits("  XID  PROC   %CPU    VSZ    RSS     UPTIME NAME")
	s.waits("root server")
	if s.echoes() {
		t.Error("keys are echoed")
	}
	s.types("mr?")
	s.types("q")
	if err := c.Wait(); err != nil {
		t.Error(err)
	}
	s.waits("\x1b[?25h\x1b[?1049l")
	if !s.echoes() {
		t.Error("the terminal was not given back")
	}
	<-s.seen
	s.seen <- ""
	c = s.run(env, need.Binary(t), "top", "--delay", "10")
	s.waits("root server")
	c.Process.Signal(unix.SIGTERM)
	c.Wait()
	if !s.echoes() {
		t.Error("the terminal was not given back at a signal")
	}
}

// A question on a terminal is asked again until the text is right, and what was
// written is never lost.
func TestEditOnTerminal(t *testing.T) {
	dir := t.TempDir()
	specs := filepath.Join(dir, "etc/vservers")
	spec := filepath.Join(specs, "web1.yaml")
	editor := filepath.Join(dir, "editor")
	for path, text := range map[string]string{
		spec:   "xid: 40001\n",
		editor: "#!/bin/sh\nif grep -q typo \"$1\"; then sed -i s/typo/hostname/ \"$1\"; else echo 'typo: web' >>\"$1\"; fi\n",
	} {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	os.Chmod(spec, 0o644)
	s := newSeat(t)
	c := s.run([]string{guest.RootVar + "=" + dir, "EDITOR=" + editor, "VISUAL=", "TMPDIR=" + dir}, need.Binary(t), "web1", "edit")
	s.waits("Edit again? (y/N)")
	s.types("y\n")
	if err := c.Wait(); err != nil {
		t.Error(err)
	}
	if text, err := os.ReadFile(spec); err != nil || string(text) != "xid: 40001\nhostname: web\n" {
		t.Errorf("got %q, %v", text, err)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "web1.*.yaml")); len(left) > 0 {
		t.Errorf("left %q", left)
	}
}

// Colours are for terminals whose owner wants them.
func TestColours(t *testing.T) {
	dir := t.TempDir()
	for _, tt := range []struct {
		env  string
		want bool
	}{{"TERM=xterm", true}, {"TERM=dumb", false}, {"NO_COLOR=1", false}} {
		s := newSeat(t)
		c := s.run([]string{guest.RootVar + "=" + dir, "TERM=xterm", tt.env}, need.Binary(t), "check")
		c.Wait()
		s.waits("namespaces")
		seen := <-s.seen
		s.seen <- seen
		if got := strings.Contains(seen, "\x1b[32m"); got != tt.want {
			t.Errorf("%s: coloured: %v", tt.env, got)
		}
	}
}
