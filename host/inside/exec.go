package inside

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"syscall"
	"time"

	"vserver/fault"
	"vserver/guest"
	"vserver/host/account"
	"vserver/host/state"
	"vserver/host/stdio"
	"vserver/kernel/cgroup"
	"vserver/kernel/pidfd"
	"vserver/kernel/proc"
	"vserver/reaper"
	"vserver/spawn"
	"vserver/vcontext"
)

// The exit codes of a command that could not be run, as shells give them.
const (
	codeNotExecutable = 126
	codeNotFound      = 127
)

// Command is something to run in a running guest.
type Command struct {
	Args []string // none: the login shell of the user
	Env  []string // NAME=VALUE, added to the guest's environment
	Dir  string   // in the guest; "" is the user's home for a login, else "/"
	User string   // name, or uid[:gid], as the guest knows it; "" is root
	// TTY gives the command a terminal of the guest's own, joined to Stdin and
	// Stdout, which should be a terminal here.
	TTY                   bool
	Stdin, Stdout, Stderr *os.File

	// Tools has the command see a root with programs of the host's, in which the guest's
	// is the directory rootfs.GuestAt. It has no more rights by that.
	Tools bool

	// Ours is a command that the guest's own spec names; the flag private is for others.
	Ours bool
	// Visit is a command that a guest is there for, which is stopped else; there is no
	// other. It is for package life to say.
	Visit bool
	// Signals that this process gets are passed on to the command. There is one such
	// command at a time.
	Signals bool
	// Begun, when not nil, is called once it is executed.
	Begun func()
}

// Exec runs a command in a running guest and gives its exit code; 128 and the signal's
// number when one ended it. When ctx ends the command is sent SIGTERM. The error is
// guest.ErrStopped when the guest does not run.
func Exec(ctx context.Context, d guest.Dirs, n guest.Name, c Command) (int, error) {
	in, err := Enter(d, n)
	if err != nil {
		return 0, err
	}
	defer in.Close()
	code, err := in.exec(ctx, c)
	if err == nil {
		return code, nil
	}
	if in.ending(err) {
		return 0, guest.ErrStopped // whatever could not be done for that reason
	}
	return code, HintPids(d, n, err)
}

// last is how long the init of a guest whose processes are killed may outlive them: it ends when
// all others have.
const last = time.Second

// ending tells whether a command could not be executed since its guest ends.
func (in *Guest) ending(err error) bool {
	end := time.Now()
	if errors.Is(err, syscall.ESRCH) || errors.Is(err, syscall.EPIPE) { // no namespaces any more; killed at once
		end = end.Add(last)
	}
	for {
		if dead, err := pidfd.Ended(in.pidfd); dead || err != nil || !time.Now().Before(end) {
			return dead
		}
		time.Sleep(time.Millisecond)
	}
}

// HintPids says which limit it is that keeps a guest from having another process.
func HintPids(d guest.Dirs, n guest.Name, err error) error {
	if !errors.Is(err, syscall.EAGAIN) {
		return err
	}
	now := "limits.pids"
	if was, err := state.ReadNote(d, n); err == nil && was != nil && was.Nproc > 0 {
		now = fmt.Sprintf("limits.pids was %d when it was started", was.Nproc)
	} else if spec, err := state.Load(d, n); err == nil && spec.Limits.Pids > 0 {
		now = fmt.Sprintf("limits.pids is %d", spec.Limits.Pids)
	}
	return fault.Hint(err, fmt.Sprintf("no more processes for the guest: %s; `vserver set %s limits.pids=N` changes it", now, n))
}

func (in *Guest) exec(ctx context.Context, c Command) (int, error) {
	signals, err := take(c)
	if err != nil {
		return 0, err
	}
	defer signals.end()
	if err := in.admit(ctx, c); err != nil {
		return 0, err
	}
	who, err := account.Inside(in.Note.PID, c.User)
	if err != nil {
		return 0, err
	}
	plan, err := in.plan(who, c)
	if err != nil {
		return 0, err
	}
	io, err := in.files(c)
	if err != nil {
		return 0, err
	}
	defer io.Close()
	plan.Stdio = io.Child
	if c.Tools {
		tools, err := in.tools(plan)
		if err != nil {
			return 0, err
		}
		defer tools()
	}
	child, err := in.spawn(plan)
	if err != nil {
		return 0, err
	}
	defer child.Close()
	io.Started()
	taken, done, err := in.serve(plan, child)
	if err != nil {
		return 0, err
	}
	defer done()
	err = child.Finish()
	if lost := in.settle(child, taken, err == nil); err == nil && lost != nil {
		child.Kill()
		child.Wait()
		return 0, lost
	}
	if err != nil {
		child.Wait()
		return notRun(err, c)
	}
	if c.Begun != nil {
		c.Begun()
	}
	if in.usual(c) {
		_ = in.keep() // the next command takes longer
	}
	return attend(ctx, child, io, signals)
}

