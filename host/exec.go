package host

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"sort"
	"strings"
	"syscall"

	"vserver/fault"
	"vserver/guest"
	"vserver/kernel/cgroup"
	"vserver/kernel/pidfd"
	"vserver/limit"
	"vserver/spawn"
	"vserver/vcontext"
)

// The exit codes of a command that could not be run, as shells give them.
const (
	codeNotExecutable = 126
	codeNotFound      = 127
)

// Exec runs a command in a running guest and gives its exit code; 128 and the
// signal's number when one ended it. Signals that this process gets meanwhile are
// passed on. The error is guest.ErrStopped when the guest does not run.
func (h *Host) Exec(ctx context.Context, n guest.Name, c Command) (code int, err error) {
	code, err = h.exec(ctx, n, c)
	return code, fault.New(string(n), "exec", err)
}

func (h *Host) exec(ctx context.Context, n guest.Name, c Command) (int, error) {
	in, err := h.enter(n)
	if err != nil {
		return 0, err
	}
	defer in.close()
	code, err := in.exec(ctx, c)
	if err == nil {
		return code, nil
	}
	if dead, _ := pidfd.Ended(in.pidfd); dead {
		return 0, guest.ErrStopped // whatever could not be done for that reason
	}
	return code, h.hintPids(n, err)
}

// hintPids says which limit it is that keeps a guest from having another process.
func (h *Host) hintPids(n guest.Name, err error) error {
	if !errors.Is(err, syscall.EAGAIN) {
		return err
	}
	now := "limits.pids"
	if was, err := h.readNote(n); err == nil && was != nil && was.Nproc > 0 {
		now = fmt.Sprintf("limits.pids was %d when it was started", was.Nproc)
	} else if spec, err := h.Load(n); err == nil && spec.Limits.Pids > 0 {
		now = fmt.Sprintf("limits.pids is %d", spec.Limits.Pids)
	}
	return fault.Hint(err, fmt.Sprintf("no more processes for the guest: %s; `vserver set %s limits.pids=N` changes it", now, n))
}

func (in *inside) exec(ctx context.Context, c Command) (int, error) {
	who, err := lookUp(in.note.PID, c.User)
	if err != nil {
		return 0, err
	}
	plan, err := in.plan(who, c)
	if err != nil {
		return 0, err
	}
	io, err := newStdio(in, c)
	if err != nil {
		return 0, err
	}
	defer io.close()
	plan.Stdio = io.child
	// From before the command is: a signal that it could get must not end us alone.
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, passed...)
	defer signal.Stop(signals)
	child, err := in.spawn(plan)
	if err != nil {
		return 0, err
	}
	defer child.Close()
	io.started()
	done, err := in.serve(plan, child)
	if err != nil {
		return 0, err
	}
	defer done()
	if err := child.Finish(); err != nil {
		child.Wait()
		return notRun(err, c)
	}
	if c.begun != nil {
		c.begun()
	}
	return attend(ctx, child, io, signals)
}

// spawn starts the plan's process in the guest's group.
func (in *inside) spawn(plan *vcontext.Enter) (*spawn.Child, error) {
	leaf, err := cgroup.OpenExec(in.group)
	if err != nil {
		return nil, err
	}
	defer leaf.Close()
	if plan.Joins, err = limit.Joins(in.cg, in.path); err != nil {
		return nil, err
	}
	return spawn.Start(plan.Table(), spawn.Options{Cgroup: leaf.FD()})
}

// plan decides how a command runs: with the rights the guest was started with.
func (in *inside) plan(who account, c Command) (*vcontext.Enter, error) {
	rights, err := rightsOf(in.note.Userns, in.note.OwnNet, in.note.Hidden, in.note.Rights, in.note.Rlimits)
	if err != nil {
		return nil, err
	}
	e := &vcontext.Enter{
		Pidfd: in.pidfd, Userns: in.note.Userns, OwnNet: in.note.OwnNet, OwnTime: in.note.OwnTime,
		UID: who.uid, GID: who.gid, Groups: who.groups, Dir: c.Dir, TTY: c.TTY, Rights: rights,
	}
	env := map[string]string{"PATH": defaultPath, "HOME": who.home, "USER": who.name, "LOGNAME": who.name,
		"SHELL": who.shell, "container": "vserver"}
	for k, v := range in.note.Env {
		env[k] = v
	}
	if c.TTY {
		env["TERM"] = terminal()
	}
	for _, kv := range c.Env {
		k, v, _ := strings.Cut(kv, "=")
		env[k] = v
	}
	e.Env = environ(env)
	if len(c.Args) == 0 {
		shells := []string{who.shell, "/bin/bash", "/bin/sh"}
		e.Paths, e.Argv = shells, []string{"-" + who.shell[strings.LastIndexByte(who.shell, '/')+1:]}
		if e.Dir == "" {
			e.Dir = who.home
		}
	} else {
		e.Paths, e.Argv = searchPath(c.Args[0], env["PATH"]), c.Args
	}
	if e.Dir == "" {
		e.Dir = "/"
	}
	return e, nil
}

// terminal is the kind of terminal we are on; what the guest does not know it treats
// as dumb.
func terminal() string {
	if t := os.Getenv("TERM"); t != "" {
		return t
	}
	return "linux"
}

// searchPath lists where a command may be, as execvp(3) looks for it.
func searchPath(command, path string) []string {
	if strings.Contains(command, "/") {
		return []string{command}
	}
	var out []string
	for _, dir := range strings.Split(path, ":") {
		out = append(out, dir+"/"+command)
	}
	return out
}

func environ(env map[string]string) []string {
	out := make([]string, 0, len(env))
	for k, v := range env {
		out = append(out, k+"="+v)
	}
	sort.Strings(out)
	return out
}

// notRun tells why the command did not run, with the code that shells give.
func notRun(err error, c Command) (int, error) {
	if !strings.HasPrefix(err.Error(), "exec ") {
		return 1, err
	}
	what := "login shell"
	if len(c.Args) > 0 {
		what = c.Args[0]
	}
	var errno syscall.Errno
	errors.As(err, &errno)
	code := codeNotExecutable
	if errno == syscall.ENOENT || errno == syscall.ENOTDIR {
		code = codeNotFound
	}
	return code, fmt.Errorf("%s: %w", what, errno)
}

// passed are the signals that are meant for the command, not for us.
var passed = []os.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT,
	syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGALRM, syscall.SIGCONT}

// attend waits for the command and passes signals on to it.
func attend(ctx context.Context, child *spawn.Child, io *stdio, signals <-chan os.Signal) (int, error) {
	pid, err := child.Forked()
	if err != nil {
		return 0, err
	}
	ended := make(chan struct{})
	defer close(ended)
	go func() {
		for {
			select {
			case s := <-signals:
				syscall.Kill(pid, s.(syscall.Signal))
			case <-ctx.Done():
				syscall.Kill(pid, syscall.SIGTERM)
				<-ended
				return
			case <-ended:
				return
			}
		}
	}()
	ws, err := child.Wait()
	if err != nil {
		return 0, err
	}
	io.drain()
	if ws.Signaled() {
		return 128 + int(ws.Signal()), nil
	}
	return ws.ExitStatus(), nil
}
