package host

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"vserver/fault"
	"vserver/guest"
	"vserver/kernel/cgroup"
	"vserver/kernel/ns"
	"vserver/limit"
	"vserver/reaper"
	"vserver/rootfs"
	"vserver/spawn"
	"vserver/step"
	"vserver/vcontext"
)

// Start starts a guest. It returns when the guest's init runs, with a nil exit; with
// Wait when the guest has ended, with how. The error is guest.ErrRunning when it
// runs already.
func (h *Host) Start(ctx context.Context, n guest.Name, o StartOptions) (*guest.Exit, error) {
	r, err := h.start(ctx, n, o)
	if err != nil {
		return nil, fault.New(string(n), "start", err)
	}
	defer r.close()
	if !o.Wait {
		go r.child.Wait() // should we live that long, it must not stay a zombie
		return nil, nil
	}
	defer r.attendHere()()
	exit, err := r.wait(ctx)
	return exit, fault.New(string(n), "wait", errors.Join(err, r.cleared(exit)))
}

// start does what of a start is done under the guest's lock.
func (h *Host) start(ctx context.Context, n guest.Name, o StartOptions) (*run, error) {
	if err := h.mend(n); err != nil {
		return nil, err
	}
	// The lock of a guest that is not there should not be left by a slip of the pen.
	if there, err := exists(h.Dirs.Spec(n)); err != nil || !there {
		return nil, errors.Join(err, h.absent(n))
	}
	unlock, err := h.lock(n)
	if err != nil {
		return nil, err
	}
	defer unlock()
	r, err := h.starting(n, o)
	if err != nil {
		return nil, err
	}
	if err := h.vacate(n); err != nil {
		return nil, err
	}
	if err := step.Run(ctx, "start", r.steps()); err != nil {
		r.close()
		return nil, h.hintPids(n, err)
	}
	return r, r.complain(r.hook(ctx, "post-start", r.spec.Hooks.PostStart))
}

// PlanStart gives the steps of a start without taking any.
func (h *Host) PlanStart(n guest.Name) ([]step.Step, error) {
	r, err := h.starting(n, StartOptions{})
	if err != nil {
		return nil, fault.New(string(n), "start", err)
	}
	return r.steps(), nil
}

func (h *Host) starting(n guest.Name, o StartOptions) (*run, error) {
	spec, err := h.Load(n)
	if err != nil {
		return nil, err
	}
	r, err := h.newRun(n, spec, o.Output)
	if err == nil && o.Wait && o.Stdout != nil && r.spec.Console.Type == guest.ConsoleLog {
		r.front = &Command{Stdout: o.Stdout, Stderr: o.Stderr}
	}
	return r, err
}

// vacate makes sure that the guest does not run and that nothing of an earlier run
// is left. A group that was killed once must go: no process can be born into it any
// more (seen on 6.18: CLONE_INTO_CGROUP into it gives a process that is killed at
// once). What was set while it ran gets into its files now.
func (h *Host) vacate(n guest.Name) error {
	running, err := h.runs(n)
	if err != nil {
		return err
	}
	if running {
		return guest.ErrRunning
	}
	return errors.Join(h.takeDown(n), h.freshen(n))
}

// steps is the table of a start; undone backward it is a stop, and the recovery of
// either.
func (r *run) steps() []step.Step {
	list := []step.Step{
		{Name: "make " + r.h.Dirs.State(r.name), Do: r.makeState},
		{Name: "run pre-start hooks", Do: func(ctx context.Context) error {
			return r.hook(ctx, "pre-start", r.spec.Hooks.PreStart)
		}},
		{Name: "make control group " + r.h.group(r.name), Do: r.makeGroup, Undo: r.removeGroup},
		r.encloseStep(),
		{Name: "make console of type " + string(r.spec.Console.Type), Do: r.makeConsole, Undo: r.closeConsole},
		{Name: "clone first process: " + r.namespaces(), Do: r.clone, Undo: r.abandon},
	}
	for i, m := range r.mounts {
		list = append(list, r.mountStep(i, m))
	}
	list = append(list, step.Step{Name: "wait for the guest's namespaces", Do: r.forked})
	list = append(list, r.networkSteps()...)
	list = append(list,
		step.Step{Name: "set limits", Do: r.setLimits},
		step.Step{Name: "write " + r.h.notePath(r.name), Do: r.writeNote, Undo: r.removeNote})
	if r.front == nil {
		list = append(list, step.Step{Name: "tell vserverd", Do: r.tell})
	}
	return append(list, step.Step{Name: "let it run: " + fmt.Sprint(r.plan.Init.Argv), Do: r.release})
}

func (r *run) namespaces() string {
	s := "mount pid uts ipc cgroup time"
	if r.plan.OwnNet {
		s += " net"
	}
	if r.plan.Userns {
		s = fmt.Sprintf("user (ids %d-%d) ", r.plan.Base, r.plan.Base+guest.IDs-1) + s
	}
	return s
}

func (r *run) makeState(context.Context) error {
	return os.MkdirAll(r.h.Dirs.State(r.name), 0o700)
}

func (r *run) makeGroup(context.Context) (err error) {
	if r.group, err = r.cg.Create(r.h.group(r.name)); err != nil {
		return err
	}
	return r.group.Delegate(r.plan.Base, r.plan.Base)
}

// removeGroup ends what is left in the group and removes it, with the groups that
// hold its limits.
func (r *run) removeGroup() error { return r.h.removeGroup(r.cg, r.name) }

