package real_test

import (
	"crypto/rand"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"vserver/internal/need"
)

// TestDeleteDuringExec has a guest deleted under a command that runs in it.
func TestDeleteDuringExec(t *testing.T) {
	w := newWorld(t)
	w.small(t, "web1")
	c := w.command(t.Context(), "exec", "web1", "sh", "-c", "echo ready; sleep 1000")
	out, err := c.StdoutPipe()
	if err == nil {
		err = c.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(out, make([]byte, len("ready\n"))); err != nil {
		t.Fatal(err)
	}
	w.refused(t, 1, "web1: delete: is running", "delete", "web1", "--yes")
	w.do(t, "delete", "web1", "--force")
	c.Wait()
	if code := c.ProcessState.ExitCode(); code != 128+int(syscall.SIGKILL) {
		t.Errorf("the command ends with %d, want 137", code)
	}
	w.refused(t, 5, "no such guest", "exec", "web1", "true")
	if left, _ := filepath.Glob(w.dirs.Guest("*")); len(left) > 0 {
		t.Errorf("left: %q", left)
	}
}

// TestStartDuringStop has a guest started while it is being stopped: the start waits,
// or says that the guest is busy.
func TestStartDuringStop(t *testing.T) {
	w := newWorld(t)
	w.do(t, "build", "web1", "-m", "host", "--network", "none", "--init", "command", "--stop-timeout", "3s",
		"--command", "/bin/sh", "--command", "-c", "--command", `trap "" TERM; while :; do sleep 1; done`)
	w.do(t, "start", "web1")
	var stop result
	var all sync.WaitGroup
	all.Go(func() { stop = w.run("stop", "web1") })
	time.Sleep(500 * time.Millisecond)
	start := w.run("start", "web1")
	all.Wait()
	if stop.code != 0 {
		t.Errorf("stop: %+v", stop)
	}
	switch start.code {
	case 0:
		w.do(t, "running", "web1")
		w.do(t, "stop", "web1", "--kill")
	case 6:
		if len(lines(start.err)) > 2 {
			t.Errorf("start: %+v", start)
		}
		w.refused(t, 3, "", "running", "web1")
	default:
		t.Errorf("start: %+v", start)
	}
}

// TestNonsense has specs that nobody can mean: each is told of with its place, and the
// other guests are as before.
func TestNonsense(t *testing.T) {
	w := newWorld(t)
	w.small(t, "good")
	w.small(t, "bad")
	path := w.dirs.Spec("bad")
	was, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]string{
		"xid: [":                             path + ":",
		"\x00\x01\x02":                       path + ":1:",
		"xid: many\n":                        path + ":1:6: ",
		"xid: 9\ninit:\n  stile: plain\n":    path + ":3:3: ",
		"- a\n- list\n":                      path + ":1:1: ",
		"xid: 9\nlimits: {memory: lots}\n":   path + ":2:18: ",
		"xid: 9\nxid: 10\n":                  path + ":2:1: ",
		strings.Repeat("[", 100000):          path + ":",
		"xid: 9\nhooks: {pre-start: [\"a\\n": path + ":",
	} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		w.refused(t, 1, want, "config", "bad", "limits.memory")
		w.refused(t, 1, want, "restart", "bad")
		if r := w.run("list"); !strings.Contains(r.out, "good") || !strings.Contains(r.out, "bad") {
			t.Errorf("%.40q: list: %s%s", text, r.out, r.err)
		}
		if r := w.run("exec", "good", "hostname"); r.out != "good\n" {
			t.Errorf("%.40q: exec in another guest: %+v", text, r)
		}
	}
	w.do(t, "stop", "bad") // what runs can be stopped whatever its spec says
	if err := os.WriteFile(path, was, 0o600); err != nil {
		t.Fatal(err)
	}
	w.do(t, "start", "bad")
}

// TestFullDisk has the disk fill up in the middle of a build: one line tells of it, and
// nothing is left.
func TestFullDisk(t *testing.T) {
	w := newWorld(t)
	need.Filesystem(t, "tmpfs")
	if err := os.MkdirAll(w.dirs.Data, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", w.dirs.Data, "tmpfs", 0, "size=4m,mode=0700"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(w.dirs.Data, 0); err != nil {
			t.Error(err)
		}
	})
	tree := t.TempDir()
	data := make([]byte, 256<<10)
	rand.Read(data)
	for i := range 64 {
		if err := os.WriteFile(filepath.Join(tree, fmt.Sprint("file", i)), data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, kind := range []string{"overlay", "dir"} {
		w.refused(t, 1, "no space left on device", "build", "web1", "-m", "rsync", "--from", tree, "--root", kind)
		for _, pattern := range []string{w.dirs.Spec("*"), w.dirs.Guest("*"), filepath.Join(w.dirs.Pool(), "images/*"), filepath.Join(w.dirs.Pool(), "staging/*")} {
			if left, _ := filepath.Glob(pattern); len(left) > 0 {
				t.Errorf("left: %q", left)
			}
		}
	}
}
