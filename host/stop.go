package host

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"vserver/fault"
	"vserver/guest"
	"vserver/kernel/cgroup"
	"vserver/step"
)

// Stop ends a guest: its own way first, by force when its time is up. It always ends
// itself. The error is guest.ErrStopped when the guest does not run.
func (h *Host) Stop(ctx context.Context, n guest.Name, o StopOptions) error {
	err := h.stop(ctx, n, o)
	if err == nil || errors.Is(err, guest.ErrStopped) {
		if group := h.pruneGroup(); group != nil {
			err = errors.Join(group, err)
		}
	}
	return fault.New(string(n), "stop", err)
}

// pruneGroup removes the group above those of all guests when no guest has one. It is not
// part of a guest's end: who starts again at once should find it.
func (h *Host) pruneGroup() error {
	cg, err := cgroup.Find()
	if err != nil {
		return err
	}
	return cg.Unified.Prune(h.Dirs.Cgroup)
}

func (h *Host) stop(ctx context.Context, n guest.Name, o StopOptions) error {
	if _, err := os.Stat(h.Dirs.Spec(n)); err != nil {
		if running, _ := h.runs(n); !running {
			return guest.ErrNotFound
		}
	}
	unlock, err := h.lock(n)
	if err != nil {
		return err
	}
	defer unlock()
	running, err := h.runs(n)
	if err != nil {
		return err
	}
	if !running {
		return errors.Join(h.takeDown(n), guest.ErrStopped)
	}
	r, err := h.remains(n)
	if err != nil {
		return err
	}
	if o.Output != nil {
		r.output = o.Output
	}
	if o.Timeout == 0 {
		o.Timeout = time.Duration(r.spec.Init.StopTimeout)
	}
	r.hold()
	defer r.held.linger()
	return step.Run(ctx, "stop", r.stopping(o))
}

// PlanStop gives the steps of a stop without taking any.
func (h *Host) PlanStop(n guest.Name) ([]step.Step, error) {
	if _, err := h.Load(n); err != nil {
		return nil, fault.New(string(n), "stop", err)
	}
	r, err := h.remains(n)
	if err != nil {
		return nil, fault.New(string(n), "stop", err)
	}
	return r.stopping(StopOptions{Timeout: time.Duration(r.spec.Init.StopTimeout)}), nil
}

// stopping is the table of a stop: asking, waiting, and then the table of the start
// backward.
func (r *run) stopping(o StopOptions) []step.Step {
	list := []step.Step{
		{Name: "note that the end is asked for", Do: r.markStopping},
		{Name: "run pre-stop hooks", Do: func(ctx context.Context) error {
			return r.complain(r.hook(ctx, "pre-stop", r.spec.Hooks.PreStop))
		}},
	}
	if !o.Kill {
		list = append(list, step.Step{Name: "ask the init to end", Do: func(ctx context.Context) error {
			return r.complain(r.ask(ctx, o.Timeout))
		}}, step.Step{Name: fmt.Sprintf("wait for it, %v at most", o.Timeout), Do: func(ctx context.Context) error {
			return r.await(ctx, o.Timeout)
		}})
	}
	list = append(list, step.Step{Name: "record the end", Do: r.recordStop})
	forward := r.steps()
	for i := len(forward) - 1; i >= 0; i-- {
		if undo := forward[i].Undo; undo != nil {
			list = append(list, step.Step{Name: "undo: " + forward[i].Name, Do: func(context.Context) error { return undo() }})
		}
	}
	return append(list, step.Step{Name: "run post-stop hooks", Do: func(ctx context.Context) error {
		return r.complain(r.hook(ctx, "post-stop", r.spec.Hooks.PostStop))
	}})
}

func (r *run) markStopping(context.Context) error {
	was, err := r.h.readNote(r.name)
	if err != nil || was == nil {
		return r.complain(err)
	}
	was.Stopping = true
	return was.replace(r.h.notePath(r.name))
}

// recordStop leaves the end of a guest that was killed, or ended as asked.
func (r *run) recordStop(context.Context) error {
	return r.h.recordExit(r.name, guest.Exit{Reason: guest.StoppedBy, Time: time.Now()})
}

// await waits until the guest has ended, or its time is up.
func (r *run) await(ctx context.Context, timeout time.Duration) error {
	g, err := r.cg.Open(r.h.group(r.name))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer g.Close()
	bounded, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	err = g.WaitEmpty(bounded, r.held.pidfds()...)
	select {
	case asked := <-r.asked:
		r.complain(asked)
	default:
	}
	if ctx.Err() == nil && bounded.Err() != nil {
		return r.complain(fmt.Errorf("still running after %v, killing it", timeout))
	}
	return err
}

// ask tells the guest's init to end, in the way its kind understands, and does not
// wait for what comes of it.
func (r *run) ask(ctx context.Context, timeout time.Duration) error {
	if cmd := r.spec.Init.StopCommand; len(cmd) > 0 {
		r.askBy(ctx, cmd)
		return nil
	}
	in, err := r.h.enter(r.name)
	if err != nil {
		return err
	}
	defer in.close()
	if sig := r.spec.Init.StopSignal; sig != 0 {
		return r.askWith(ctx, in, syscall.Signal(sig), timeout)
	}
	switch in.note.Style {
	case guest.InitSysv:
		r.askBy(ctx, []string{"/etc/init.d/rc", "0"})
		return nil
	case guest.InitCommand:
		return in.signal(syscall.SIGTERM)
	}
	sig, cmd := howToEnd(in.note.PID)
	if cmd != nil {
		r.askBy(ctx, cmd)
		return nil
	}
	return r.askWith(ctx, in, sig, timeout)
}

// askBy has a command of the guest's do it. One that hangs ends with the guest.
func (r *run) askBy(ctx context.Context, cmd []string) {
	r.asked = make(chan error, 1)
	go func() {
		null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
		if err == nil {
			defer null.Close()
			_, err = r.h.exec(ctx, r.name, Command{Args: cmd, Stdin: null, Stdout: null, Stderr: null})
		}
		r.asked <- err
	}()
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
		err := in.group.WaitEmpty(soon)
		cancel()
		if err == nil || ctx.Err() != nil {
			return ctx.Err()
		}
	}
}

// sigrtmin is SIGRTMIN as the C library counts, which keeps 32 and 33 for itself.
const sigrtmin = 34

// howToEnd gives the signal, or the command, that the init running as pid takes for
// "power off". Any of them ends in reboot(2), by which the kernel ends the init.
func howToEnd(pid int) (syscall.Signal, []string) {
	exe, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid))
	if err != nil {
		return syscall.SIGTERM, nil
	}
	switch filepath.Base(exe) {
	case "systemd":
		return sigrtmin + 3, nil // halt.target, systemd(1)
	case "busybox":
		return syscall.SIGUSR2, nil // busybox init: poweroff
	case "openrc-init":
		return 0, []string{"/sbin/openrc-shutdown", "--poweroff", "now"}
	case "runit", "runit-init":
		return 0, []string{"/sbin/init", "0"} // runit-init, wherever it lies
	case "s6-svscan":
		return syscall.SIGUSR2, nil
	case "init", "sysvinit":
		return 0, []string{"/sbin/telinit", "0"}
	}
	return syscall.SIGTERM, nil
}