func (r *run) clone(context.Context) (err error) {
	if r.child, err = spawn.Start(r.plan.Table(), r.plan.Options(r.group.FD())); err != nil {
		return err
	}
	if !r.plan.Userns {
		return nil
	}
	if err := ns.MapIDs(r.child.First(), vcontext.IDMap(0, r.plan.Base)); err != nil {
		return err
	}
	if r.userns, err = ns.Open(r.child.First(), "user"); err != nil {
		return err
	}
	return r.child.Open()
}

// abandon ends a child that was not let go. One that runs is ended with its group.
func (r *run) abandon() error {
	if r.child != nil {
		r.child.Kill()
		r.child.Close()
		r.child = nil
	}
	if r.userns != nil {
		r.userns.Close()
		r.userns = nil
	}
	r.closeMounts()
	return nil
}

func (r *run) forked(context.Context) error {
	_, err := r.child.Forked()
	return err
}

func (r *run) mountStep(i int, m rootfs.Mount) step.Step {
	return step.Step{Name: m.String(), Do: func(context.Context) (err error) {
		if r.fds[i], err = r.makeMount(m); err == nil && m.Kind == rootfs.Pts && r.plan.TTY {
			err = r.attachConsole(r.fds[i])
		}
		return err
	}}
}

func (r *run) makeMount(m rootfs.Mount) (int, error) {
	owner := rootfs.Owner{Base: r.plan.Base, Userns: -1}
	if r.userns != nil {
		owner.Userns = int(r.userns.Fd())
	}
	return m.Make(owner)
}

func (r *run) closeMounts() {
	for i, fd := range r.fds {
		if fd >= 0 {
			syscall.Close(fd)
			r.fds[i] = -1
		}
	}
}

func (r *run) writeNote(context.Context) error {
	pid, err := r.child.Forked()
	if err != nil {
		return err
	}
	began, err := born(pid)
	if err != nil {
		return err
	}
	if adj := r.spec.Limits.OOMScoreAdj; adj != 0 {
		if err := ns.Write(pid, "oom_score_adj", fmt.Sprint(adj)); err != nil {
			return err
		}
	}
	return r.note(pid, began).write(r.h.notePath(r.name))
}

func (r *run) setLimits(context.Context) error {
	pid, err := r.child.Forked()
	if err != nil {
		return err
	}
	return limit.Apply(r.cg, r.h.group(r.name), r.limits, pid)
}

func (r *run) removeNote() error { return removeNote(r.h.notePath(r.name)) }

// release sends the child all it waits for and sees it execute the init.
func (r *run) release(context.Context) error {
	fds := append([]int(nil), r.fds...)
	for _, f := range r.stdio {
		fds = append(fds, int(f.Fd()))
	}
	if r.plan.Reaper {
		fd, err := reaper.Open()
		if err != nil {
			return err
		}
		defer syscall.Close(fd)
		fds = append(fds, fd)
	}
	if err := r.child.Send(fds); err != nil {
		return err
	}
	if r.pumps != nil {
		r.pumps.started()
	}
	if err := r.serve(); err != nil {
		return err
	}
	err := r.child.Finish()
	if err == nil && r.told != nil {
		r.complain(r.told.Confirm())
	}
	if errors.Is(err, syscall.ENOENT) && r.spec.Init.Style == guest.InitPlain {
		return fault.Hint(err, "the guest has no "+r.plan.Init.Argv[0]+"; see init.command and init.style in `vserver "+string(r.name)+" config`")
	}
	return err
}

// close releases what the run held of this process.
func (r *run) close() {
	r.closeMounts()
	r.closeConsole()
	if r.userns != nil {
		r.userns.Close()
	}
	if r.told != nil {
		r.told.Close()
	}
	if r.pumps != nil {
		r.pumps.close()
	}
	if r.child != nil {
		r.child.Close()
	}
	if r.group != nil {
		r.group.Close()
	}
}

// wait waits for the init, which is this process's child.
func (r *run) wait(ctx context.Context) (*guest.Exit, error) {
	pid, err := r.child.Forked()
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { r.h.killGroup(r.cg, r.name) })
	defer stop()
	ws, err := r.child.Wait()
	if err != nil {
		return nil, fmt.Errorf("process %d: %w", pid, err)
	}
	if r.pumps != nil {
		r.pumps.drain()
	}
	exit := exitOf(ws)
	return &exit, ctx.Err()
}

// exitOf tells how an init ended from its wait status. The kernel ends the init of a
// pid namespace with SIGHUP for a restart and with SIGINT for a halt or power-off
// (reboot(2)).
func exitOf(ws syscall.WaitStatus) guest.Exit {
	e := guest.Exit{Time: time.Now()}
	switch {
	case ws.Exited():
		e.Reason, e.Code = guest.Exited, ws.ExitStatus()
	case ws.Signal() == syscall.SIGHUP:
		e.Reason = guest.Rebooted
	case ws.Signal() == syscall.SIGINT:
		e.Reason = guest.Halted
	default:
		e.Reason, e.Signal = guest.Signalled, guest.Signal(ws.Signal()).String()
	}
	return e
}

// killGroup ends every process of the guest.
func (h *Host) killGroup(cg cgroup.Host, n guest.Name) error {
	g, err := cg.Open(h.group(n))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer g.Close()
	return g.Kill()
}
