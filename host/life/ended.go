package life

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"vserver/fault"
	"vserver/guest"
	"vserver/host/files"
	"vserver/host/state"
	"vserver/kernel/cgroup"
	"vserver/limit"
	"vserver/step"
	"vserver/vcontext/elder"
)

// killWait bounds how long killed processes are waited for, twice in a stop. They go at
// once, unless the kernel holds one in the middle of something.
const killWait = 5 * time.Second

// Ended takes down what a guest left that has ended by itself, and records how. The
// error is guest.ErrStopped when the end was asked for by a stop, or has been taken
// care of already: then nobody should start the guest again. Else that is allowed until
// somebody stops the guest, see state.Again.
func Ended(d guest.Dirs, n guest.Name, exit guest.Exit) error {
	unlock, err := state.Lock(d, n)
	if err != nil {
		return fault.New(string(n), "end", err)
	}
	defer unlock()
	was, err := state.ReadNote(d, n)
	if err != nil || was == nil {
		return errors.Join(err, guest.ErrStopped)
	}
	if running, err := state.Runs(d, n); err != nil || running {
		return fault.New(string(n), "end", errors.Join(err, guest.ErrRunning))
	}
	if was.Stopping {
		exit.Reason = guest.StoppedBy
	}
	if err := takeDownAs(d, n, &exit); err != nil {
		return fault.New(string(n), "end", err)
	}
	if was.Stopping {
		return guest.ErrStopped
	}
	return state.AllowAgain(d, n)
}

// Hooked tells whether programs of the host's are to run after a guest's end, and whether
// one of them does what else vserverd would do, which is to start the guest again.
func Hooked(d guest.Dirs, n guest.Name, why guest.Reason) (hooked, helped bool) {
	r, err := remains(d, n)
	if err != nil {
		return false, false
	}
	return r.hooked(why)
}

func (r *Run) hooked(why guest.Reason) (hooked, helped bool) {
	helped = r.hooks().Helped(why)
	return helped || len(r.after()) > 0, helped
}

// After runs them for a guest that ended by itself: a stop runs hooks itself.
func After(ctx context.Context, d guest.Dirs, n guest.Name, why guest.Reason, output io.Writer) error {
	r, err := remains(d, n)
	if err != nil {
		return err
	}
	r.output = output
	if err := r.runAfter(ctx); err != nil {
		return err
	}
	return r.hooks().Help(ctx, why) // which may start it
}

func (r *Run) runAfter(ctx context.Context) error {
	unlock, err := state.Lock(r.dirs, r.name)
	if err != nil {
		return err
	}
	defer unlock()
	if running, err := state.Runs(r.dirs, r.name); err != nil || running {
		return err // it was started meanwhile
	}
	return step.Run(ctx, "end", r.after())
}

// after is what of the table of a stop is done when nothing of the guest is left.
func (r *Run) after() []step.Step {
	return slices.Concat(r.hooks().Steps("post-stop"), r.hooks().Steps("postpost-stop"))
}

// cleared undoes the steps of a start after the guest's end and records the end.
func (r *Run) cleared(exit *guest.Exit) error {
	unlock, leave, err := state.LockToLeave(r.dirs, r.name)
	if err != nil {
		return err
	}
	defer unlock()
	if exit == nil {
		return step.Undo(r.steps())
	}
	held := slices.DeleteFunc(slices.Clone(r.fds), func(fd int) bool { return fd < 0 })
	for i := range r.fds {
		r.fds[i] = -1
	}
	defer linger(held, leave)
	if was, err := state.ReadNote(r.dirs, r.name); err == nil && was != nil && was.Stopping {
		exit.Reason = guest.StoppedBy
	}
	return errors.Join(state.RecordExit(r.dirs, r.name, *exit), step.Undo(r.steps()))
}

// Halted refuses a guest of which a process is left, and takes down what is left of one
// that ended when nobody saw it.
func Halted(d guest.Dirs, n guest.Name) error {
	running, err := state.Runs(d, n)
	if err != nil {
		return err
	}
	if running {
		return fault.Hint(guest.ErrRunning, "vserver "+string(n)+" stop")
	}
	if err := state.Free(d, n); err != nil {
		return err
	}
	return errors.Join(takeDown(d, n), recovered(d, n))
}

