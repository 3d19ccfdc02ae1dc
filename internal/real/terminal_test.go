package real_test

import (
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"vserver/kernel/pty"
)

// terminal is a person at a terminal at which the program runs.
type terminal struct {
	t    testing.TB
	pair pty.Pair
	c    *exec.Cmd
	read sync.WaitGroup

	mu   sync.Mutex
	text []byte // all that was shown
	seen int    // up to where the person has read
}

// sit runs the program at a new terminal.
func (w *world) sit(t testing.TB, args ...string) *terminal {
	t.Helper()
	pair, err := pty.Open(24, 80)
	if err != nil {
		t.Fatal(err)
	}
	p := &terminal{t: t, pair: pair, c: w.command(t.Context(), args...)}
	p.c.Env = append(p.c.Env, "TERM=dumb")
	p.c.Stdin, p.c.Stdout, p.c.Stderr = pair.Slave, pair.Slave, pair.Slave
	p.c.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	p.c.WaitDelay = 0
	err = w.begin(p.c)
	pair.Slave.Close()
	if err != nil {
		pair.Master.Close()
		t.Fatal(err)
	}
	p.read.Go(func() { p.watch(pair.Master) })
	return p
}

func (p *terminal) watch(f *os.File) {
	buf := make([]byte, 4096)
	for {
		n, err := f.Read(buf)
		p.mu.Lock()
		p.text = append(p.text, buf[:n]...)
		p.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// reads waits until the terminal shows words.
func (p *terminal) reads(words string) {
	p.t.Helper()
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		p.mu.Lock()
		at := strings.Index(string(p.text[p.seen:]), words)
		if at >= 0 {
			p.seen += at + len(words)
		}
		text := string(p.text)
		p.mu.Unlock()
		if at >= 0 {
			return
		}
		if time.Now().After(end) {
			p.leave()
			p.t.Fatalf("no %q on the terminal:\n%s", words, text)
		}
	}
}

// types types a text, then waits until the terminal shows words.
func (p *terminal) types(text, words string) {
	p.t.Helper()
	if _, err := p.pair.Master.WriteString(text); err != nil {
		p.t.Fatal(err)
	}
	p.reads(words)
}

// ends waits for the end of the program and gives its exit code.
func (p *terminal) ends() int {
	timer := time.AfterFunc(30*time.Second, func() {
		p.t.Error("the program at the terminal does not end")
		p.c.Process.Kill()
	})
	defer timer.Stop()
	p.c.Wait()
	p.leave()
	return p.c.ProcessState.ExitCode()
}

// leave hangs up.
func (p *terminal) leave() {
	p.pair.Master.Close()
	p.read.Wait()
	if p.c.ProcessState == nil {
		p.c.Process.Kill()
		p.c.Wait()
	}
}
