// Package farewell asks the init of a guest to end, in the way that its kind understands,
// and waits for what comes of it.
package farewell

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"vserver/fault"
	"vserver/guest"
	"vserver/host/inside"
	"vserver/host/state"
	"vserver/kernel/cgroup"
)

// Farewell is one such request.
type Farewell struct {
	Dirs  guest.Dirs
	Name  guest.Name
	Init  *guest.Init
	Limit time.Duration // how long the guest may take
	// Pidfd are pidfds whose end is waited for beside that of the group: that of the
	// init, told at once; or none.
	Pidfd []int
	// Say is told what went wrong and is no reason to stop there.
	Say func(error)
	// Waiting, when not nil, is told once a second what is waited for.
	Waiting func(Waiting)

	asked chan error // how the command that asks has ended
	since time.Time  // when the init was asked
	deaf  bool       // it could not be
}

// way is a means of asking an init to end: a command in the guest or, when there is
// none, a signal.
type way struct {
	command []string
	perhaps bool // it need not be there
	env     []string
	signal  syscall.Signal
}

// ways lists the means for a guest, best first. The next one is for when a command
// cannot be executed.
func ways(init *guest.Init, was *state.Note) []way {
	if was.Rescue {
		init = &guest.Init{} // what the spec says is about another
	}
	var list []way
	if len(init.StopCommand) > 0 {
		list = append(list, way{command: init.StopCommand})
	}
	switch {
	case init.StopSignal != 0:
		list = append(list, way{signal: syscall.Signal(init.StopSignal)})
	case was.Style == guest.InitSysv:
		for i, dir := range strings.Split(guest.RunlevelScripts, ":") {
			// Debian's stops nothing without the level it comes from.
			env := []string{"PREVLEVEL=" + init.Runlevel, "RUNLEVEL=" + init.RunlevelStop}
			list = append(list, way{command: []string{dir + "/rc", init.RunlevelStop}, perhaps: i == 0, env: env})
		}
	case was.Style == guest.InitCommand:
		list = append(list, way{signal: syscall.SIGTERM})
	default:
		list = append(list, howToEnd(was.PID)...)
	}
	return list
}

// Ask tells the guest's init to end, in the way its kind understands, and does not wait
// for what comes of it. An error says that the init was not asked.
func (f *Farewell) Ask(ctx context.Context) error {
	err := f.ask(ctx)
	f.deaf = err != nil
	if errors.Is(err, guest.ErrStopped) {
		err = nil // its init has ended, or was never executed: there is nobody to ask
	}
	return err
}

func (f *Farewell) ask(ctx context.Context) error {
	in, err := inside.Enter(f.Dirs, f.Name)
	if err != nil {
		return err
	}
	defer in.Close()
	f.since = time.Now()
	for _, w := range ways(f.Init, in.Note) {
		if w.command == nil {
			err := f.askWith(ctx, in, w.signal)
			if errors.Is(err, syscall.ESRCH) {
				err = nil // it ends as we speak
			}
			return err
		}
		err := f.askBy(ctx, in, w)
		if err == nil || ctx.Err() != nil {
			return ctx.Err()
		}
		if w.perhaps && errors.Is(err, fs.ErrNotExist) {
			continue
		}
		f.Say(fmt.Errorf("cannot be asked to end by %q: %w", strings.Join(w.command, " "), err))
	}
	return errors.New("nothing else asks it to end, killing it")
}

// askBy has a command of the guest's do it, and comes back when that was executed. One
// that hangs ends with the guest.
func (f *Farewell) askBy(ctx context.Context, in *inside.Guest, w way) error {
	cmd := w.command
	begun, ended := make(chan struct{}), make(chan error, 1)
	log := printed(in)
	go func() {
		defer log.Close()
		c := inside.Command{Args: cmd, Env: w.env, Stdout: log, Stderr: log, Ours: true, Begun: func() { close(begun) }}
		code, err := inside.Exec(ctx, f.Dirs, f.Name, c)
		if err == nil && code != 0 {
			err = fmt.Errorf("%q ended with code %d", strings.Join(cmd, " "), code)
		}
		ended <- err
	}()
	select {
	case <-begun:
		f.asked = ended
		return nil
	case err := <-ended:
		select {
		case <-begun: // and ended since
			f.asked = make(chan error, 1)
			f.asked <- err
			return nil
		default:
			return err
		}
	}
}

// printed opens the pipe that the guest's init prints to, so that what its scripts say of
// a stop is kept with what they said of the start; nil when there is none, or nobody who
// keeps it.
func printed(in *inside.Guest) *os.File {
	path := fmt.Sprintf("/proc/%d/fd/1", in.Note.PID)
	if info, err := os.Stat(path); err != nil || info.Mode()&fs.ModeNamedPipe == 0 {
		return nil
	}
	fd, err := syscall.Open(path, syscall.O_WRONLY|syscall.O_NONBLOCK|syscall.O_CLOEXEC, 0)
	if err != nil {
		return nil
	}
	log := os.NewFile(uintptr(fd), path)
	info, err := log.Stat()
	ended, gone := in.Ended() // else it may be another process's
	if err != nil || info.Mode()&fs.ModeNamedPipe == 0 || gone != nil || ended || syscall.SetNonblock(fd, false) != nil {
		log.Close()
		return nil
	}
	return log
}

