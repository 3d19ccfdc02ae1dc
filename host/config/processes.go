package config

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"syscall"

	"vserver/fault"
	"vserver/guest"
	"vserver/host/inside"
	"vserver/host/state"
	"vserver/kernel/cred"
	"vserver/kernel/proc"
	"vserver/spawn/freeze"
)

// processed tells the settings that a running guest gets at once, each of its processes.
func processed(path string) bool {
	switch path {
	case rlimitsPath, "limits.nice", "limits.ionice", "limits.oom_score_adj":
		return true
	}
	return false
}

// rlimitsPath is the setting whose single values reprocess says apart.
const rlimitsPath = "limits.rlimits"

// reprocess is one change of what each process of a guest has.
type reprocess struct {
	was     *state.Note
	limits  map[int]guest.Rlimit // to be had, by number
	init    map[int]proc.Rlimit  // what the init has of these
	numbers []number
	undo    []func() error
}

// number is a setting that is a number of each process, or thread.
type number struct {
	name      string
	from, to  int
	ofThreads bool
	set       func(id int, to *int) (int, error)
}

// reprocessed gives the processes of a guest that runs what a spec says of each, if one of
// these paths is among that, and says what the guest gets only when it is started again: that
// a limit is not wanted any more. A process that has chosen another value itself keeps that,
// within the new limits. With an error all is as it was; undo makes it so later.
func reprocessed(d guest.Dirs, n guest.Name, spec *guest.Spec, paths []string) (wait []string, undo func() error, err error) {
	undo = func() error { return nil }
	if !slices.ContainsFunc(paths, processed) {
		return nil, undo, nil
	}
	if running, err := state.Runs(d, n); err != nil || !running {
		return nil, undo, err
	}
	was, err := state.ReadNote(d, n)
	if err != nil || was == nil {
		return nil, undo, err
	}
	if began, err := state.Born(was.PID); err != nil || began != was.Began {
		return nil, undo, errors.Join(err, guest.ErrStopped)
	}
	c := &reprocess{was: was}
	next := *was
	l := spec.Limits
	if slices.Contains(paths, rlimitsPath) {
		if err := inside.Rlimits(&guest.Limits{Rlimits: was.Rlimits, Ceilings: l.Ceilings}, &l); err != nil {
			return nil, undo, err
		}
		if wait, err = c.limited(l.Rlimits); err != nil {
			return nil, undo, err
		}
		next.Rlimits = maps.Clone(was.Rlimits)
		for i, to := range c.limits {
			next.Rlimits[guest.Rlimits()[i]] = to
		}
	}
	next.Nice, next.OOM, next.IONice = l.Nice, l.OOMScoreAdj, l.IONice
	c.numbers = slices.DeleteFunc([]number{
		{"limits.oom_score_adj", was.OOM, l.OOMScoreAdj, false, proc.Badness},
		{"limits.nice", was.Nice, l.Nice, true, proc.Niceness},
		{"limits.ionice", int(was.IONice), int(l.IONice), true, proc.Priority},
	}, func(n number) bool { return n.from == n.to })
	for i, n := range c.numbers {
		if n.from == 0 { // as its starter had it
			if c.numbers[i].from, err = n.set(was.PID, nil); err != nil {
				return nil, undo, fmt.Errorf("%s: %w", n.name, err)
			}
		}
	}
	if err = c.all(d, n); err == nil {
		err = next.Replace(state.NotePath(d, n))
		c.undo = append(c.undo, func() error { return was.Replace(state.NotePath(d, n)) })
	}
	if err != nil {
		return nil, undo, errors.Join(err, c.back())
	}
	return wait, c.back, nil
}

