package life

import (
	"errors"
	"os"
	"time"

	"vserver/guest"
	"vserver/host/state"
	"vserver/kernel/cgroup"
	"vserver/kernel/file"
)

// unbornWait bounds the wait for processes that have nothing to do but end.
const unbornWait = time.Second

// settled tells whether a guest runs, as state.Runs does, for who holds its lock: processes that
// have executed nothing are of a start that was killed just now, and end when they see that.
func settled(d guest.Dirs, n guest.Name) (running bool, err error) {
	for end := time.Now().Add(unbornWait); ; time.Sleep(time.Millisecond) {
		running, err = state.Runs(d, n)
		if err != nil || !running || time.Now().After(end) {
			return running, err
		}
		if unborn, err := unborn(d, n); err != nil || !unborn {
			return running, err
		}
	}
}

// unborn tells whether no process of a guest's group has executed anything.
func unborn(d guest.Dirs, n guest.Name) (bool, error) {
	cg, err := cgroup.Find()
	if err != nil {
		return false, err
	}
	g, err := cg.Open(d.Group(n))
	if err != nil {
		return errors.Is(err, os.ErrNotExist), file.Gone(err)
	}
	defer g.Close()
	pids, err := g.Procs()
	if err != nil {
		return false, err
	}
	for _, pid := range pids {
		_, executed, err := state.Look(pid)
		if err == nil && executed {
			return false, nil
		}
		if file.Gone(err) != nil {
			return false, err
		}
	}
	return true, nil
}
