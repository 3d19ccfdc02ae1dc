package host

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"vserver/daemon/proto"
	"vserver/guest"
	"vserver/internal/need"
	"vserver/spawn/warm"
	"vserver/step"
)

// warmth is a warm process of a test's own.
type warmth struct {
	*exec.Cmd
	line io.Closer // with which it ends
}

// warm begins a warm process in the test's world, as vserverd does.
func (w *world) warm(env string) warmth {
	w.t.Helper()
	if !warm.Able {
		w.t.Skip("nobody is asked on this architecture")
	}
	if err := proto.Launch(w.Dirs); err != nil { // the test's own, which begins no warm process
		w.t.Fatal(err)
	}
	read, write, err := os.Pipe()
	if err != nil {
		w.t.Fatal(err)
	}
	defer read.Close()
	c := exec.Command(need.Binary(w.t))
	c.Args = proto.Args(w.Dirs, warm.Role)
	c.Env = append(os.Environ(), "VSERVER_ROOT="+w.root, env)
	c.ExtraFiles = []*os.File{read}
	c.Stderr = w.t.Output()
	os.Remove(warm.Path(w.Dirs.Run))
	if err := c.Start(); err != nil {
		w.t.Fatal(err)
	}
	p := warmth{c, write}
	w.t.Cleanup(p.end)
	eventually(w.t, "a warm process", func() bool { _, err := os.Stat(warm.Path(w.Dirs.Run)); return err == nil })
	return p
}

// end lets go of it and waits for its end.
func (p warmth) end() {
	p.line.Close()
	p.Wait()
}

// parent is whose child the init of a guest is.
func (w *world) parent(n guest.Name) int {
	w.t.Helper()
	st, err := w.Status(n)
	if err != nil || st.InitPID == 0 {
		w.t.Fatalf("%+v, %v", st, err)
	}
	return statusNumber(w.t, st.InitPID, "PPid")
}

// statusNumber is a number that the kernel tells of a process.
func statusNumber(t *testing.T, pid int, key string) int {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	_, rest, _ := strings.Cut(string(text), "\n"+key+":")
	word, _, _ := strings.Cut(strings.TrimSpace(rest), "\n")
	n, err2 := strconv.Atoi(word)
	if err := errors.Join(err, err2); err != nil {
		t.Fatal(err)
	}
	return n
}

// says runs the program and compares what it says, and its exit code.
func (w *world) answers(want string, code int, args ...string) {
	w.t.Helper()
	out, err := w.program("", args...)
	var exit *exec.ExitError
	got := 0
	if errors.As(err, &exit) {
		got = exit.ExitCode()
	}
	if string(out) != want || got != code {
		w.t.Errorf("%q: %q, exit code %d (%v); want %q, %d", args, out, got, err, want, code)
	}
}

// startedBy starts a guest by the program, tells whether the warm process did it, and stops it.
func (w *world) startedBy(p warmth, n guest.Name, command func(program string) *exec.Cmd) bool {
	w.t.Helper()
	c := command(need.Binary(w.t))
	if c.Env == nil {
		c.Env = append(os.Environ(), "VSERVER_ROOT="+w.root)
	}
	if out, err := c.CombinedOutput(); err != nil {
		w.t.Fatalf("%v: %v: %s", c.Args, err, out)
	}
	by := w.parent(n) == p.Process.Pid
	w.stop(n)
	w.nothing(n)
	return by
}

// TestWarm sees that a warm process does what the program does, and says the same.
func TestWarm(t *testing.T) {
	w := newWorld(t)
	n := w.guest("web1", nil)
	ends := w.guest("ends", func(s *guest.Spec) { s.Init.Command = []string{"/bin/sh", "-c", "echo out; echo err >&2; exit 7"} })
	p := w.warm("")
	for _, words := range [][]string{{"start", "web1"}, {"web1", "start"}} {
		w.warmly(p, n, words...)
		w.answers("vserver: web1: runs already\n", 0, words...)
		w.warmly(p, n, "web1", "restart")
		w.answers("", 0, "stop", "web1")
		w.nothing(n)
		w.answers("vserver: web1: does not run\n", 0, "web1", "stop")
	}
	w.answers("out\nerr\n", 7, "start", "ends", "--wait")
	w.nothing(ends)
	w.answers("vserver: nobody: start: no such guest\nhint: vserver list shows the guests, vserver create nobody makes one\n", 5, "start", "nobody")
	children, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%[1]d/children", p.Process.Pid))
	if err != nil || len(bytes.TrimSpace(children)) > 0 {
		t.Errorf("children that it does not wait for: %s, %v", children, err)
	}
}

