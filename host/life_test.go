package host

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"vserver/daemon/proto"
	"vserver/guest"
	"vserver/host/life"
	"vserver/host/state"
	"vserver/internal/need"
	"vserver/kernel/cgroup"
	"vserver/step"
	"vserver/store"
)

// world is a host of the test's own with a guest root of busybox.
type world struct {
	*Host
	t    *testing.T
	root string // for the real program, as VSERVER_ROOT
	next guest.XID
}

func newWorld(t *testing.T) *world {
	t.Helper()
	need.Root(t)
	need.Overlay(t)
	return worldAt(t, need.TempDir(t))
}

// worldAt is a world whose directories are below root.
func worldAt(t *testing.T, root string) *world {
	t.Helper()
	w := &world{Host: Open(guest.DefaultDirs(root)), t: t, root: root, next: 100}
	image := filepath.Join(w.Dirs.Pool(), "images", "box", "tree")
	if err := os.MkdirAll(filepath.Dir(image), 0o700); err != nil {
		t.Fatal(err)
	}
	need.Busybox(t, image)
	t.Cleanup(w.end)
	return w
}

// end stops what the test left running, and its vserverd.
func (w *world) end() {
	names, _ := w.Names()
	for _, n := range names {
		if err := w.Stop(context.Background(), n, StopOptions{Kill: true}); err != nil && !errors.Is(err, guest.ErrStopped) {
			w.t.Error(err)
		}
	}
	if err := errors.Join(proto.Quit(w.Dirs), life.Prune(w.Dirs)); err != nil {
		w.t.Error(err)
	}
	if cg, err := cgroup.Find(); err == nil {
		cg.Remove(w.Dirs.Cgroup)
	}
}

// guest makes a guest of the busybox root; edit changes its spec.
func (w *world) guest(n guest.Name, edit func(*guest.Spec)) guest.Name {
	w.t.Helper()
	w.next++
	spec := guest.Spec{XID: w.next, Root: guest.Root{Lower: []string{"box"}}, Network: guest.Network{Mode: guest.NetNone},
		Init: guest.Init{Style: guest.InitCommand, Command: []string{"/bin/sleep", "1000"}, StopTimeout: guest.Duration(5 * time.Second)}}
	if edit != nil {
		edit(&spec)
	}
	full := spec.WithDefaults(n)
	for _, dir := range []string{"upper", "work"} {
		path := filepath.Join(w.Dirs.Guest(n), dir)
		if err := os.MkdirAll(path, 0o755); err != nil {
			w.t.Fatal(err)
		}
		if err := os.Chown(path, int(full.FirstID()), int(full.FirstID())); err != nil {
			w.t.Fatal(err)
		}
	}
	if err := store.Write(w.Dirs.Spec(n), &spec); err != nil {
		w.t.Fatal(err)
	}
	return n
}

func (w *world) start(n guest.Name) {
	w.t.Helper()
	if _, err := w.Start(w.t.Context(), n, StartOptions{Output: w.t.Output()}); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) stop(n guest.Name) {
	w.t.Helper()
	if err := w.Stop(w.t.Context(), n, StopOptions{Output: w.t.Output()}); err != nil {
		w.t.Fatal(err)
	}
}

// sh runs a line of shell in a guest and gives what it prints.
func (w *world) sh(n guest.Name, line string) (string, int) {
	w.t.Helper()
	return w.run(n, Command{Args: []string{"/bin/sh", "-c", line}})
}

func (w *world) run(n guest.Name, c Command) (string, int) {
	w.t.Helper()
	read, write, err := os.Pipe()
	if err != nil {
		w.t.Fatal(err)
	}
	defer read.Close()
	c.Stdout, c.Stderr = write, write
	var out bytes.Buffer
	var copied sync.WaitGroup
	copied.Go(func() { out.ReadFrom(read) })
	code, err := w.Exec(w.t.Context(), n, c)
	write.Close()
	copied.Wait()
	if err != nil && code == 0 {
		w.t.Fatal(err)
	}
	return out.String(), code
}

// nothing fails the test when a stopped guest left anything.
func (w *world) nothing(n guest.Name) {
	w.t.Helper()
	if left, err := state.Grouped(w.Dirs, n); err != nil || left {
		w.t.Errorf("%s: its group is left (%v)", n, err)
	}
	if was, err := state.ReadNote(w.Dirs, n); err != nil || was != nil {
		w.t.Errorf("%s: its note is left (%v)", n, err)
	}
}

// program runs the real program in the test's world.
func (w *world) program(env string, args ...string) ([]byte, error) {
	c := exec.CommandContext(w.t.Context(), need.Binary(w.t), args...)
	c.Env = append(os.Environ(), "VSERVER_ROOT="+w.root, env)
	return c.CombinedOutput()
}

