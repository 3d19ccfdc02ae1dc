package relay

import (
	"bufio"
	"errors"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"vserver/internal/need"
)

func TestMain(m *testing.M) { need.Main(m) }

// other is a process that says which signals it gets.
type other struct {
	*exec.Cmd
	lines *bufio.Scanner
	pidfd int
}

func start(t *testing.T) *other {
	t.Helper()
	o := &other{Cmd: exec.Command("/bin/sh", "-c", `trap 'echo USR1' USR1; trap 'echo USR2' USR2; trap 'exit 7' TERM; echo up; while :; do sleep 0.01; done`)}
	out, err := o.StdoutPipe()
	if err == nil {
		err = o.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { o.Process.Kill(); o.Wait() })
	o.lines = bufio.NewScanner(out)
	o.says(t, "up")
	if o.pidfd, err = unix.PidfdOpen(o.Process.Pid, 0); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(o.pidfd) })
	return o
}

func (o *other) says(t *testing.T, want string) {
	t.Helper()
	if !o.lines.Scan() || o.lines.Text() != want {
		t.Fatalf("the other says %q, want %q", o.lines.Text(), want)
	}
}

// here sends this thread a signal, which is delivered before it returns.
func here(t *testing.T, s syscall.Signal) {
	t.Helper()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := unix.Tgkill(os.Getpid(), unix.Gettid(), s); err != nil {
		t.Fatal(err)
	}
}

// TestPassed sends signals before there is anybody to pass them on to, and after, and
// sees that nothing is left of it in the end.
func TestPassed(t *testing.T) {
	o := start(t)
	r, err := Begin(syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGTERM)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Begin(syscall.SIGHUP); !errors.Is(err, syscall.EBUSY) {
		t.Errorf("a second relay: %v", err)
	}
	here(t, syscall.SIGUSR2)
	here(t, syscall.SIGUSR2)
	r.To(o.pidfd)
	o.says(t, "USR2")
	here(t, syscall.SIGUSR1)
	o.says(t, "USR1")
	here(t, syscall.SIGTERM)
	o.Wait()
	if o.ProcessState.ExitCode() != 7 {
		t.Errorf("the other ended with %v", o.ProcessState)
	}
	here(t, syscall.SIGTERM) // to nobody
	r.End()
	heard := make(chan os.Signal, 1)
	signal.Notify(heard, syscall.SIGUSR1)
	defer signal.Stop(heard)
	here(t, syscall.SIGUSR1)
	if s := <-heard; s != syscall.SIGUSR1 {
		t.Errorf("heard %v", s)
	}
	if _, err := Begin(syscall.SIGKILL); err == nil {
		t.Error("SIGKILL is passed on")
	}
}

// TestNoneLost has signals come from all sides just when it begins: each arrives.
func TestNoneLost(t *testing.T) {
	o := start(t)
	for range 200 {
		r, err := Begin(syscall.SIGUSR1, syscall.SIGUSR2)
		if err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		wg.Go(func() { syscall.Kill(os.Getpid(), syscall.SIGUSR1) })
		wg.Go(func() { r.To(o.pidfd) })
		wg.Wait()
		o.says(t, "USR1")
		r.End()
	}
}