// TestWarmCaller: a guest inherits from its starter what it inherits without a warm process,
// which refuses whom it cannot be like.
func TestWarmCaller(t *testing.T) {
	w := newWorld(t)
	n := w.guest("web1", nil)
	p := w.warm("")
	other := filepath.Join(need.TempDir(t), "vserver")
	copyProgram(t, other)
	shell := func(line string) func(string) *exec.Cmd {
		return func(program string) *exec.Cmd {
			return exec.Command("/bin/sh", "-c", line+" \"$@\"", "sh", program, "start", "web1")
		}
	}
	env := func(more string) func(string) *exec.Cmd {
		return func(program string) *exec.Cmd {
			c := exec.Command(program, "start", "web1")
			c.Env = append(os.Environ(), "VSERVER_ROOT="+w.root, more)
			return c
		}
	}
	w.inherits(p, n)
	for _, tt := range []struct {
		name    string
		with    string // a program
		command func(string) *exec.Cmd
		want    bool
	}{
		{"plain", "", shell(""), true},
		{"other limits", "", shell("ulimit -S -c 0; ulimit -S -n 1000; umask 077;"), true},
		{"a poor terminal that is none", "", env("TERM=dumb"), true},
		// From here on it works for nobody, and ends after a while.
		{"no input", "", shell("exec <&-;"), false},
		{"few files", "", shell("ulimit -S -n 100;"), false},
		{"limit of memory", "", shell("ulimit -v 9000000;"), false},
		{"nice", "nice", shell("exec nice"), false},
		{"processors", "taskset", shell("exec taskset 1"), false},
		{"other rights", "setpriv", shell("exec setpriv --inh-caps +sys_boot"), false},
		{"no new privileges", "setpriv", shell("exec setpriv --no-new-privs"), false},
		{"network", "unshare", shell("exec unshare --net"), false},
		{"mounts", "unshare", shell("exec unshare --mount"), false},
		{"host name", "unshare", shell("exec unshare --uts"), false},
		{"likely to be killed", "", shell("echo 500 >/proc/$$/oom_score_adj;"), false},
		{"another program", "", func(string) *exec.Cmd { return exec.Command(other, "start", "web1") }, false},
		{"an option", "", func(program string) *exec.Cmd { return exec.Command(program, "start", "web1", "--json") }, false},
		{"a setting of Go's", "", env("GODEBUG=x=1"), false},
		{"a setting of ours", "", env(step.DieVar + "=delete:1"), false},
	} {
		if _, err := exec.LookPath(tt.with); tt.with != "" && err != nil {
			continue // a small machine's; a whole host's tests have it
		}
		if by := w.startedBy(p, n, tt.command); by != tt.want {
			t.Errorf("%s: done by the warm process: %v", tt.name, by)
		}
	}
	w.hooked(w.warm(""))
}

// inherits sees that the guest's init has its starter's limits.
func (w *world) inherits(p warmth, n guest.Name) {
	w.t.Helper()
	c := exec.Command("/bin/sh", "-c", "ulimit -S -c 4096; exec \"$0\" start web1", need.Binary(w.t))
	c.Env = append(os.Environ(), "VSERVER_ROOT="+w.root)
	if out, err := c.CombinedOutput(); err != nil {
		w.t.Fatalf("%v: %s", err, out)
	}
	defer w.stop(n)
	if w.parent(n) != p.Process.Pid {
		w.t.Error("the program did it itself")
	}
	st, _ := w.Status(n)
	const core = 4096 * 512 // dash counts in blocks
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/limits", st.InitPID))
	if err != nil || !regexp.MustCompile(fmt.Sprintf(`Max core file size +%d `, core)).Match(text) {
		w.t.Errorf("limits of the guest's init: %v\n%s", err, text)
	}
	if adj, err := os.ReadFile(fmt.Sprintf("/proc/%d/oom_score_adj", st.InitPID)); err != nil || string(adj) != "0\n" {
		w.t.Errorf("oom_score_adj: %s, %v", adj, err)
	}
}

