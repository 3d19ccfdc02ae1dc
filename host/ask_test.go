package host

import (
	"bytes"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"vserver/guest"
	"vserver/host/state"
)

// A stop command that cannot be executed is said, and the init is asked in its own way
// at once: this test would take an hour.
func TestStopCommandMissing(t *testing.T) {
	w := newWorld(t)
	n := w.guest("web1", func(s *guest.Spec) {
		s.Init.StopCommand, s.Init.StopTimeout = []string{"/no/such"}, guest.Duration(time.Hour)
	})
	w.start(n)
	var said bytes.Buffer
	if err := w.Stop(t.Context(), n, StopOptions{Output: &said}); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(said.String(), `"/no/such": /no/such: no such file`) {
		t.Errorf("said %q", said.String())
	}
}

// An init that no command and no signal asks is killed at once.
func TestStopNobodyToAsk(t *testing.T) {
	w := newWorld(t)
	n := w.guest("web1", func(s *guest.Spec) { s.Init.StopTimeout = guest.Duration(time.Hour) })
	w.start(n)
	was, err := state.ReadNote(w.Dirs, n)
	if err != nil {
		t.Fatal(err)
	}
	was.Style = guest.InitSysv // whose /etc/init.d/rc this root lacks
	if err := was.Replace(state.NotePath(w.Dirs, n)); err != nil {
		t.Fatal(err)
	}
	w.stop(n)
}

// A stop that takes long tells what it waits for, and what its command came to.
func TestStopTellsWhatItWaitsFor(t *testing.T) {
	w := newWorld(t)
	n := w.guest("web1", func(s *guest.Spec) {
		s.Init.StopCommand, s.Init.StopTimeout = []string{"/bin/false"}, guest.Duration(time.Hour)
	})
	w.start(n)
	var last Waiting
	var said bytes.Buffer
	o := StopOptions{Output: &said, Waiting: func(now Waiting) {
		last = now
		if strings.Contains(said.String(), `"/bin/false" ended with code 1`) {
			w.Kill(n, guest.Signal(syscall.SIGKILL))
		}
	}}
	if err := w.Stop(t.Context(), n, o); err != nil {
		t.Fatal(err)
	}
	if last.Count != 2 || !slices.Contains(last.Processes, "sleep") || last.Elapsed <= 0 || last.Limit != time.Hour {
		t.Errorf("told %+v", last)
	}
	w.start(n)
	said.Reset()
	if err := w.Stop(t.Context(), n, StopOptions{Output: &said, Timeout: 10 * time.Millisecond}); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(said.String(), "still running after 10ms, killing it: ") || !strings.Contains(said.String(), "sleep") {
		t.Errorf("said %q", said.String())
	}
}
