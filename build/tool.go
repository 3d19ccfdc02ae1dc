package build

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"time"

	"vserver/fault"
	"vserver/guest"
)

// tool is a program of the distribution's that fills a tree as root.
type tool struct {
	name string
	args []string
	env  []string
	pkg  string            // that brings the program
	line func(line string) // is told each line that it prints
}

// run runs the program in a pid and a mount namespace of its own. It dies with us, and
// all that it started and mounted with it: so nothing is left in the way of whoever
// sweeps up after a killed build.
func (t tool) run(ctx context.Context) error {
	path, err := exec.LookPath(t.name)
	if err != nil {
		return fault.Hint(fmt.Errorf("%s: is not installed: %w", t.name, guest.ErrUnsupported), "apt-get install "+t.pkg)
	}
	// The signal at our death is sent when the thread ends that started the program.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	c := exec.CommandContext(ctx, path, t.args...)
	c.Dir = "/"
	c.Env = append(append([]string{
		"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=" + os.Getenv("HOME"), "LC_ALL=C.UTF-8",
	}, proxies()...), t.env...)
	out := &lineWriter{say: t.line}
	c.Stdout, c.Stderr = out, out
	c.WaitDelay = waitDelay
	c.SysProcAttr = &syscall.SysProcAttr{
		Pdeathsig:    syscall.SIGKILL,
		Cloneflags:   syscall.CLONE_NEWPID,
		Unshareflags: syscall.CLONE_NEWNS,
	}
	err = c.Run()
	if err == nil {
		return nil
	}
	if cerr := context.Cause(ctx); cerr != nil {
		return fmt.Errorf("%s: %w", t.name, cerr)
	}
	var exit *exec.ExitError
	if errors.As(err, &exit) && out.fault != "" {
		said, _, _ := strings.Cut(strings.TrimPrefix(out.fault, t.name+": "), noSpace)
		if out.full {
			return fmt.Errorf("%s: %s: %w", t.name, said, syscall.ENOSPC)
		}
		return fmt.Errorf("%s: %s", t.name, said)
	}
	return fmt.Errorf("%s: %w: %s", t.name, err, out.last)
}

// lineWriter cuts what a program prints into lines; a carriage return ends one as well.
type lineWriter struct {
	say   func(string)
	rest  []byte
	last  string // line
	fault string // line that tells of an error best
	full  bool   // a line told of a full disk
}

// noSpace is how every program words ENOSPC.
const noSpace = ": No space left on device"

// waitDelay is how long a program that was killed may hold its output open.
const waitDelay = 5 * time.Second

// proxies are the variables by which programs are told how to reach the network.
func proxies() (env []string) {
	for _, v := range []string{"http_proxy", "https_proxy", "no_proxy"} {
		for _, name := range []string{v, strings.ToUpper(v)} {
			if s, ok := os.LookupEnv(name); ok {
				env = append(env, name+"="+s)
			}
		}
	}
	return env
}

// maxLine is where longer lines are cut, in bytes.
const maxLine = 1000

func (w *lineWriter) Write(b []byte) (int, error) {
	w.rest = append(w.rest, b...)
	for {
		i := bytes.IndexAny(w.rest, "\r\n")
		if i < 0 {
			w.rest = w.rest[max(0, len(w.rest)-maxLine):]
			return len(b), nil
		}
		line := strings.TrimSpace(printable(w.rest[:min(i, maxLine)]))
		w.rest = w.rest[i+1:]
		if line == "" {
			continue
		}
		w.last = line
		w.full = w.full || strings.Contains(line, noSpace)
		if f := faultIn(line); f != "" && (w.fault == "" || strings.HasPrefix(f, "E: ")) {
			w.fault = f // rsync's first is the cause, the others what came of it
		}
		if w.say != nil {
			w.say(line)
		}
	}
}

// faultIn gives what a line tells of an error, or "". rsync's may stand behind what it
// told of its progress.
func faultIn(line string) string {
	if strings.HasPrefix(line, "E: ") || strings.HasPrefix(line, "rsync error: ") {
		return line
	}
	if i := strings.Index(line, "rsync: "); i >= 0 {
		return line[i:]
	}
	return ""
}

// printable takes out what a terminal would act upon: lines are others' words.
func printable(b []byte) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 {
			return -1
		}
		return r
	}, strings.ToValidUTF8(string(b), "?"))
}
