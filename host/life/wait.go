package life

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"time"

	"vserver/guest"
)

// Leave lets the guest run without us, when its scripts are done, where those are waited for.
func (r *Run) Leave(ctx context.Context) error {
	if r.awaits() {
		return r.awaitScripts(ctx)
	}
	go r.child.Reap() // should we live that long, it must not stay a zombie
	return nil
}

// Wait waits until the guest has ended, takes down what is left of it, and gives the
// init's exit. When ctx ends so does the guest.
func (r *Run) Wait(ctx context.Context) (*guest.Exit, error) {
	defer r.attendHere()()
	exit, err := r.wait(ctx)
	err = errors.Join(err, r.cleared(exit))
	if err != nil || exit.Reason == guest.StoppedBy {
		return exit, err
	}
	if hooked, _ := r.hooked(exit.Reason); hooked {
		err = After(context.WithoutCancel(ctx), r.dirs, r.name, exit.Reason, r.output)
	}
	return exit, err
}

// wait waits for the init, which is this process's child.
func (r *Run) wait(ctx context.Context) (*guest.Exit, error) {
	pid, err := r.child.Forked()
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { killGroup(r.dirs, r.cg, r.name) })
	defer stop()
	ws, err := r.child.Wait()
	if err != nil {
		return nil, fmt.Errorf("process %d: %w", pid, err)
	}
	if r.pumps != nil {
		r.pumps.Drain()
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
