package host

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"vserver/guest"
	"vserver/host/state"
	"vserver/internal/need"
	"vserver/spawn/ready"
)

// gives runs a command in a guest through the program, and compares what it prints and its
// exit code.
func (w *world) gives(n guest.Name, want string, code int, command ...string) {
	w.t.Helper()
	out, err := w.program("", append([]string{string(n), "exec"}, command...)...)
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		err = nil
	}
	if err != nil {
		w.t.Fatal(err)
	}
	got := 0
	if exit != nil {
		got = exit.ExitCode()
	}
	if string(out) != want || got != code {
		w.t.Errorf("exec %q: %q, exit code %d; want %q, %d", command, out, got, want, code)
	}
}

// begunEarly tells whether a command of the guest's is run before Go's runtime has begun, which
// makes threads. It ends the command by a signal to the program, which is passed on.
func (w *world) begunEarly(n guest.Name) bool {
	w.t.Helper()
	c := exec.Command(need.Binary(w.t), string(n), "exec", "sh", "-c", "echo up; exec sleep 1000")
	c.Env = append(os.Environ(), "VSERVER_ROOT="+w.root)
	out, err := c.StdoutPipe()
	if err == nil {
		err = c.Start()
	}
	if err == nil {
		_, err = out.Read(make([]byte, 3))
	}
	if err != nil {
		w.t.Fatal(err)
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", c.Process.Pid))
	threads := regexp.MustCompile(`Threads:\t(\d+)`).FindSubmatch(status)
	if err != nil || threads == nil {
		w.t.Fatal(err, string(status))
	}
	c.Process.Signal(syscall.SIGTERM)
	c.Wait()
	if code := c.ProcessState.ExitCode(); code != 128+int(syscall.SIGTERM) {
		w.t.Errorf("exit code %d of a command that a signal ended", code)
	}
	return string(threads[1]) == "1"
}

// TestReady sees that the second command in a guest is one that was ready, and behaves as
// the first; and that whatever has changed since has its effect.
func TestReady(t *testing.T) {
	need.Kernel(t, 6, 9) // numbers of processes in pidfs
	w := newWorld(t)
	n := w.guest("web1", nil)
	w.start(n)
	w.gives(n, "hi\n", 0, "echo", "hi")
	file := ready.Path(w.Dirs.State(n))
	if _, err := os.Stat(file); err != nil {
		t.Fatal("nothing is ready:", err)
	}
	if !w.begunEarly(n) {
		t.Error("the second command was run as the first")
	}
	w.gives(n, "hi\n", 0, "echo", "hi")
	w.gives(n, "-n\n", 0, "--", "sh", "-c", `printf "%s\n" "$1"`, "sh", "-n")
	w.gives(n, "/\n", 7, "/bin/sh", "-c", "pwd; exit 7")
	w.gives(n, "", 128+9, "sh", "-c", "kill -KILL $$")
	w.gives(n, "vserver: web1: exec: nowhere: no such file or directory\n", 127, "nowhere")
	w.gives(n, "vserver: web1: exec: /root: permission denied\n", 126, "/root")
	w.gives(n, "0022\n", 0, "sh", "-c", "umask")
	w.gives(n, "0::/\n", 0, "sh", "-c", "grep ^0 /proc/self/cgroup")
	w.gives(n, "0000000000000000\n", 0, "sh", "-c", "grep SigIgn /proc/self/status | cut -f2")

	// How it ended is told to who was begun without an ear for ends of children.
	deaf := exec.Command("sh", "-c", `trap "" CHLD; exec "$0" web1 exec sh -c "exit 7"`, need.Binary(t))
	deaf.Env = append(os.Environ(), "VSERVER_ROOT="+w.root)
	if out, _ := deaf.CombinedOutput(); deaf.ProcessState.ExitCode() != 7 {
		t.Errorf("with ends of children ignored: exit code %d, %s", deaf.ProcessState.ExitCode(), out)
	}

	// One that is not early for another reason leaves what is ready.
	before, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	closed := exec.Command("sh", "-c", `exec "$0" web1 exec true >&-`, need.Binary(t))
	closed.Env = deaf.Env
	if out, err := closed.CombinedOutput(); err != nil {
		t.Errorf("without a standard output: %v, %s", err, out)
	}
	if after, err := os.Stat(file); err != nil || !os.SameFile(before, after) {
		t.Error("what is ready was made anew:", err)
	}

	// What it is made from.
	home := func(want string) {
		t.Helper()
		w.gives(n, want+"\n", 0, "sh", "-c", "echo $HOME")
	}
	w.gives(n, "", 0, "sh", "-c", "echo root:x:0:0::/srv:/bin/sh >/etc/passwd")
	home("/srv")
	w.gives(n, "", 0, "sh", "-c", "rm /etc/passwd; ln -s elsewhere /etc/passwd")
	home("/root")
	if w.begunEarly(n) {
		t.Error("users behind a link are taken as they were")
	}
	w.gives(n, "", 0, "rm", "/etc/passwd")
	home("/root")
	if out, err := w.program("", "set", string(n), "limits.rlimits.nofile=100"); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	w.stop(n)
	w.gives(n, "vserver: web1: exec: is not running\nhint: vserver start web1\n", 3, "echo", "hi")
	if _, err := os.Stat(file); err == nil {
		t.Error("of a stopped guest something is ready")
	}
	w.start(n)
	w.gives(n, "100\n", 0, "sh", "-c", "ulimit -n")
	if !w.begunEarly(n) {
		t.Error("after a new start nothing is ready")
	}
	w.gives(n, "100\n", 0, "sh", "-c", "ulimit -n")
}

// TestReadyFile sees that a file which is not whole, not ours or not for this guest is not
// followed.
func TestReadyFile(t *testing.T) {
	need.Kernel(t, 6, 9)
	w := newWorld(t)
	for _, n := range []guest.Name{"web1", "web2"} {
		w.guest(n, nil)
		w.start(n)
		w.gives(n, string(n)+"\n", 0, "hostname")
	}
	path, other := ready.Path(w.Dirs.State("web1")), ready.Path(w.Dirs.State("web2"))
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	stranger, err := os.ReadFile(other)
	if err != nil {
		t.Fatal(err)
	}
	for what, spoil := range map[string]func() error{
		"empty":     func() error { return os.WriteFile(path, nil, 0o600) },
		"short":     func() error { return os.WriteFile(path, whole[:5000], 0o600) },
		"long":      func() error { return os.WriteFile(path, append(bytes.Clone(whole), whole...), 0o600) },
		"zeros":     func() error { return os.WriteFile(path, make([]byte, len(whole)), 0o600) },
		"writable":  func() error { return os.Chmod(path, 0o666) },
		"strange":   func() error { return os.Chown(path, 1000, 1000) },
		"directory": func() error { os.Remove(path); return os.Mkdir(path, 0o700) },
		"link":      func() error { os.Remove(path); return os.Symlink(other, path) },
	} {
		t.Run(what, func(t *testing.T) {
			if err := errors.Join(os.RemoveAll(path), os.WriteFile(path, whole, 0o600), spoil()); err != nil {
				t.Fatal(err)
			}
			if w.begunEarly("web1") {
				t.Error("it was followed")
			}
			w.gives("web1", "web1\n", 0, "hostname")
		})
	}
	// Its guest's init is another one's, whose number is asked for.
	if err := errors.Join(os.RemoveAll(path), os.WriteFile(path, stranger, 0o600)); err != nil {
		t.Fatal(err)
	}
	note, err := state.ReadNote(w.Dirs, "web2")
	if err != nil {
		t.Fatal(err)
	}
	syscall.Kill(note.PID, syscall.SIGKILL)
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end) && w.running("web2"); time.Sleep(10 * time.Millisecond) {
	}
	w.gives("web1", "web1\n", 0, "hostname")
}

