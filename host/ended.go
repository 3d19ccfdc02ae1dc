package host

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"vserver/fault"
	"vserver/guest"
	"vserver/kernel/cgroup"
	"vserver/limit"
	"vserver/step"
)

// killWait bounds how long killed processes are waited for. They go at once, unless
// the kernel holds one in the middle of something.
const killWait = 10 * time.Second

// Ended takes down what a guest left that has ended by itself, and records how. The
// error is guest.ErrStopped when the end was asked for by a stop, or has been taken
// care of already: then nobody should start the guest again.
func (h *Host) Ended(n guest.Name, exit guest.Exit) error {
	unlock, err := h.lock(n)
	if err != nil {
		return fault.New(string(n), "end", err)
	}
	defer unlock()
	was, err := h.readNote(n)
	if err != nil || was == nil {
		return errors.Join(err, guest.ErrStopped)
	}
	if running, err := h.runs(n); err != nil || running {
		return fault.New(string(n), "end", errors.Join(err, guest.ErrRunning))
	}
	if was.Stopping {
		exit.Reason = guest.StoppedBy
	}
	if err := h.takeDownAs(n, &exit); err != nil {
		return fault.New(string(n), "end", err)
	}
	if was.Stopping {
		return guest.ErrStopped
	}
	return nil
}

// cleared undoes the steps of a start after the guest's end and records the end.
func (r *run) cleared(exit *guest.Exit) error {
	unlock, leave, err := r.h.lockToLeave(r.name)
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
	if was, err := r.h.readNote(r.name); err == nil && was != nil && was.Stopping {
		exit.Reason = guest.StoppedBy
	}
	return errors.Join(r.h.recordExit(r.name, *exit), step.Undo(r.steps()))
}

// takeDown takes down what is left of a run that nobody saw the end of. The caller
// holds the guest's lock and knows that it does not run.
func (h *Host) takeDown(n guest.Name) error {
	was, err := h.readNote(n)
	if was == nil && err == nil {
		// A start that was killed before it wrote the note leaves its group at most.
		if left, err := h.groupExists(n); err != nil || !left {
			return err
		}
	}
	if was == nil {
		return h.takeDownAs(n, nil)
	}
	reason := guest.Unknown
	if was.Stopping {
		reason = guest.StoppedBy
	}
	return h.takeDownAs(n, &guest.Exit{Reason: reason, Time: time.Now()})
}

func (h *Host) groupExists(n guest.Name) (bool, error) {
	cg, err := cgroup.Find()
	if err != nil {
		return false, err
	}
	return exists(filepath.Join(cg.Unified.Mount, h.group(n)))
}

func (h *Host) takeDownAs(n guest.Name, exit *guest.Exit) error {
	r, err := h.remains(n)
	if err != nil {
		return err
	}
	if exit != nil {
		if err := h.recordExit(n, *exit); err != nil {
			return err
		}
	}
	return step.Undo(r.steps())
}

// remains gives the table of a guest's start for undoing it. A spec that can no
// longer be read does not keep a guest from being taken down: what is undone follows
// from name and note.
func (h *Host) remains(n guest.Name) (*run, error) {
	spec, err := h.Load(n)
	was, noteErr := h.readNote(n)
	noted := noteErr == nil && was != nil
	if err != nil {
		spec = &guest.Spec{}
		if noted {
			spec.XID = was.XID
		}
	}
	if noted && was.Mode != "" { // the spec may have changed meanwhile
		spec.Network.Mode, spec.Network.Addresses = was.Mode, was.Addrs
	}
	r, err := h.newRun(n, spec, nil)
	if err == nil {
		r.anyNet = !noted || was.Mode == ""
	}
	return r, err
}

// removeGroup ends what is left in a guest's group and removes it, with the groups
// that hold its limits. When something is stuck in the kernel the error tells what and
// where.
func (h *Host) removeGroup(cg cgroup.Host, n guest.Name) error {
	g, err := cg.Open(h.group(n))
	if errors.Is(err, os.ErrNotExist) {
		return limit.Remove(cg, h.group(n))
	}
	if err != nil {
		return err
	}
	defer g.Close()
	full, err := g.Occupied()
	if err != nil {
		return err
	}
	if full {
		if err := h.killAll(g); err != nil {
			return err
		}
	}
	if err := limit.Remove(cg, h.group(n)); err != nil {
		return err
	}
	return g.Remove()
}

// killAll ends every process of a group and waits for it.
func (h *Host) killAll(g *cgroup.Group) error {
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