// An init that has just begun does not listen yet: systemd loses what it is sent
// within some 30 ms of its start. It is asked again until it is this old.
const (
	grownUp  = 5 * time.Second
	askAgain = 200 * time.Millisecond
)

// askWith sends the init a signal.
func (f *Farewell) askWith(ctx context.Context, in *inside.Guest, sig syscall.Signal) error {
	enough := time.Now().Add(min(f.Limit, grownUp-time.Since(in.Note.Started)))
	for {
		if err := in.Signal(sig); err != nil || !time.Now().Before(enough) {
			return err
		}
		soon, cancel := context.WithTimeout(ctx, askAgain)
		err := in.Group.WaitEmpty(soon, f.Pidfd...)
		cancel()
		if err == nil || ctx.Err() != nil {
			return ctx.Err()
		}
	}
}

// Waiting is what a stop waits for at a moment.
type Waiting struct {
	Elapsed, Limit time.Duration
	Processes      []string // the names of those that still run, each once
	Count          int      // of processes
}

// often is how often a stop tells what it waits for.
const often = time.Second

// group opens the guest's group; nil when nothing is left of it.
func (f *Farewell) group() (*cgroup.Group, error) {
	cg, err := cgroup.Find()
	if err != nil {
		return nil, err
	}
	g, err := cg.Open(f.Dirs.Group(f.Name))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	return g, err
}

// Await waits until the guest has ended, or its time is up. A guest that nobody could
// ask is not waited for.
func (f *Farewell) Await(ctx context.Context) error {
	if f.deaf {
		return ctx.Err()
	}
	g, err := f.group()
	if g == nil {
		return err
	}
	defer g.Close()
	for {
		elapsed := time.Since(f.since)
		bounded, cancel := context.WithTimeout(ctx, min(often, f.Limit-elapsed))
		err := g.WaitEmpty(bounded, f.Pidfd...)
		late := bounded.Err() != nil
		cancel()
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err == nil || !late {
			return err
		}
		f.answer()
		elapsed = time.Since(f.since)
		if elapsed >= f.Limit {
			f.Say(fmt.Errorf("still running after %v, killing it: %s", f.Limit, left(g)))
			return nil
		}
		if f.Waiting != nil {
			w := Waiting{Elapsed: elapsed, Limit: f.Limit}
			w.Processes, w.Count = names(g)
			f.Waiting(w)
		}
	}
}

// answer says how the command of a stop has ended, if it went wrong.
func (f *Farewell) answer() {
	select {
	case err := <-f.asked:
		if err != nil {
			f.Say(err)
		}
	default:
	}
}

// left names, in a line, some of the processes that a guest still has. The guest chose
// these words.
func left(g *cgroup.Group) string {
	const most = 10
	list, _ := names(g)
	if len(list) > most {
		list = append(list[:most], "...")
	}
	return fault.Plain(strings.Join(list, ", "))
}

// names gives the names of a group's processes, each once, and how many there are.
func names(g *cgroup.Group) (list []string, count int) {
	pids, _ := g.Procs()
	for _, pid := range pids {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
		if name := strings.TrimSpace(string(text)); err == nil && !slices.Contains(list, name) {
			list = append(list, name)
		}
	}
	return list, len(pids)
}

// sigrtmin is SIGRTMIN as the C library counts, which keeps 32 and 33 for itself.
const sigrtmin = 34

// howToEnd gives the signals and commands that the init running as pid takes for "power
// off". Any of them ends in reboot(2), by which the kernel ends the init.
func howToEnd(pid int) []way {
	asked := func(word ...string) way { return way{command: word} }
	signal := func(s syscall.Signal) []way { return []way{{signal: s}} }
	exe, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid))
	if err != nil {
		return signal(syscall.SIGTERM)
	}
	switch filepath.Base(exe) {
	case "systemd":
		return signal(sigrtmin + 3) // halt.target, systemd(1)
	case "busybox":
		if !calledInit(pid) { // a script that stands in for one
			return signal(syscall.SIGTERM)
		}
		return signal(syscall.SIGUSR2) // busybox init: poweroff
	case "openrc-init":
		return []way{asked("/sbin/openrc-shutdown", "--poweroff", "now"), {signal: syscall.SIGTERM}}
	case "runit", "runit-init":
		return []way{asked("/sbin/init", "0")} // runit-init, wherever it lies
	case "s6-svscan":
		return signal(syscall.SIGUSR2)
	case "init", "sysvinit":
		return []way{asked("/sbin/telinit", "0"), {signal: syscall.SIGPWR}} // inittab(5): powerfail
	}
	return signal(syscall.SIGTERM)
}

// calledInit tells whether a process was executed by the name init, or as the kernel's
// linuxrc.
func calledInit(pid int) bool {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	name, _, _ := strings.Cut(string(text), "\x00")
	return err == nil && slices.Contains([]string{"init", "linuxrc"}, filepath.Base(name))
}
