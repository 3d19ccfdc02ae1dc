// Package script runs files of testscript against the real program under all its names,
// each in a world of its own.
package script

import (
	"errors"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"vserver/cli"
	"vserver/compat"
	"vserver/daemon/proto"
	"vserver/guest"
	"vserver/internal/need"
	"vserver/kernel/cgroup"
)

// Names are what the program is called by.
func Names() []string {
	return slices.Concat([]string{"vserver", proto.Program}, cli.Names(), compat.Names())
}

// Run runs the files *.txtar of a directory as tests of t. The first line of a file names
// what it needs of the ground: "# needs root cgroup2". more adds to the world of each.
func Run(t *testing.T, dir string, more ...func(*testscript.Env) error) {
	files, err := filepath.Glob(filepath.Join(dir, "*.txtar"))
	if err != nil || len(files) == 0 {
		t.Fatal("no scripts", err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".txtar")
		t.Run(name, func(t *testing.T) {
			grounds(t, file)
			testscript.Run(t, testscript.Params{
				Files:               []string{file},
				RequireExplicitExec: true,
				Setup: func(e *testscript.Env) error {
					err := world(t, e)
					for _, m := range more {
						err = errors.Join(err, m(e))
					}
					return err
				},
				Cmds: map[string]func(*testscript.TestScript, bool, []string){
					"exits": exits, "soon": soon, "hears": hears, "busybox": busybox(t), "old": old(t),
				},
			})
		})
	}
}

// grounds asks for what the first line of a script names.
func grounds(t *testing.T, file string) {
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	line, _, _ := strings.Cut(string(text), "\n")
	words, ok := strings.CutPrefix(line, "# needs")
	if !ok {
		return
	}
	for _, w := range strings.Fields(words) {
		switch w {
		case "root":
			need.Root(t)
		case "cgroup2":
			need.Cgroup2(t)
		case "idmapped":
			need.Kernel(t, 6, 3) // of a tmpfs, which the root of a throw-away machine is
		case "overlay":
			need.Overlay(t)
		case "distribution":
			need.Distribution(t)
		case "tun":
			need.Tun(t)
		case "loop":
			need.Loop(t)
		case "long":
			need.Long(t)
		case "swift":
			need.Swift(t)
		case "vm":
			need.VM(t)
		case "nobody":
			need.Unprivileged(t)
		default:
			if program, ok := strings.CutPrefix(w, "command:"); ok {
				need.Command(t, program)
				continue
			}
			t.Fatalf("%s: needs %s: no such need", file, w)
		}
	}
}

// world gives a script the program under its names, and directories of its own.
func world(t *testing.T, e *testscript.Env) error {
	program, err := filepath.Abs(need.Binary(t))
	if err != nil {
		return err
	}
	bin := filepath.Join(e.WorkDir, ".bin")
	if err := os.Mkdir(bin, 0o755); err != nil {
		return err
	}
	for _, n := range Names() {
		if err := os.Symlink(program, filepath.Join(bin, n)); err != nil {
			return err
		}
	}
	root := filepath.Join(e.WorkDir, "host")
	if err := os.MkdirAll(filepath.Join(root, "etc/vservers"), 0o755); err != nil {
		return err
	}
	e.Defer(func() { // whatever a script that failed has left
		c := exec.Command(program, "stop", "--all", "--kill")
		c.Env = append(os.Environ(), guest.RootVar+"="+root)
		if out, err := c.CombinedOutput(); err != nil && os.Geteuid() == 0 {
			t.Errorf("stop --all: %v: %s", err, out)
		}
		if err := proto.Quit(guest.DefaultDirs(root)); err != nil {
			t.Error(err)
		}
		sweep(program, root)
	})
	e.Setenv("PATH", bin+":"+os.Getenv("PATH"))
	e.Setenv(guest.RootVar, root)
	e.Setenv("specs", filepath.Join(root, "etc/vservers"))
	e.Setenv("TERM", "dumb")
	return nil
}

// sweep takes down contexts without a guest whose processes a script killed: a moment
// later they are empty, and go when the next of their kind is made.
func sweep(program, root string) {
	cg, err := cgroup.Find()
	if err != nil {
		return
	}
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		g, err := cg.Open(guest.DefaultDirs(root).Cgroup)
		if err != nil {
			return
		}
		g.Close()
		for _, kind := range []string{"vcontext", "ncontext"} {
			c := exec.Command(program, kind, "--create", "--silent", "--", "true")
			c.Env = append(os.Environ(), guest.RootVar+"="+root)
			c.Run() // what it leaves, the package's end tells
		}
	}
}

// exits runs a program and compares its exit code: exits CODE PROGRAM ARG...
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE PROGRAM ARG...")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	var exit *exec.ExitError
	switch err := ts.Exec(args[1], args[2:]...); {
	case errors.As(err, &exit):
		got = exit.ExitCode()
	case err != nil:
		ts.Fatalf("%v", err)
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
}

// hears listens at a socket while it runs a program, and compares what that says there:
// hears SOCKET TEXT PROGRAM ARG...
func hears(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 3 {
		ts.Fatalf("usage: hears SOCKET TEXT PROGRAM ARG...")
	}
	l, err := net.Listen("unix", ts.MkAbs(args[0]))
	ts.Check(err)
	defer l.Close()
	heard := make(chan string, 1)
	go func() {
		s, err := l.Accept()
		if err != nil {
			heard <- err.Error()
			return
		}
		defer s.Close()
		text, err := io.ReadAll(s)
		if err != nil {
			text = []byte(err.Error())
		}
		heard <- string(text)
	}()
	ts.Check(ts.Exec(args[2], args[3:]...))
	if got := <-heard; got != args[1] {
		ts.Fatalf("heard %q, want %q", got, args[1])
	}
}

// soon runs a program again until its standard output matches: for what another
// process does a moment later. soon PATTERN PROGRAM ARG...
func soon(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: soon PATTERN PROGRAM ARG...")
	}
	want, err := regexp.Compile("(?m)" + args[0])
	ts.Check(err)
	for end := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		ts.Exec(args[1], args[2:]...) // its exit code is what it says of the moment
		if got := ts.ReadFile("stdout"); want.MatchString(got) {
			return
		} else if time.Now().After(end) {
			ts.Fatalf("want %q in the end, got %q", args[0], got)
		}
	}
}

// busybox makes the smallest files of a guest, in a plain directory that belongs to
// the guest: busybox NAME XID
func busybox(t *testing.T) func(*testscript.TestScript, bool, []string) {
	return func(ts *testscript.TestScript, _ bool, args []string) {
		if len(args) != 2 {
			ts.Fatalf("usage: busybox NAME XID")
		}
		xid, err := strconv.Atoi(args[1])
		ts.Check(err)
		root := filepath.Join(guest.DefaultDirs(ts.Getenv(guest.RootVar)).Guest(guest.Name(args[0])), "root")
		ts.Check(os.MkdirAll(filepath.Dir(filepath.Dir(filepath.Dir(root))), 0o700))
		need.Busybox(t, root)
		base := int(guest.XID(xid).IDBase())
		ts.Check(filepath.WalkDir(root, func(path string, _ fs.DirEntry, err error) error {
			return errors.Join(err, os.Lchown(path, base, base))
		}))
	}
}
