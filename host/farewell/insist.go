package farewell

import (
	"context"
	"fmt"
	"syscall"
	"time"

	"vserver/guest"
	"vserver/kernel/cgroup"
)

// Insist sends what is left of the guest one signal after the other, and comes back when
// nothing is left or all were sent.
func (f *Farewell) Insist(ctx context.Context, kills []guest.Kill) error {
	g, err := f.group()
	if g == nil {
		return err
	}
	defer g.Close()
	for _, k := range kills {
		if full, err := g.Populated(); err != nil || !full {
			return err
		}
		if err := everybody(g, k.Signal); err != nil {
			return err
		}
		soon, cancel := context.WithTimeout(ctx, time.Duration(k.Wait))
		err := g.WaitEmpty(soon, f.Pidfd...)
		cancel()
		if err == nil || ctx.Err() != nil {
			return ctx.Err()
		}
	}
	return nil
}

// everybody sends a signal to all processes of a group.
func everybody(g *cgroup.Group, sig guest.Signal) error {
	if syscall.Signal(sig) == syscall.SIGKILL {
		return g.Kill()
	}
	pids, err := g.Procs()
	if err != nil {
		return err
	}
	for _, pid := range pids {
		if err := syscall.Kill(pid, syscall.Signal(sig)); err != nil && err != syscall.ESRCH {
			return fmt.Errorf("signal %v to process %d: %w", sig, pid, err)
		}
	}
	return nil
}
