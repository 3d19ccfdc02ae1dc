package life

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"syscall"

	"vserver/fault"
	"vserver/guest"
	"vserver/host/files"
	"vserver/host/inside"
	"vserver/host/reclaim"
	"vserver/host/state"
	"vserver/kernel/mount"
	"vserver/kernel/ns"
	"vserver/reaper"
	"vserver/rootfs"
	"vserver/spawn"
	"vserver/step"
	"vserver/store"
	"vserver/vcontext"
)

// Start starts a guest, in what of it is done under the guest's lock. It returns when the
// guest's init runs; for its runlevel scripts see Run.Leave. The error is guest.ErrRunning when it runs already.
func Start(ctx context.Context, d guest.Dirs, n guest.Name, o StartOptions) (*Run, error) {
	// The lock of a guest that is not there should not be left by a slip of the pen.
	if there, err := store.Exists(d.Spec(n)); err != nil || !there {
		return nil, errors.Join(err, state.Absent(d, n))
	}
	unlock, _, err := state.LockWithin(ctx, d, n, o.Patience, late(n, o.Output))
	if err != nil {
		return nil, err
	}
	defer unlock()
	if o.Again {
		if _, may, err := state.Again(d, n); err == nil && !may {
			return nil, guest.ErrStopped
		}
	}
	spec, err := enrolled(d, n)
	if err != nil {
		return nil, err
	}
	r, err := starting(d, n, spec, o)
	if err != nil {
		return nil, err
	}
	if err = vacate(d, n, &r.spec); err == nil {
		err = r.elders()
	}
	if err != nil {
		return nil, err
	}
	if err := step.Run(ctx, "start", r.steps()); err != nil {
		r.Close()
		return nil, inside.HintPids(d, n, err)
	}
	r.complain(state.ForgetAgain(d, n))
	if dir := files.Exposed(&r.spec); dir != "" {
		r.complain(fmt.Errorf("users of the host get at the guest's files, whose ids are the host's: chmod 700 %s", dir))
	}
	if r.awaits() {
		return r, nil
	}
	return r, r.complain(r.hooks().Run(ctx, "post-start"))
}

// PlanStart gives the steps of a start without taking any.
func PlanStart(d guest.Dirs, n guest.Name) ([]step.Step, error) {
	spec, err := state.Load(d, n)
	if err != nil {
		return nil, err
	}
	r, err := starting(d, n, spec, StartOptions{})
	if err != nil {
		return nil, err
	}
	return r.steps(), nil
}

// enrolled reads the spec of a guest that is to have a number and ids of its own.
func enrolled(d guest.Dirs, n guest.Name) (*guest.Spec, error) {
	if store.Old(d.Spec(n)) {
		if err := store.Enroll(d, n); err != nil {
			return nil, err
		}
	}
	spec, err := state.Load(d, n)
	if err != nil || store.Numbered(spec) {
		return spec, err
	}
	if err := store.Enroll(d, n); err != nil {
		return nil, err
	}
	if spec, err = state.Load(d, n); err == nil && !store.Numbered(spec) {
		err = fmt.Errorf("xid %d: no range of ids: %w", spec.XID, guest.ErrInvalid)
	}
	return spec, err
}

func starting(d guest.Dirs, n guest.Name, spec *guest.Spec, o StartOptions) (*Run, error) {
	if err := files.Whole(d, n, spec); err != nil {
		return nil, err
	}
	o.rescued(spec)
	if err := inside.Rlimits(&guest.Limits{}, &spec.Limits); err != nil {
		return nil, err
	}
	r, err := newRun(d, n, spec, o.Output)
	if err == nil {
		r.rescue = len(o.Rescue) > 0
		r.visited(o.visitor)
		r.await(&o)
	}
	if err == nil {
		err = r.planVolumes()
	}
	if err == nil && o.Wait && o.Stdout != nil && r.spec.Console.Type == guest.ConsoleLog {
		r.front, r.files = true, [2]*os.File{o.Stdout, o.Stderr}
	}
	if err == nil && r.spec.Init.User != "" {
		err = r.becomeUser()
	}
	return r, err
}