func TestLife(t *testing.T) {
	for _, style := range []guest.InitStyle{guest.InitCommand, guest.InitPlain} {
		for _, userns := range []guest.Userns{guest.UsernsPrivate, guest.UsernsNone} {
			t.Run(string(style)+"/"+string(userns), func(t *testing.T) {
				w := newWorld(t)
				n := w.guest("web1", func(s *guest.Spec) {
					s.Init.Style, s.Userns = style, userns
					s.Init.StopTimeout = guest.Duration(time.Second) // sleep as pid 1 is deaf
				})
				w.start(n)
				if _, err := w.Start(t.Context(), n, StartOptions{}); !errors.Is(err, guest.ErrRunning) {
					t.Errorf("second start: %v", err)
				}
				st, err := w.Status(n)
				if err != nil || st.State != guest.Running || st.InitPID == 0 || st.Processes == 0 {
					t.Errorf("status: %+v, %v", st, err)
				}
				out, code := w.sh(n, "id -u; hostname; grep -c '^[0-9][0-9]\\?\\.' /proc/uptime; ls -d /root; exit 7")
				if code != 7 || out != "0\nweb1\n1\n/root\n" { // up for less than 100 s
					t.Errorf("exec: code %d, %q", code, out)
				}
				w.stop(n)
				w.nothing(n)
				if st, _ := w.Status(n); st.State != guest.Stopped || st.LastExit == nil || st.LastExit.Reason != guest.StoppedBy {
					t.Errorf("after the stop: %+v", st)
				}
				if err := w.Stop(t.Context(), n, StopOptions{}); !errors.Is(err, guest.ErrStopped) {
					t.Errorf("second stop: %v", err)
				}
			})
		}
	}
}

// A start that is killed after any step leaves nothing that the next start does not
// put right.
func TestStartKilled(t *testing.T) {
	w := newWorld(t)
	n := w.guest("web1", nil)
	steps, err := w.PlanStart(n)
	if err != nil {
		t.Fatal(err)
	}
	for k, s := range steps {
		out, err := w.program(fmt.Sprintf("%s=start:%d", step.DieVar, k), string(n), "start")
		if err == nil {
			t.Fatalf("step %d (%s): was not killed: %s", k, s, out)
		}
		if out, err := w.program("", string(n), "start"); err != nil {
			t.Fatalf("start after a kill after %d (%s): %v: %s", k, s, err, out)
		}
		if st, err := w.Status(n); err != nil || st.State != guest.Running {
			t.Errorf("status after a kill after %d (%s): %+v, %v", k, s, st, err)
		}
		if out, err := w.program("", string(n), "stop"); err != nil {
			t.Fatalf("stop after a kill after %d (%s): %v: %s", k, s, err, out)
		}
		w.nothing(n)
	}
}

// A stop that is killed after any step is finished by the next one, or by a start.
func TestStopKilled(t *testing.T) {
	w := newWorld(t)
	n := w.guest("web1", nil)
	steps, err := w.PlanStop(n)
	if err != nil {
		t.Fatal(err)
	}
	for k, s := range steps {
		w.start(n)
		if out, err := w.program(fmt.Sprintf("%s=stop:%d", step.DieVar, k), string(n), "stop"); err == nil {
			t.Fatalf("step %d (%s): was not killed: %s", k, s, out)
		}
		if k%2 == 0 {
			if out, err := w.program("", string(n), "start"); err != nil {
				t.Fatalf("start after a kill after %d (%s): %v: %s", k, s, err, out)
			}
		}
		if err := w.Stop(t.Context(), n, StopOptions{}); err != nil && !errors.Is(err, guest.ErrStopped) {
			t.Fatalf("stop after a kill after %d (%s): %v", k, s, err)
		}
		w.nothing(n)
	}
}

// An init that cannot be executed is an error that says so, and leaves nothing.
func TestNoInit(t *testing.T) {
	for _, style := range []guest.InitStyle{guest.InitCommand, guest.InitPlain} {
		w := newWorld(t)
		n := w.guest("web1", func(s *guest.Spec) {
			s.Init.Style, s.Init.Command = style, []string{"/no/such/init"}
		})
		_, err := w.Start(t.Context(), n, StartOptions{})
		if err == nil || !strings.Contains(err.Error(), "exec /no/such/init: no such file") {
			t.Errorf("%s: %v", style, err)
		}
		w.nothing(n)
	}
}

