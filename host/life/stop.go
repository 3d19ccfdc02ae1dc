package life

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"time"

	"vserver/daemon/proto"
	"vserver/guest"
	"vserver/host/apart"
	"vserver/host/farewell"
	"vserver/host/state"
	"vserver/kernel/cgroup"
	"vserver/kernel/file"
	"vserver/ncontext"
	"vserver/ncontext/shared"
	"vserver/step"
	"vserver/store"
)

// StopOptions are the ways to stop a guest.
type StopOptions struct {
	// Timeout bounds the guest's own way of ending; 0 takes it from the spec.
	Timeout time.Duration
	// Kill leaves the guest no time at all.
	Kill   bool
	Output io.Writer
	// Patience is how long to wait for another operation on the guest, if longer than usual.
	Patience time.Duration
	// Waiting, when not nil, is told once a second what a stop waits for.
	Waiting func(farewell.Waiting)

	init int // of the visit that is to end, and nothing that came after it
}

// Stop ends a guest: its own way first, by force when its time is up. It always ends
// itself. The error is guest.ErrStopped when the guest does not run.
func Stop(ctx context.Context, d guest.Dirs, n guest.Name, o StopOptions) error {
	err := stop(ctx, d, n, o)
	if err == nil || errors.Is(err, guest.ErrStopped) {
		err = errors.Join(Leave(d), err)
	}
	return err
}

// Leave is Prune, for who has ended a guest or a context. vserverd, which stays for a
// while, does it when it ends: who starts again soon should not have to attach programs
// anew (some 20 ms).
func Leave(d guest.Dirs) error {
	if proto.Awake(d) && shared.Attached(d) {
		return nil
	}
	return Prune(d)
}

// Prune removes what stands for all guests, when there is none: the group above theirs,
// the programs of the shared network, the packet filter's table. That the group is not
// empty is no error. It is not part of a guest's end: who starts again at once should
// find it.
func Prune(d guest.Dirs) error {
	cg, err := cgroup.Find()
	if err != nil {
		return err
	}
	_, err = apart.Sweep(d)
	if err = errors.Join(err, cg.Unified.Prune(d.Cgroup)); err != nil {
		return err
	}
	if there, err := file.Exists(filepath.Join(cg.Unified.Mount, d.Cgroup)); there || err != nil {
		return err
	}
	return errors.Join(shared.Prune(d), ncontext.Prune())
}

func stop(ctx context.Context, d guest.Dirs, n guest.Name, o StopOptions) error {
	if there, err := store.Exists(d.Spec(n)); err != nil || !there {
		if running, _ := state.Runs(d, n); !running {
			return guest.ErrNotFound
		}
	}
	unlock, leave, err := state.LockWithin(ctx, d, n, o.Patience, late(n, o.Output))
	if err != nil {
		return err
	}
	defer unlock()
	if o.init != 0 {
		if was, err := state.ReadNote(d, n); err == nil && (was == nil || was.PID != o.init) {
			return guest.ErrStopped
		}
	}
	running, err := state.Runs(d, n)
	if err != nil {
		return err
	}
	if !running {
		return errors.Join(takeDown(d, n), leftAlone(d, n))
	}
	r, err := remains(d, n)
	if err != nil {
		return err
	}
	if o.Output != nil {
		r.output = o.Output
	}
	if o.Timeout == 0 {
		o.Timeout = time.Duration(r.spec.Init.StopTimeout)
	}
	if !o.Kill {
		r.complain(r.thaw())
	}
	r.hold()
	defer r.held.linger(leave)
	return step.Run(ctx, "stop", r.stopping(o))
}

// thaw lets a guest go on that stands still, or it could not end its own way.
func (r *Run) thaw() error {
	g, err := r.cg.Open(r.dirs.Group(r.name))
	if err != nil {
		return err
	}
	defer g.Close()
	if asked, err := g.Read("cgroup.freeze"); err != nil || asked != "1" {
		return err
	}
	return g.Freeze(false)
}

// leftAlone keeps vserverd from starting a guest again that does not run. The error is
// guest.ErrStopped when it was not about to.
func leftAlone(d guest.Dirs, n guest.Name) error {
	at, _, err := state.Again(d, n)
	if err == nil && at.IsZero() {
		err = guest.ErrStopped
	}
	return errors.Join(err, state.ForgetAgain(d, n))
}

// PlanStop gives the steps of a stop without taking any.
func PlanStop(d guest.Dirs, n guest.Name) ([]step.Step, error) {
	if _, err := state.Load(d, n); err != nil {
		return nil, err
	}
	r, err := remains(d, n)
	if err != nil {
		return nil, err
	}
	return r.stopping(StopOptions{Timeout: time.Duration(r.spec.Init.StopTimeout)}), nil
}

// stopping is the table of a stop: asking, waiting, and then the table of the start
// backward.
func (r *Run) stopping(o StopOptions) []step.Step {
	list := append([]step.Step{{Name: "note that the end is asked for", Do: r.markStopping}}, r.hooks().Steps("pre-stop")...)
	if !o.Kill {
		f := &farewell.Farewell{
			Dirs: r.dirs, Name: r.name, Init: &r.spec.Init, Limit: o.Timeout, Pidfd: r.held.pidfd,
			Say: func(err error) { r.complain(err) }, Waiting: o.Waiting,
		}
		list = append(list, step.Step{Name: "ask the init to end", Do: func(ctx context.Context) error {
			err := f.Ask(ctx)
			if ctx.Err() != nil {
				return ctx.Err()
			}
			return r.complain(err)
		}}, step.Step{Name: fmt.Sprintf("wait for it, %v at most", o.Timeout), Do: f.Await})
		if kills, err := guest.ParseKills(r.spec.Init.KillSequence); err == nil && len(kills) > 0 {
			list = append(list, step.Step{Name: "signals for what is left: " + strings.Join(r.spec.Init.KillSequence, " "),
				Do: func(ctx context.Context) error { return f.Insist(ctx, kills) }})
		}
	}
	list = append(list, step.Step{Name: "record the end", Do: r.recordStop})
	forward := r.steps()
	for i := len(forward) - 1; i >= 0; i-- {
		if undo := forward[i].Undo; undo != nil {
			list = append(list, step.Step{Name: "undo: " + forward[i].Name, Do: func(context.Context) error { return undo() }})
		}
	}
	return append(list, r.after()...)
}

// A guest can be stopped while nothing can be noted, as on a full /run.
func (r *Run) markStopping(context.Context) error {
	was, err := state.ReadNote(r.dirs, r.name)
	if err != nil || was == nil {
		return r.complain(err)
	}
	was.Stopping = true
	return r.complain(was.Replace(state.NotePath(r.dirs, r.name)))
}

// recordStop leaves the end of a guest that was killed, or ended as asked.
func (r *Run) recordStop(context.Context) error {
	if r.visit {
		return nil
	}
	return r.complain(state.RecordExit(r.dirs, r.name, guest.Exit{Reason: guest.StoppedBy, Time: time.Now()}))
}
