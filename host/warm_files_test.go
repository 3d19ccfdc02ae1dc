package host

import (
	"fmt"
	"strings"
	"syscall"
	"testing"

	"vserver/internal/need"
	"vserver/step"
)

// TestWarmFiles kills the warm process after each step of what it does to the files of guests:
// the caller does that itself, or it was done already.
func TestWarmFiles(t *testing.T) {
	need.Swift(t)
	w := newWorld(t)
	w.guest("web1", nil)
	w.answersAny("web1", "snapshot", "create", "first")
	for _, tt := range []struct {
		op    string
		words []string
		again []string // brings back what was
		twin  bool     // that there is one afterwards
	}{
		{"build", []string{"clone", "web1", "twin"}, []string{"delete", "--yes", "twin"}, true},
		{"build", []string{"twin", "build", "--image", "box", "--network", "none", "--command", "/bin/true"}, []string{"delete", "--yes", "twin"}, true},
		{"snapshot", []string{"snapshot", "create", "web1", "second"}, []string{"web1", "snapshot", "delete", "second"}, false},
		{"rollback", []string{"rollback", "web1", "first"}, nil, false},
		{"delete", []string{"delete", "twin", "--force"}, []string{"clone", "web1", "twin"}, false},
	} {
		if tt.op == "delete" {
			w.answersAny(tt.again...)
		}
		k := 0
		for ; k < 20; k++ {
			p := w.warm(fmt.Sprintf("%s=%s:%d", step.DieVar, tt.op, k))
			out, err := w.program("", tt.words...)
			p.end()
			if err != nil && !strings.Contains(string(out), "exists already") && !strings.Contains(string(out), "no such guest") {
				t.Errorf("%q, killed after step %d: %v: %s", tt.words, k, err, out)
			}
			if Exists(w.Host, "twin") != tt.twin || !Exists(w.Host, "web1") {
				t.Errorf("%q, killed after step %d: a twin is there: %v", tt.words, k, !tt.twin)
			}
			if tt.again != nil {
				w.answersAny(tt.again...)
			}
			if p.ProcessState.Success() {
				break
			}
			if s, ok := p.ProcessState.Sys().(syscall.WaitStatus); !ok || s.Signal() != syscall.SIGKILL {
				t.Fatalf("%q, step %d: %v", tt.words, k, p.ProcessState)
			}
		}
		if k == 0 || k == 20 {
			t.Errorf("%q: the warm process was killed %d times", tt.words, k)
		}
	}
}

// TestWarmCreate: a guest made upon an image and started is the warm process's from the first, but
// not with options that it knows nothing of, or that lead to the caller's files.
func TestWarmCreate(t *testing.T) {
	w := newWorld(t)
	p := w.warm("")
	for _, tt := range []struct {
		more []string
		want bool
	}{
		{nil, true},
		{[]string{"--memory", "64M", "--pids", "100"}, true},
		{[]string{"--hostname", "other"}, false},
		{[]string{"--set", "hostname=other"}, false},
	} {
		w.answersAny(append([]string{"create", "new", "--image", "box", "--network", "none", "--init", "command", "--command", "/bin/sleep", "--command", "1000"}, tt.more...)...)
		if by := w.parent("new") == p.Process.Pid; by != tt.want {
			t.Errorf("%q: made by the warm process: %v", tt.more, by)
		}
		w.answersAny("new", "delete", "--force")
		w.nothing("new")
	}
}