// vacate makes sure that the guest does not run and that nothing of an earlier run
// is left. A group that was killed once must go: no process can be born into it any
// more (seen on 6.18: CLONE_INTO_CGROUP into it gives a process that is killed at
// once). What was set while it ran gets into its files now.
func vacate(d guest.Dirs, n guest.Name, spec *guest.Spec) error {
	running, err := settled(d, n)
	if err != nil {
		return err
	}
	if running {
		if err := state.Visited(d, n); err != nil {
			return err
		}
		return guest.ErrRunning
	}
	if err := state.Free(d, n); err != nil {
		return err
	}
	return errors.Join(takeDown(d, n), files.Recover(d, n, func() (*guest.Spec, error) { return spec, nil }), files.Freshen(d, n))
}

// steps is the table of a start; undone backward it is a stop, and the recovery of
// either.
func (r *Run) steps() []step.Step {
	list := []step.Step{{Name: "make " + r.dirs.State(r.name), Do: r.makeState}}
	for _, point := range []string{"initialize", "prepre-start", "pre-start"} {
		list = append(list, r.hooks().Steps(point)...)
	}
	if r.spec.Init.Style == guest.InitSysv {
		list = append(list, step.Step{Name: "clear the guest's /var/run and /var/lock", Do: func(context.Context) error {
			return files.Sweep(r.dirs, r.name, &r.spec)
		}})
	}
	list = append(list, step.Step{Name: "make control group " + r.dirs.Group(r.name), Do: r.makeGroup, Undo: r.removeGroup})
	list = append(list, r.diskStep()...)
	list = append(list,
		r.encloseStep(),
		step.Step{Name: "make console of type " + string(r.spec.Console.Type), Do: r.makeConsole, Undo: r.closeConsole},
		step.Step{Name: "clone first process: " + r.namespaces(), Do: r.clone, Undo: r.abandon},
	)
	list = append(list, r.volumeSteps()...)
	for i, m := range r.mounts {
		list = append(list, r.mountStep(i, m))
	}
	list = append(list, r.viewStep()...)
	list = append(list, step.Step{Name: "wait for the guest's namespaces", Do: r.forked})
	list = append(list, r.networkSteps()...)
	list = append(list, r.rightsSteps()...)
	list = append(list,
		step.Step{Name: "set limits", Do: r.setLimits},
		step.Step{Name: "write " + state.NotePath(r.dirs, r.name), Do: r.writeNote, Undo: r.removeNote})
	if !r.front {
		list = append(list, step.Step{Name: "tell vserverd", Do: r.tell})
	}
	list = append(list, r.tellView()...)
	return append(list, step.Step{Name: "let it run: " + fmt.Sprint(r.plan.Init.Argv), Do: r.release, Undo: r.end})
}

func (r *Run) namespaces() string {
	s := "mount pid uts ipc cgroup time"
	if r.plan.OwnNet {
		s += " net"
	}
	if r.plan.Userns {
		s = fmt.Sprintf("user (ids %d-%d) ", r.plan.Base, r.plan.Base+guest.IDs-1) + s
	}
	return s
}

func (r *Run) makeState(context.Context) error {
	return os.MkdirAll(r.dirs.State(r.name), 0o700)
}