// A command runs as the user that it shall, whom the guest's own files name.
func TestInitUser(t *testing.T) {
	for user, want := range map[string]string{
		"www":     "33 33 33 44 /srv www\n",
		"33:44":   "33 44 44 /srv www\n",
		"7":       "7 7 7 / 7\n",
		"7:daily": "7 44 44 / 7\n",
	} {
		w := newWorld(t)
		n := w.guest("job", func(s *guest.Spec) {
			s.Init.User, s.Init.Command = user, []string{"/bin/sh", "-c", "echo $(id -u) $(id -g) $(id -G) $HOME $USER"}
		})
		for name, text := range map[string]string{"passwd": "root:x:0:0::/root:/bin/sh\nwww:x:33:33::/srv:/bin/sh\n", "group": "www:x:33:\ndaily:x:44:www\n"} {
			path := filepath.Join(w.Dirs.Guest(n), "upper/etc", name)
			if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o644)); err != nil {
				t.Fatal(err)
			}
		}
		read, write, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		exit, err := w.Start(t.Context(), n, StartOptions{Wait: true, Stdout: write, Stderr: write})
		write.Close()
		got, _ := io.ReadAll(read)
		read.Close()
		if err != nil || exit.Code != 0 || string(got) != want {
			t.Errorf("%s: %+v, %v, %q", user, exit, err, got)
		}
		w.nothing(n)
	}
	w := newWorld(t)
	n := w.guest("own", func(s *guest.Spec) {
		s.Init.User, s.Init.Command = "7", []string{"/bin/sh", "-c", "echo its own > /dev/stdout"}
	})
	if exit, err := w.Start(t.Context(), n, StartOptions{Wait: true}); err != nil || exit.Code != 0 {
		t.Errorf("the console is not the user's: %+v, %v", exit, err)
	}
	n = w.guest("job", func(s *guest.Spec) { s.Init.User = "nobody-knows" })
	if _, err := w.Start(t.Context(), n, StartOptions{}); !errors.Is(err, guest.ErrInvalid) {
		t.Error(err)
	}
	w.nothing(n)
}

func TestWait(t *testing.T) {
	w := newWorld(t)
	n := w.guest("job", func(s *guest.Spec) { s.Init.Command = []string{"/bin/sh", "-c", "exit 3"} })
	exit, err := w.Start(t.Context(), n, StartOptions{Wait: true})
	if err != nil || exit == nil || exit.Reason != guest.Exited || exit.Code != 3 {
		t.Errorf("%+v, %v", exit, err)
	}
	w.nothing(n)
}

// Any number of starts at once start a guest once.
func TestStartsAtOnce(t *testing.T) {
	w := newWorld(t)
	n := w.guest("web1", nil)
	var all sync.WaitGroup
	errs := make([]error, 8)
	for i := range errs {
		all.Go(func() { _, errs[i] = w.Start(t.Context(), n, StartOptions{}) })
	}
	all.Wait()
	started := 0
	for _, err := range errs {
		if err == nil {
			started++
		} else if !errors.Is(err, guest.ErrRunning) && !errors.Is(err, guest.ErrBusy) {
			t.Error(err)
		}
	}
	if started != 1 {
		t.Errorf("started %d times", started)
	}
}

// An init that ignores every signal, and one that forks without end, are stopped.
func TestStubborn(t *testing.T) {
	for name, line := range map[string]string{
		"deaf":    `trap "" HUP INT QUIT TERM USR1 USR2 PWR; while :; do sleep 1000; done`,
		"forking": `f() { f & f & sleep 1000; }; f & exec sleep 1000`, // a shell that cannot fork would end
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			n := w.guest("bad", func(s *guest.Spec) {
				s.Init.Command = []string{"/bin/sh", "-c", line}
				s.Init.StopTimeout, s.Limits.Pids = guest.Duration(300*time.Millisecond), 200
			})
			w.start(n)
			began := time.Now()
			w.stop(n)
			if took := time.Since(began); took > 30*time.Second {
				t.Errorf("took %v", took)
			}
			w.nothing(n)
		})
	}
}

// TestStopFrozen: a guest that stands still is let go on, and ends its own way.
func TestStopFrozen(t *testing.T) {
	w := newWorld(t)
	n := w.guest("web1", nil)
	w.start(n)
	cg, err := cgroup.Find()
	if err != nil {
		t.Fatal(err)
	}
	g, err := cg.Open(w.Dirs.Group(n))
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(g.Freeze(true), g.Close()); err != nil {
		t.Fatal(err)
	}
	begun := time.Now()
	if err := w.Stop(t.Context(), n, StopOptions{Timeout: time.Minute}); err != nil || time.Since(begun) > 50*time.Second {
		t.Errorf("stopped in %v: %v", time.Since(begun), err)
	}
	w.nothing(n)
}