// running tells whether the kernel has processes of a guest.
func (w *world) running(n guest.Name) bool {
	st, err := w.Status(n)
	return err == nil && st.State == guest.Running
}

// TestReadyLimited is TestReady for a guest with limits: its commands are held by them, also
// by those that came later, and what they ask of the machine is answered.
func TestReadyLimited(t *testing.T) {
	need.Kernel(t, 6, 9)
	need.Filesystem(t, "fuse")
	w := newWorld(t)
	n := w.guest("web1", func(s *guest.Spec) { s.Limits.CPUs = 1 })
	w.start(n)
	cpus := []string{"sh", "-c", "nproc; grep -c ^processor /proc/cpuinfo"}
	w.gives(n, "1\n1\n", 0, cpus...)
	if !w.begunEarly(n) {
		t.Error("the second command was run as the first")
	}
	w.gives(n, "1\n1\n", 0, cpus...)
	if out, err := w.program("", "set", string(n), "limits.pids=40"); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if !w.begunEarly(n) {
		t.Error("a new limit spoiled what was ready")
	}
	g := w.group(n)
	if err := errors.Join(g.Freeze(true), g.Freeze(false)); err != nil {
		t.Fatal(err)
	}
	if !w.begunEarly(n) {
		t.Error("nor is it when the guest stood still")
	}
	out, _ := w.program("", string(n), "exec", "sh", "-c", "i=0; while [ $i -lt 60 ]; do sleep 5 & i=$((i+1)); done; echo all")
	if strings.Contains(string(out), "all") && !strings.Contains(string(out), "fork") {
		t.Errorf("60 processes where 40 may be: %s", out)
	}
}
