package agent

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
)

// Agent is an agent that was started.
type Agent struct {
	in  io.Writer
	out *bufio.Scanner
}

// Rights are whose rights an agent has.
type Rights int

// Host is the caller's own; Root is root of a user namespace, as in a guest; User is a
// user there without capabilities.
const (
	Host Rights = iota
	Root
	User
)

// Start starts an agent in the caller's network namespace, and in the cgroup whose
// directory is open at the descriptor, unless that is negative. It ends with the test.
func Start(t testing.TB, cgroup int, r Rights) *Agent {
	t.Helper()
	c, in, out, err := start(cgroup, r)
	// An emulated machine with Linux 6.1 refuses a fork now and then, and not the next.
	for tries := 0; errors.Is(err, syscall.EINVAL) && tries < 5; tries++ {
		t.Logf("agent: %v", err)
		c, in, out, err = start(cgroup, r)
	}
	if err != nil {
		t.Fatalf("agent with rights %d in cgroup %d: %v", r, cgroup, err)
	}
	t.Cleanup(func() {
		in.Close()
		c.Wait()
	})
	return &Agent{in, bufio.NewScanner(out)}
}

func start(cgroup int, r Rights) (c *exec.Cmd, in io.WriteCloser, out io.ReadCloser, err error) {
	c = exec.Command("/proc/self/exe")
	c.Env = append(os.Environ(), variable+"=1")
	c.Stderr = os.Stderr
	c.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: cgroup >= 0, CgroupFD: cgroup}
	if r != Host {
		ids := []syscall.SysProcIDMap{{ContainerID: 0, HostID: 524288, Size: 65536}}
		c.SysProcAttr.Cloneflags = syscall.CLONE_NEWUSER
		c.SysProcAttr.UidMappings, c.SysProcAttr.GidMappings = ids, ids
		c.SysProcAttr.Credential = &syscall.Credential{}
		if r == User {
			c.SysProcAttr.Credential = &syscall.Credential{Uid: 1000, Gid: 1000}
		}
	}
	if in, err = c.StdinPipe(); err != nil {
		return nil, nil, nil, err
	}
	if out, err = c.StdoutPipe(); err != nil {
		return nil, nil, nil, err
	}
	return c, in, out, c.Start()
}

// Do has the agent obey a command, and gives its answer.
func (a *Agent) Do(command string) string {
	fmt.Fprintln(a.in, command)
	if !a.out.Scan() {
		return "the agent is gone"
	}
	return a.out.Text()
}

// Play has agents obey the lines of a script, "WHO COMMAND = ANSWER", one after the
// other; without an answer it is "ok"; * at its end is
// anything. # begins a comment.
func Play(t testing.TB, agents map[string]*Agent, script string) {
	t.Helper()
	for n, line := range strings.Split(script, "\n") {
		line, _, _ = strings.Cut(line, "#")
		line, want, ok := strings.Cut(line, " = ")
		if !ok {
			want = "ok"
		}
		who, command, _ := strings.Cut(strings.TrimSpace(line), " ")
		if who == "" {
			continue
		}
		a := agents[who]
		if a == nil {
			t.Fatalf("line %d: nobody is called %s", n, who)
		}
		want = strings.TrimSpace(want)
		got := a.Do(command)
		if begin, any := strings.CutSuffix(want, "*"); got != want && !(any && strings.HasPrefix(got, begin)) {
			t.Errorf("line %d: %s %s: %s; want %s", n, who, command, got, want)
		}
	}
}
