package host

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"vserver/fault"
	"vserver/guest"
	"vserver/kernel/cgroup"
	"vserver/ncontext"
	"vserver/ncontext/shared"
	"vserver/step"
)

// Stop ends a guest: its own way first, by force when its time is up. It always ends
// itself. The error is guest.ErrStopped when the guest does not run.
func (h *Host) Stop(ctx context.Context, n guest.Name, o StopOptions) error {
	err := h.stop(ctx, n, o)
	if err == nil || errors.Is(err, guest.ErrStopped) {
		// vserverd, which stays for a while, does it when it ends: who starts again soon
		// should not have to attach programs anew (some 20 ms).
		if awake, _ := exists(h.Dirs.Socket()); !awake || !shared.Attached(h.Dirs) {
			err = errors.Join(h.Prune(), err)
		}
	}
	return fault.New(string(n), "stop", err)
}

// Prune removes what stands for all guests, when there is none: the group above theirs,
// the programs of the shared network, the packet filter's table. That the group is not
// empty is no error. It is not part of a guest's end: who starts again at once should
// find it.
func (h *Host) Prune() error {
	cg, err := cgroup.Find()
	if err != nil {
		return err
	}
	if err := cg.Unified.Prune(h.Dirs.Cgroup); err != nil {
		return err
	}
	if there, err := exists(filepath.Join(cg.Unified.Mount, h.Dirs.Cgroup)); there || err != nil {
		return err
	}
	return errors.Join(shared.Detach(h.Dirs), ncontext.Prune())
}

func (h *Host) stop(ctx context.Context, n guest.Name, o StopOptions) error {
	if _, err := os.Stat(h.Dirs.Spec(n)); err != nil {
		if running, _ := h.runs(n); !running {
			return guest.ErrNotFound
		}
	}
	unlock, leave, err := h.lockToLeave(n)
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
	defer r.held.linger(leave)
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
			err := r.ask(ctx, o.Timeout)
			r.deaf = err != nil
			if ctx.Err() != nil {
				return ctx.Err()
			}
			return r.complain(err)
		}}, step.Step{Name: fmt.Sprintf("wait for it, %v at most", o.Timeout), Do: func(ctx context.Context) error {
			return r.await(ctx, o)
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