// hooked sees that programs of the host's run in their caller's environment.
func (w *world) hooked(p warmth) {
	w.t.Helper()
	said := filepath.Join(w.root, "said")
	script := filepath.Join(w.root, "hook")
	if err := os.WriteFile(script, []byte("#!/bin/sh\necho $MINE >"+said+"\n"), 0o755); err != nil {
		w.t.Fatal(err)
	}
	n := w.guest("hooked", func(s *guest.Spec) { s.Hooks.PreStart = []string{script} })
	if w.startedBy(p, n, func(program string) *exec.Cmd {
		c := exec.Command(program, "start", "hooked")
		c.Env = append(os.Environ(), "VSERVER_ROOT="+w.root, "MINE=yes")
		return c
	}) {
		w.t.Error("a guest with hooks was started by the warm process")
	}
	if text, err := os.ReadFile(said); err != nil || string(text) != "yes\n" {
		w.t.Errorf("the hook has another environment: %q, %v", text, err)
	}
}

// copyProgram makes another version of the program.
func copyProgram(t *testing.T, to string) {
	t.Helper()
	text, err := os.ReadFile(need.Binary(t))
	if err == nil {
		err = os.WriteFile(to, text, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// answersAny runs the program, which may have something to say.
func (w *world) answersAny(args ...string) {
	w.t.Helper()
	if out, err := w.program("", args...); err != nil {
		w.t.Errorf("%q: %v: %s", args, err, out)
	}
}

// warmly starts a guest by the program until the warm process has done it: one that works for
// another yet, or is slow to answer on a machine that has much to do, does not.
func (w *world) warmly(p warmth, n guest.Name, words ...string) {
	w.t.Helper()
	eventually(w.t, "a start by the warm process", func() bool {
		w.answers("", 0, words...)
		if w.parent(n) == p.Process.Pid {
			return true
		}
		w.Stop(w.t.Context(), n, StopOptions{Kill: true})
		return false
	})
}

// warmed gives the warm process of the world's vserverd; 0 when there is none.
func (w *world) warmed() int {
	for _, pid := range w.supervisors() {
		line, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		if strings.Contains(string(line), "\x00"+warm.Role+"\x00") {
			return pid
		}
	}
	return 0
}

// TestWarmBegins: vserverd has a warm process from the first start on, which ends with it, and
// whose guests do not. Another vserverd has another.
func TestWarmBegins(t *testing.T) {
	if !warm.Able {
		t.Skip("nobody is asked on this architecture")
	}
	w := newWorld(t)
	first, n := w.guest("first", nil), w.guest("web1", nil)
	w.answers("", 0, "start", "first")
	listens := func() bool { _, err := os.Stat(warm.Path(w.Dirs.Run)); return err == nil && w.warmed() != 0 }
	eventually(t, "a warm process", listens)
	w.answers("", 0, "start", "web1")
	if pid := w.warmed(); w.parent(n) != pid {
		t.Errorf("started by %d and not by the warm process %d", w.parent(n), pid)
	}
	w.killSupervisors()
	if !w.running(n) || !w.running(first) {
		t.Error("guests ended with their vserverd")
	}
	w.answers("", 0, "stop", "web1")
	w.answers("", 0, "start", "web1")
	if w.warmed() == w.parent(n) {
		t.Error("started by a warm process that was killed")
	}
	eventually(t, "another warm process", listens)
	if err := proto.Quit(w.Dirs); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the end of the warm process", func() bool { return w.warmed() == 0 })
}

// TestMasked: the file mode mask of who starts a guest is not for what the guest has to reach.
func TestMasked(t *testing.T) {
	w := newWorld(t)
	n := w.guest("web1", nil)
	c := exec.Command("/bin/sh", "-c", "umask 077; exec \"$0\" start web1 --json", need.Binary(t))
	c.Env = append(os.Environ(), "VSERVER_ROOT="+w.root)
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if out, code := w.sh(n, "cat /sys/fs/cgroup/cgroup.procs && umask"); code != 0 || !strings.HasSuffix(out, "0022\n") {
		t.Errorf("%s, exit code %d", out, code)
	}
	w.stop(n)
}
