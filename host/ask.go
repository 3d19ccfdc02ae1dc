package host

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"vserver/guest"
	"vserver/kernel/cgroup"
)

// way is a means of asking an init to end: a command in the guest or, when there is
// none, a signal.
type way struct {
	command []string
	signal  syscall.Signal
}

// ways lists the means for a guest, best first. The next one is for when a command
// cannot be executed.
func ways(init *guest.Init, in *inside) []way {
	var list []way
	if len(init.StopCommand) > 0 {
		list = append(list, way{command: init.StopCommand})
	}
	switch {
	case init.StopSignal != 0:
		list = append(list, way{signal: syscall.Signal(init.StopSignal)})
	case in.note.Style == guest.InitSysv:
		list = append(list, way{command: []string{"/etc/init.d/rc", "0"}})
	case in.note.Style == guest.InitCommand:
		list = append(list, way{signal: syscall.SIGTERM})
	default:
		list = append(list, howToEnd(in.note.PID)...)
	}
	return list
}

// ask tells the guest's init to end, in the way its kind understands, and does not
// wait for what comes of it. An error says that the init was not asked.
func (r *run) ask(ctx context.Context, timeout time.Duration) error {
	in, err := r.h.enter(r.name)
	if err != nil {
		return err
	}
	defer in.close()
	r.since = time.Now()
	for _, w := range ways(&r.spec.Init, in) {
		if w.command == nil {
			err := r.askWith(ctx, in, w.signal, timeout)
			if errors.Is(err, syscall.ESRCH) {
				err = nil // it ends as we speak
			}
			return err
		}
		err := r.askBy(ctx, w.command)
		if err == nil || ctx.Err() != nil {
			return ctx.Err()
		}
		r.complain(fmt.Errorf("cannot be asked to end by %q: %w", strings.Join(w.command, " "), err))
	}
	return errors.New("nothing else asks it to end, killing it")
}

// askBy has a command of the guest's do it, and comes back when that was executed. One
// that hangs ends with the guest.
func (r *run) askBy(ctx context.Context, cmd []string) error {
	begun, ended := make(chan struct{}), make(chan error, 1)
	go func() {
		null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
		if err != nil {
			ended <- err
			return
		}
		defer null.Close()
		c := Command{Args: cmd, Stdin: null, Stdout: null, Stderr: null, begun: func() { close(begun) }}
		code, err := r.h.exec(ctx, r.name, c)
		if err == nil && code != 0 {
			err = fmt.Errorf("%q ended with code %d", strings.Join(cmd, " "), code)
		}
		ended <- err
	}()
	select {
	case <-begun:
		r.asked = ended
		return nil
	case err := <-ended:
		select {
		case <-begun: // and ended since
			r.asked = make(chan error, 1)
			r.asked <- err
			return nil
		default:
			return err
		}
	}
}

// An init that has just begun does not listen yet: systemd loses what it is sent
// within some 30 ms of its start. It is asked again until it is this old.
const (
	grownUp  = 5 * time.Second
	askAgain = 200 * time.Millisecond
)

// askWith sends the init a signal.
func (r *run) askWith(ctx context.Context, in *inside, sig syscall.Signal, timeout time.Duration) error {
	enough := time.Now().Add(min(timeout, grownUp-time.Since(in.note.Started)))
	for {
		if err := in.signal(sig); err != nil || !time.Now().Before(enough) {
			return err
		}
		soon, cancel := context.WithTimeout(ctx, askAgain)
		err := in.group.WaitEmpty(soon, r.held.pidfd...)
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

// await waits until the guest has ended, or its time is up. A guest that nobody could
// ask is not waited for.
func (r *run) await(ctx context.Context, o StopOptions) error {
	if r.deaf {
		return ctx.Err()
	}
	g, err := r.cg.Open(r.h.group(r.name))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer g.Close()
	for {
		elapsed := time.Since(r.since)
		bounded, cancel := context.WithTimeout(ctx, min(often, o.Timeout-elapsed))
		err := g.WaitEmpty(bounded, r.held.pidfd...)
		late := bounded.Err() != nil
		cancel()
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err == nil || !late {
			return err
		}
		r.answer()
		elapsed = time.Since(r.since)
		if elapsed >= o.Timeout {
			return r.complain(fmt.Errorf("still running after %v, killing it", o.Timeout))
		}
		if o.Waiting != nil {
			w := Waiting{Elapsed: elapsed, Limit: o.Timeout}
			w.Processes, w.Count = names(g)
			o.Waiting(w)
		}
	}
}

// answer says how the command of a stop has ended, if it went wrong.
func (r *run) answer() {
	select {
	case err := <-r.asked:
		r.complain(err)
	default:
	}
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