// limited notes which limits are to be had, and what the init has of them. Without
// CAP_SYS_RESOURCE nobody sets those of another user's processes.
func (c *reprocess) limited(want map[string]guest.Rlimit) (wait []string, err error) {
	able := slices.Contains(guest.Capset(cred.Permitted()).Names(), "sys_resource")
	c.limits, c.init = map[int]guest.Rlimit{}, map[int]proc.Rlimit{}
	for i, name := range guest.Rlimits() {
		to, wanted := want[name]
		had, limited := c.was.Rlimits[name]
		changed := wanted && (to != had || !limited) // which may be to nothing
		switch {
		case limited && !wanted, changed && !able:
			wait = append(wait, rlimitsPath+"."+name)
		case changed:
			c.limits[i] = to
			if c.init[i], err = proc.Limit(c.was.PID, i, nil); err != nil {
				return nil, err
			}
		}
	}
	return wait, nil
}

// all goes through the guest's processes, which stand still meanwhile, until there are
// none that it has not seen.
func (c *reprocess) all(d guest.Dirs, n guest.Name) error {
	if len(c.limits)+len(c.numbers) == 0 {
		return nil
	}
	g, err := groupOf(d, n)
	if err != nil {
		return err
	}
	defer g.Close()
	release, err := freeze.Hold(g)
	if errors.Is(err, guest.ErrBusy) { // those that sleep in the kernel do not fork either
		err = nil
	}
	seen := map[int]bool{}
	for more := true; more && err == nil; {
		var pids []int
		pids, err = g.Procs()
		more = false
		for _, pid := range pids {
			if seen[pid] || err != nil {
				continue
			}
			seen[pid], more = true, true
			err = c.one(pid)
		}
	}
	return errors.Join(err, release())
}

// one changes a process. One that has ended is none any more.
func (c *reprocess) one(pid int) error {
	err := c.rlimits(pid)
	for _, n := range c.numbers {
		ids := []int{pid}
		if n.ofThreads && err == nil {
			ids, err = proc.Threads(pid)
		}
		for _, id := range ids {
			if err == nil {
				err = c.number(n, id)
			}
		}
	}
	if errors.Is(err, syscall.ESRCH) || errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if errors.Is(err, fs.ErrPermission) {
		return fault.Hint(err, "vserver check says what root of this host lacks")
	}
	return err
}

func (c *reprocess) number(n number, id int) error {
	now, err := n.set(id, nil)
	if err == nil && now == n.from {
		if _, err = n.set(id, &n.to); err == nil {
			c.undo = append(c.undo, gone(func() error { _, err := n.set(id, &now); return err }))
		}
	}
	if err != nil {
		return fmt.Errorf("%s: %w", n.name, err)
	}
	return nil
}

func (c *reprocess) rlimits(pid int) error {
	for i, want := range c.limits {
		now, err := proc.Limit(pid, i, nil)
		if err == nil {
			to := moved(now, c.init[i], want)
			if _, err = proc.Limit(pid, i, &to); err == nil {
				c.undo = append(c.undo, gone(func() error { _, err := proc.Limit(pid, i, &now); return err }))
			}
		}
		if err != nil {
			return fmt.Errorf("%s.%s: %w", rlimitsPath, guest.Rlimits()[i], err)
		}
	}
	return nil
}

// moved is what a process gets of a limit of which it has now, and the guest's init has
// had another: who has lowered it for himself has no more than that.
func moved(now, init proc.Rlimit, to guest.Rlimit) proc.Rlimit {
	hard, soft := to.Hard, to.Soft
	if now.Hard < init.Hard {
		hard = min(hard, now.Hard)
	}
	if now.Soft != init.Soft {
		soft = now.Soft
	}
	return proc.Rlimit{Soft: min(soft, hard), Hard: hard}
}

// gone takes it as done when the process has ended.
func gone(do func() error) func() error {
	return func() error {
		if err := do(); !errors.Is(err, syscall.ESRCH) && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return nil
	}
}

// back makes all as it was, last things first.
func (c *reprocess) back() (err error) {
	for _, undo := range slices.Backward(c.undo) {
		err = errors.Join(err, undo())
	}
	return err
}
