package cli

import (
	"context"
	"errors"

	"github.com/spf13/cobra"

	"vserver/guest"
	"vserver/host"
)

type restartFlags struct {
	stopFlags
	readiness
	onlyRunning bool
	silent      bool
}

func newRestart(t *tool) *cobra.Command {
	return newRestarter(t, "restart", `
Stops guests and starts them again. One that does not run is started. One that would not start,
as its settings or the host's network tell beforehand, is not stopped.`, false)
}

func newCondrestart(t *tool) *cobra.Command {
	return newRestarter(t, "condrestart", `
Stops and starts again those of the guests that run, and leaves the others alone.`, true)
}

// newRestarter makes restart and condrestart, which differ in what they do with a
// guest that does not run.
func newRestarter(t *tool, verb, long string, onlyRunning bool) *cobra.Command {
	f := restartFlags{onlyRunning: onlyRunning}
	c := command(verb+" NAME... [OPTION...]", long, `
vserver `+verb+` web1
vserver `+verb+` --all --wait-ready`,
		func(ctx context.Context, args []string) error { return t.restart(ctx, f, args) })
	f.stopFlags.flags(c)
	f.readiness.flags(c.Flags())
	defaultTTY(c, &f.silent)
	return c
}

// restart stops all guests and then starts those that may be started, each half in
// the order of boot.depends.
func (t *tool) restart(ctx context.Context, f restartFlags, args []string) error {
	names, unread := t.pick(f.selection, args)
	if len(names) == 0 {
		return unread
	}
	stopped := make(chan guest.Name, len(names))
	w := t.newWaiting()
	err := t.inOrder(ctx, names, dependsLast, func(ctx context.Context, n guest.Name) error {
		if err := t.startable(n, len(names) > 1); err != nil {
			return err
		}
		err := t.end(ctx, f.stopFlags, w, n)
		switch {
		case errors.Is(err, guest.ErrStopped) && f.onlyRunning:
			return nil
		case err == nil || errors.Is(err, guest.ErrStopped):
			stopped <- n
			return nil
		}
		return err
	})
	close(stopped)
	var again []guest.Name
	for n := range stopped {
		again = append(again, n)
	}
	if len(again) == 0 {
		return join(unread, err)
	}
	t.verb = "start" // and none of them runs
	return join(unread, err, t.inOrder(ctx, again, dependsFirst, func(ctx context.Context, n guest.Name) error {
		return t.startOne(ctx, startFlags{readiness: f.readiness, silent: f.silent || len(again) > 1}, n)
	}))
}

// startable tells whether a guest that runs would start again. What another guest has may be
// free by then, when that one is to end too.
func (t *tool) startable(n guest.Name, others bool) error {
	err := host.Check(t.host, n)
	if errors.Is(err, guest.ErrStopped) || others && errors.Is(err, guest.ErrBusy) {
		return nil
	}
	return err
}
