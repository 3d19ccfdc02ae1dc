package host

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"vserver/host/state"
)

// TestFrozen: a command in a guest that somebody has frozen is refused, and waits where it stands
// still for a moment only.
func TestFrozen(t *testing.T) {
	w := newWorld(t)
	n := w.guest("web1", nil)
	w.start(n)
	w.gives(n, "hi\n", 0, "echo", "hi") // from now on one is ready
	g, top := w.group(n), w.group("")
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	thaw := func() { t.Helper(); must(errors.Join(top.Freeze(false), g.Freeze(false))) }
	t.Cleanup(func() { g.Close(); top.Close() })
	ended := func(c *exec.Cmd) <-chan error {
		done := make(chan error, 1)
		go func() { done <- c.Wait() }()
		return done
	}

	for _, still := range []string{g.Path(), top.Path()} {
		must(os.WriteFile(filepath.Join(still, "cgroup.freeze"), []byte("1"), 0))
		eventually(t, "a guest that stands still", func() bool { frozen, err := g.Frozen(); return frozen && err == nil })
		for _, words := range [][]string{{"exec", "web1", "echo", "hi"}, {"enter", "web1"}, {"exec", "-u", "root", "web1", "true"}} {
			c := w.client(words...)
			done := ended(c)
			select {
			case <-done:
			case <-time.After(time.Minute):
				thaw()
				<-done
			}
			want := fmt.Sprintf("vserver: web1: %s: it is frozen, and a command would stand still with it: busy\n"+
				"hint: `echo 0 >%s/cgroup.freeze` has it go on, `vserver web1 stop` ends it\n", words[0], still)
			if said := fmt.Sprint(c.Stderr); said != want || c.ProcessState.ExitCode() != 6 {
				t.Errorf("%q: exit code %d, %s", words, c.ProcessState.ExitCode(), said)
			}
		}
		thaw()
		w.gives(n, "hi\n", 0, "echo", "hi")
	}

	unlock, err := state.Lock(w.Dirs, n)
	must(err)
	must(g.Freeze(true))
	c := w.client("exec", "web1", "true")
	done := ended(c)
	select {
	case <-done:
		t.Errorf("while it is frozen for a moment: %s", c.Stderr)
	case <-time.After(200 * time.Millisecond):
	}
	thaw()
	unlock()
	if err := <-done; err != nil {
		t.Errorf("after that: %v: %s", err, c.Stderr)
	}
	w.stop(n)
}
