package host

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"vserver/guest"
	"vserver/host/life"
	"vserver/host/state"
)

// visitor runs a command in a stopped guest, which says when it is there and then waits for
// the end of its input.
func (w *world) visitor(n guest.Name) (leave func(), ended <-chan error) {
	w.t.Helper()
	in, typed, err := os.Pipe()
	if err != nil {
		w.t.Fatal(err)
	}
	said, out, err := os.Pipe()
	if err != nil {
		w.t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() {
		defer in.Close()
		code, err := w.Exec(w.t.Context(), n, Command{Args: []string{"/bin/sh", "-c", "echo here; read x; exit 3"},
			Stdin: in, Stdout: out, Stderr: out, Visit: true})
		out.Close()
		if err == nil && code != 3 {
			err = errors.New("another exit code")
		}
		done <- err
	}()
	line := make([]byte, len("here\n"))
	_, err = io.ReadFull(said, line)
	said.Close()
	if err != nil {
		w.t.Fatal(err, <-done)
	}
	return func() { typed.Close() }, done
}

// TestVisitStopped: a stop during a visit waits for the command's end, and neither waits for the
// other after that.
func TestVisitStopped(t *testing.T) {
	w := newWorld(t)
	n := w.slow("web1")
	leave, ended := w.visitor(n)
	stopped := make(chan error, 1)
	go func() { stopped <- w.Stop(t.Context(), n, StopOptions{}) }()
	eventually(t, "a stop", func() bool { return w.stopping(n) })
	leave()
	if err := errors.Join(<-ended, <-stopped); err != nil {
		t.Error(err)
	}
	w.nothing(n)
}

// TestVisitOver: the end of a visit is not that of a guest that was started after it.
func TestVisitOver(t *testing.T) {
	w := newWorld(t)
	n := w.guest("web1", nil)
	err := life.Visit(t.Context(), w.Dirs, n, nil, func() error {
		_, err := w.Start(t.Context(), n, StartOptions{})
		if !errors.Is(err, guest.ErrBusy) {
			t.Errorf("started during a visit: %v", err)
		}
		err = w.Stop(t.Context(), n, StopOptions{Kill: true})
		if err == nil {
			_, err = w.Start(t.Context(), n, StartOptions{})
		}
		return err
	})
	if err != nil || !w.running(n) {
		t.Errorf("after the visit: runs: %v, %v", w.running(n), err)
	}
	w.stop(n)
}

// TestVisitStarted: a guest that is seen stopped and begins to run before it can be visited is
// one that runs.
func TestVisitStarted(t *testing.T) {
	w := newWorld(t)
	fifo, hook := filepath.Join(w.root, "fifo"), filepath.Join(w.root, "hook")
	err := errors.Join(syscall.Mkfifo(fifo, 0o600), os.WriteFile(hook, []byte("#!/bin/sh\ncat "+fifo+"\n"), 0o755))
	if err != nil {
		t.Fatal(err)
	}
	n := w.guest("web1", func(s *guest.Spec) { s.Hooks.PreStart = []string{hook} })
	started := make(chan error, 1)
	go func() {
		_, err := w.Start(t.Context(), n, StartOptions{})
		started <- err
	}()
	gate, err := os.OpenFile(fifo, os.O_WRONLY, 0) // waits for the hook
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		time.Sleep(2200 * time.Millisecond) // a slow start; and else the command may come when the guest runs: that is easy
		gate.Close()
	}()
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer read.Close()
	code, err := w.Exec(t.Context(), n, Command{Args: []string{"/bin/echo", "hello"}, Stdin: read, Stdout: write, Stderr: write, Visit: true})
	write.Close()
	text, _ := io.ReadAll(read)
	if err := errors.Join(err, <-started); err != nil || code != 0 || strings.TrimSpace(string(text)) != "hello" {
		t.Errorf("code %d, %v: %q", code, err, text)
	}
	w.stop(n)
}

// TestCheckWaits: a look at what a start would say is not one at half of what a guest has.
func TestCheckWaits(t *testing.T) {
	w := newWorld(t)
	n := w.guest("web1", nil)
	w.start(n)
	unlock, err := state.Lock(w.Dirs, n)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- Check(w.Host, n) }()
	select {
	case err := <-done:
		t.Errorf("while somebody has the guest's lock: %v", err)
		done <- err
	case <-time.After(200 * time.Millisecond):
	}
	unlock()
	if err := <-done; err != nil {
		t.Error(err)
	}
	w.stop(n)
}