func (r *Run) clone(context.Context) (err error) {
	if r.plan.Userns {
		if r.plan.Proc, err = mount.New("proc", mount.NoSuid|mount.NoDev|mount.NoExec); err != nil {
			return err
		}
		r.proc = os.NewFile(uintptr(r.plan.Proc), "proc")
	}
	err = r.inNetns(func() (err error) {
		r.child, err = spawn.Start(r.plan.Table(), r.plan.Options(r.group.FD()))
		return err
	})
	r.closeJoins()
	if err != nil {
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
	if len(r.volumes) > 0 {
		return nil // they are what it waits for
	}
	return r.child.Open()
}

// abandon ends a child that was not let go. One that runs is ended with its group.
func (r *Run) abandon() error {
	if r.child != nil {
		r.child.Kill()
		r.child.Close()
		r.child = nil
	}
	if r.userns != nil {
		r.userns.Close()
		r.userns = nil
	}
	r.proc.Close() // or is so already, or never was open
	r.closeView()
	r.closeMounts()
	return nil
}

func (r *Run) forked(context.Context) error {
	_, err := r.child.Forked()
	return err
}

func (r *Run) mountStep(i int, m rootfs.Mount) step.Step {
	return step.Step{Name: m.String(), Do: func(context.Context) (err error) {
		if r.fds[i], err = r.makeMount(m); err == nil && m.Kind == rootfs.Pts && r.spec.Console.Type == guest.ConsoleTTY {
			err = r.attachConsole(r.fds[i])
		}
		return err
	}}
}

func (r *Run) makeMount(m rootfs.Mount) (int, error) {
	return m.Make(r.owner())
}

func (r *Run) owner() rootfs.Owner {
	owner := rootfs.Owner{Base: r.plan.Base, Userns: -1}
	if r.userns != nil {
		owner.Userns = int(r.userns.Fd())
	}
	return owner
}

func (r *Run) closeMounts() {
	r.closePlaced()
	for i, fd := range r.fds {
		if fd >= 0 {
			syscall.Close(fd)
			r.fds[i] = -1
		}
	}
}

func (r *Run) writeNote(context.Context) error {
	pid, err := r.child.Forked()
	if err != nil {
		return err
	}
	began, err := state.Born(pid)
	if err != nil {
		return err
	}
	if err := r.note(pid, began).Write(state.NotePath(r.dirs, r.name)); err != nil || r.visit {
		return err
	}
	return r.complain(state.PutRun(r.dirs, r.name, r.spec.XID))
}

func (r *Run) removeNote() error {
	r.complain(state.TakeRun(r.dirs, r.name))
	return errors.Join(state.RemoveNote(state.NotePath(r.dirs, r.name)), reclaim.Forget(r.dirs, r.name))
}

// release sends the child all it waits for and sees it execute the init.
func (r *Run) release(context.Context) error {
	fds := append(slices.Clone(r.fds), r.placed...)
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
	fds, err := r.listen(fds)
	if err != nil {
		return err
	}
	if err := r.child.Send(fds); err != nil {
		return err
	}
	if r.pumps != nil {
		r.pumps.Started()
	}
	taken, err := r.serve()
	if err != nil {
		return err
	}
	err = r.child.Finish()
	if lost := taken(); err == nil {
		err = lost
	}
	if err == nil {
		err = r.bias()
	}
	go r.proc.Close() // whoever is the last to hold it waits for the kernel
	if err == nil && r.told != nil {
		r.complain(r.told.Confirm())
	}
	if err == nil && r.viewed != nil {
		err = r.viewed.Confirm()
	}
	return r.hintInit(err)
}

// bias gives the guest what its spec says of a host that runs out of memory.
func (r *Run) bias() error {
	pid, err := r.child.Forked()
	if err != nil {
		return err
	}
	return inside.Bias(r.group, pid, r.spec.Limits.OOMScoreAdj)
}

// hintInit says why an init cannot be executed.
func (r *Run) hintInit(err error) error {
	switch {
	case errors.Is(err, syscall.ENOENT) && r.spec.Init.Style == guest.InitPlain:
		return fault.Hint(err, "the guest has no "+r.plan.Init.Argv[0]+"; see init.command and init.style in `vserver "+string(r.name)+" config`")
	case errors.Is(err, syscall.ENOEXEC):
		return fault.Hint(err, "no program of this machine's, as `vserver image show` tells; on a host with qemu-user-static and binfmt_misc others run too")
	}
	return err
}

// Close releases what the run held of this process.
func (r *Run) Close() {
	r.closeMounts()
	r.closeJoins()
	r.closeConsole()
	if r.userns != nil {
		r.userns.Close()
	}
	r.proc.Close()
	r.closeView()
	if r.told != nil {
		r.told.Close()
	}
	if r.pumps != nil {
		r.pumps.Close()
	}
	r.scripts.close()
	if r.child != nil {
		r.child.Close()
	}
	if r.group != nil {
		r.group.Close()
	}
}
