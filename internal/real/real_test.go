// Package real_test sees real software work in guests: distributions with their inits,
// servers, logins, package managers, and many guests at once. It drives the program as
// an admin would, in a world of its own, and a network of its own where the test asks
// for one.
//
// Debian is installed once for a machine: its images and packages are kept in
// $XDG_CACHE_HOME/vserver/real, which may be removed at any time. Without them a run
// takes a minute more.
package real_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netns"

	"vserver/daemon/proto"
	"vserver/guest"
	"vserver/internal/need"
	"vserver/kernel/cgroup"
	"vserver/ncontext/shared"
)

func TestMain(m *testing.M) { need.Main(m) }

// world is a host of the test's own.
type world struct {
	t    testing.TB
	root string
	dirs guest.Dirs
	bin  string
	net  netns.NsHandle // where the programs run; -1 for the network of this machine
}

// newWorld gives a host without guests.
func newWorld(t testing.TB) *world {
	t.Helper()
	need.Root(t)
	need.Overlay(t)
	if need.InVM() {
		t.Skip("need a host: this is seen to on one with a distribution")
	}
	root := need.TempDir(t)
	w := &world{t: t, root: root, dirs: guest.DefaultDirs(root), bin: need.Binary(t), net: netns.None()}
	t.Cleanup(w.end)
	return w
}

// end takes everything down that runs in the world.
func (w *world) end() {
	defer func() {
		if w.net >= 0 {
			w.net.Close()
		}
	}()
	if names, _ := filepath.Glob(w.dirs.Spec("*")); len(names) > 0 {
		if r := w.run("stop", "--all", "--kill"); r.code != 0 {
			w.t.Errorf("stop --all: exit code %d: %s", r.code, r.err)
		}
	}
	if err := errors.Join(proto.Quit(w.dirs), shared.Detach(w.dirs)); err != nil {
		w.t.Error(err)
	}
	cg, err := cgroup.Find()
	if err == nil {
		err = cg.Remove(w.dirs.Cgroup)
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		w.t.Error(err)
	}
}

// result is what a program said, and its exit code.
type result struct {
	out, err string
	code     int
}

// command prepares the program.
func (w *world) command(ctx context.Context, args ...string) *exec.Cmd {
	c := exec.CommandContext(ctx, w.bin, args...)
	c.Env = append(os.Environ(), "VSERVER_ROOT="+w.root, "LC_ALL=C.UTF-8")
	c.WaitDelay = 5 * time.Second // a vserverd may hold what was the program's
	return c
}

// begin starts a program in the world's network.
func (w *world) begin(c *exec.Cmd) error {
	if w.net < 0 {
		return c.Start()
	}
	return w.inNet(c.Start)
}

// run runs the program to its end.
func (w *world) run(args ...string) result { return w.feed("", args...) }

// feed is run with something on the standard input.
func (w *world) feed(in string, args ...string) result {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	var out, errs bytes.Buffer
	c := w.command(ctx, args...)
	c.Stdin, c.Stdout, c.Stderr = strings.NewReader(in), &out, &errs
	err := w.begin(c)
	if err == nil {
		err = c.Wait()
	}
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		w.t.Errorf("vserver %q: %v", args, err)
		return result{err: err.Error(), code: -1}
	}
	return result{out.String(), errs.String(), c.ProcessState.ExitCode()}
}

// do runs the program, which must succeed, and gives what it said.
func (w *world) do(t testing.TB, args ...string) string {
	t.Helper()
	r := w.run(args...)
	if r.code != 0 {
		t.Fatalf("vserver %s: exit code %d\n%s%s", strings.Join(args, " "), r.code, r.out, r.err)
	}
	return r.out
}

// sh runs lines of shell in a guest, which must succeed, and gives what they said.
func (w *world) sh(t testing.TB, n, script string) string {
	t.Helper()
	r := w.feed(script, "exec", n, "sh", "-e", "-s")
	if r.code != 0 {
		t.Fatalf("in %s: %s\nexit code %d\n%s%s", n, script, r.code, r.out, r.err)
	}
	return strings.TrimSpace(r.out)
}

// refused runs the program, which must fail with this exit code and one line that
// has these words; what it was doing may come before, and a hint may follow.
func (w *world) refused(t testing.TB, code int, words string, args ...string) {
	t.Helper()
	r := w.run(args...)
	_, said, ok := strings.Cut("\n"+strings.TrimSuffix(r.err, "\n"), "\nvserver: ")
	line, hint, _ := strings.Cut(said, "\n")
	if r.code != code || !ok || !strings.Contains(line, words) || hint != "" && !strings.HasPrefix(hint, "hint: ") {
		t.Errorf("vserver %s: exit code %d, want %d with a line that has %q:\n%s", strings.Join(args, " "), r.code, code, words, r.err)
	}
}

// eventually repeats a look until it finds nothing wrong or the time is up.
func eventually(t testing.TB, patience time.Duration, look func() error) {
	t.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(100 * time.Millisecond) {
		err := look()
		if err == nil {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("after %v: %v", patience, err)
		}
	}
}

// says is a look for words in what lines of shell print in a guest.
func (w *world) says(n, script, words string) func() error {
	return func() error {
		r := w.feed(script, "exec", n, "sh", "-s")
		if !strings.Contains(r.out, words) {
			return fmt.Errorf("in %s: %s\nno %q in what it says (exit code %d):\n%s%s", n, script, words, r.code, r.out, r.err)
		}
		return nil
	}
}

// state is a look whether a guest is running or stopped.
func (w *world) state(n, want string) func() error {
	return func() error {
		r := w.run("status", n)
		if !strings.Contains(r.out, want) {
			return fmt.Errorf("%s: not %s: %s%s", n, want, r.out, r.err)
		}
		return nil
	}
}

// kept is the directory of what a machine keeps between runs.
func kept(t testing.TB) string {
	t.Helper()
	dir, err := os.UserCacheDir()
	if err == nil {
		dir = filepath.Join(dir, "vserver", "real")
		err = os.MkdirAll(dir, 0o700)
	}
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// keepImages has the world's pool be the machine's, so that an image is made once. A
// pool may be a link to another disk.
func (w *world) keepImages() {
	w.t.Helper()
	pool := filepath.Join(kept(w.t), "pool")
	if err := errors.Join(os.MkdirAll(pool, 0o700), os.MkdirAll(w.dirs.Data, 0o700), os.Symlink(pool, w.dirs.Pool())); err != nil {
		w.t.Fatal(err)
	}
}

// lines cuts a text in lines.
func lines(text string) []string {
	return strings.FieldsFunc(text, func(r rune) bool { return r == '\n' })
}