// recovered finishes what somebody who was killed left of the guest's files on their way.
func recovered(d guest.Dirs, n guest.Name) error {
	broken := false
	err := files.Recover(d, n, func() (*guest.Spec, error) {
		spec, err := state.Load(d, n)
		broken = err != nil
		return spec, err
	})
	if broken {
		return nil // of a guest that is half removed: it cannot start
	}
	return err
}

// takeDown takes down what is left of a run that nobody saw the end of. The caller
// holds the guest's lock and knows that it does not run.
func takeDown(d guest.Dirs, n guest.Name) error {
	was, err := state.ReadNote(d, n)
	if was == nil && err == nil {
		// A start that was killed before it wrote the note leaves its group at most.
		if left, err := state.Grouped(d, n); err != nil || !left {
			return err
		}
	}
	if was == nil {
		return takeDownAs(d, n, nil)
	}
	reason := guest.Unknown
	if was.Stopping {
		reason = guest.StoppedBy
	}
	return takeDownAs(d, n, &guest.Exit{Reason: reason, Time: time.Now()})
}

func takeDownAs(d guest.Dirs, n guest.Name, exit *guest.Exit) error {
	r, err := remains(d, n)
	if err != nil {
		return err
	}
	if exit != nil && !r.visit {
		if err := state.RecordExit(d, n, *exit); err != nil {
			return err
		}
	}
	return step.Undo(r.steps())
}

// remains gives the table of a guest's start for undoing it.
func remains(d guest.Dirs, n guest.Name) (*Run, error) {
	spec, sure := state.Started(d, n)
	r, err := newRun(d, n, spec, nil)
	if err != nil {
		return nil, err
	}
	r.net.Any = !sure
	if was, err := state.ReadNote(d, n); err == nil && was != nil {
		r.visit = was.Visit
	}
	return r, nil
}

// removeGroup ends what is left in a guest's group and removes it, with the groups
// that hold its limits. When something is stuck in the kernel the error tells what and
// where.
func removeGroup(d guest.Dirs, cg cgroup.Host, n guest.Name) error {
	g, err := cg.Open(d.Group(n))
	if errors.Is(err, os.ErrNotExist) {
		return errors.Join(limit.Remove(cg, d.Group(n)), elder.Remove(d, n))
	}
	if err != nil {
		return err
	}
	defer g.Close()
	if err := killAll(g); err != nil {
		return err
	}
	if err := errors.Join(limit.Remove(cg, d.Group(n)), elder.Remove(d, n)); err != nil {
		return err
	}
	return g.Remove()
}

// end kills what runs of the guest. It comes before its network goes, so that whoever it
// is connected to hears of the end; what is stuck in the kernel does not keep the network.
func (r *Run) end() error {
	g, err := r.cg.Open(r.dirs.Group(r.name))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer g.Close()
	if err := killAll(g); !errors.Is(err, guest.ErrBusy) {
		return err
	}
	return nil // removeGroup says so
}

// killAll ends every process of a group and waits for it.
func killAll(g *cgroup.Group) error {
	if full, err := g.Occupied(); err != nil || !full {
		return err
	}
	if err := g.Kill(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), killWait)
	defer cancel()
	err := g.WaitEmpty(ctx)
	if err == nil || ctx.Err() == nil {
		return err
	}
	return fmt.Errorf("processes outlive SIGKILL: %s: %w", stuck(g), guest.ErrBusy)
}

// stuck tells which processes of a group cannot die, and where in the kernel they
// are.
func stuck(g *cgroup.Group) string {
	pids, err := g.Procs()
	if err != nil {
		return err.Error()
	}
	var out []string
	for _, pid := range pids {
		read := func(file string) string {
			text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, file))
			return strings.TrimSpace(string(text))
		}
		where := read("wchan")
		if stack := read("stack"); stack != "" {
			where += " (" + strings.Join(strings.Split(stack, "\n"), ", ") + ")"
		}
		out = append(out, fmt.Sprintf("%d %s in %s", pid, read("comm"), where))
	}
	return strings.Join(out, "; ")
}

// killGroup ends every process of the guest.
func killGroup(d guest.Dirs, cg cgroup.Host, n guest.Name) error {
	g, err := cg.Open(d.Group(n))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer g.Close()
	return g.Kill()
}