// admit refuses commands in a guest with the flag private, or one that stands still.
func (in *Guest) admit(ctx context.Context, c Command) error {
	if in.Note.Visit && !c.Visit {
		return state.Visited(in.dirs, in.name)
	}
	if c.Ours { // who asks for it may have the lock
		return nil
	}
	if err := in.thaws(ctx); err != nil || len(in.Note.Rights.Flags) == 0 {
		return err
	}
	spec := guest.Spec{Rights: in.Note.Rights}
	set, err := spec.FlagSet()
	if err != nil || !set.Has(guest.Private) {
		return err
	}
	return fault.Hint(fmt.Errorf("the guest is private (rights.flags): %w", syscall.EPERM),
		fmt.Sprintf("`vserver set %s rights.flags-=private` opens it from its next start", in.name))
}

// files are what the command gets as its standard files.
func (in *Guest) files(c Command) (*stdio.Files, error) {
	if c.TTY {
		return stdio.Terminal(in.Note.PID, in.Note.Base, c.Stdin, c.Stdout)
	}
	return stdio.Plain(c.Stdin, c.Stdout, c.Stderr)
}

// spawn starts the plan's process in the guest's group.
func (in *Guest) spawn(plan *vcontext.Enter) (*spawn.Child, error) {
	leaf, err := cgroup.OpenExec(in.Group)
	if err != nil {
		return nil, err
	}
	defer leaf.Close()
	in.leaf = leaf.Path()
	if !in.Note.Userns {
		if plan.Sealed, err = reaper.Open(); err != nil {
			return nil, err
		}
		defer syscall.Close(plan.Sealed)
		plan.Argv = reaper.Exec(plan.Paths, plan.Argv)
	}
	if plan.Joins, err = in.joins(); err != nil {
		return nil, err
	}
	o := spawn.Options{Cgroup: leaf.FD()}
	if plan.Tools != nil {
		o.Flags = spawn.NewMount
	}
	return spawn.Start(plan.Table(), o)
}

// settle tells whether the listener of a command was taken, and gives a command that has
// begun the bias of the guest; one that has ended needs none.
func (in *Guest) settle(child *spawn.Child, taken func() error, begun bool) error {
	if err := taken(); err != nil || !begun || in.Note.OOM == 0 {
		return err
	}
	leaf, err := cgroup.OpenExec(in.Group)
	if err != nil {
		return err
	}
	defer leaf.Close()
	pid, err := child.Forked()
	if err != nil {
		return err
	}
	if err = Bias(leaf, pid, in.Note.OOM); errors.Is(err, syscall.ESRCH) || errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// plan decides how a command runs: with the rights the guest was started with.
func (in *Guest) plan(who account.Account, c Command) (*vcontext.Enter, error) {
	rights, err := vcontext.RightsOf(in.Note.Userns, in.Note.OwnNet, in.Note.Hidden, in.Note.Views, in.Note.Rights, in.Note.Rlimits)
	rights.Nice, rights.IOPrio = in.Note.Nice, in.Note.IONice
	if err != nil {
		return nil, err
	}
	e := &vcontext.Enter{
		Pidfd: in.pidfd, Userns: in.Note.Userns, OwnNet: in.Note.OwnNet || in.Note.Mode == guest.NetHost, OwnTime: in.Note.OwnTime,
		UID: who.UID, GID: who.GID, Groups: who.Groups, Dir: c.Dir, TTY: c.TTY, Rights: rights,
	}
	env := map[string]string{"PATH": vcontext.DefaultPath, "HOME": who.Home, "USER": who.Name, "LOGNAME": who.Name,
		"SHELL": who.Shell, "container": "vserver"}
	for k, v := range in.Note.Env {
		env[k] = v
	}
	if c.TTY {
		env["TERM"] = terminal()
	}
	for _, kv := range c.Env {
		k, v, _ := strings.Cut(kv, "=")
		env[k] = v
	}
	e.Env = vcontext.Environ(env)
	if len(c.Args) == 0 {
		if spec, err := state.Load(in.dirs, in.name); err == nil && spec.Shell != "" && c.User == "" {
			who.Shell = spec.Shell
		}
		shells := []string{who.Shell, "/bin/bash", "/bin/sh"}
		e.Paths, e.Argv = shells, []string{"-" + who.Shell[strings.LastIndexByte(who.Shell, '/')+1:]}
		if e.Dir == "" {
			e.Dir = who.Home
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

// attend waits for the command and passes signals on to it.
func attend(ctx context.Context, child *spawn.Child, io *stdio.Files, signals *signals) (int, error) {
	fd, err := child.Pidfd()
	if err != nil {
		return 0, err
	}
	signals.to(fd)
	defer signals.end()
	defer context.AfterFunc(ctx, func() { pidfd.Signal(fd, syscall.SIGTERM) })()
	ws, err := child.Wait()
	if err != nil {
		return 0, err
	}
	io.Drain()
	return proc.ExitCode(ws), nil
}
