package cli

import (
	"context"
	"errors"
	"time"

	"github.com/spf13/cobra"

	"vserver/fault"
	"vserver/guest"
	"vserver/host"
)

type stopFlags struct {
	selection
	timeout   guest.Duration
	kill, dry bool
}

// flags adds what stop and restart have in common.
func (f *stopFlags) flags(c *cobra.Command) {
	f.selection.flags(c)
	c.Flags().TextVarP(&f.timeout, "timeout", "t", guest.Duration(0),
		"`TIME` the guest may take to end by itself (init.stop_timeout)")
	c.Flags().BoolVarP(&f.kill, "kill", "k", false, "leave the guest no time at all")
}

func newStop(t *tool) *cobra.Command {
	var f stopFlags
	c := command("stop NAME... [OPTION...]", `
Stops guests: the init is asked in its own way, then, when its time is over, every
process of the guest is killed, and all that was set up for it is taken down. A
stop always ends; what is stuck in the kernel is named. A guest that does not run
is only cleaned up after.

Several guests stop in parallel; a guest waits for those among them whose
boot.depends name it.`, `
vserver stop web1
vserver web1 stop --timeout 10s
vserver stop --all`,
		func(ctx context.Context, args []string) error { return t.stop(ctx, f, args) })
	f.flags(c)
	c.Flags().BoolVarP(&f.dry, "dry-run", "n", false, "print the steps and take none")
	c.Flags().Bool("rescue-init", false, "") // of old: how a guest was started is known
	c.Flags().Lookup("rescue-init").Hidden = true
	return c
}

// stop stops guests.
func (t *tool) stop(ctx context.Context, f stopFlags, args []string) error {
	names, unread := t.pick(f.selection, args)
	if len(names) == 0 {
		return unread
	}
	if f.dry {
		return t.plans(names, t.host.PlanStop)
	}
	w := t.newWaiting()
	return join(unread, t.inOrder(ctx, names, dependsLast, func(ctx context.Context, n guest.Name) error {
		return t.stopOne(ctx, f, w, n)
	}))
}

// patience is how long a start and a stop wait for another one of the guest, as they did in
// Linux-VServer.
const patience = 5 * time.Minute

// stopOne stops one guest. That it does not run is as good.
func (t *tool) stopOne(ctx context.Context, f stopFlags, w *waiting, n guest.Name) error {
	err := t.end(ctx, f, w, n)
	if errors.Is(err, guest.ErrStopped) {
		if !f.several() {
			t.warn(n, "does not run")
		}
		return nil
	}
	return err
}

// end has the host stop a guest.
func (t *tool) end(ctx context.Context, f stopFlags, w *waiting, n guest.Name) error {
	err := t.host.Stop(ctx, n, w.options(n, host.StopOptions{Timeout: time.Duration(f.timeout), Kill: f.kill, Patience: patience}))
	w.done(n)
	if ctx.Err() != nil {
		err = fault.Hint(err, "its init was asked to end and may yet; vserver stop "+string(n)+" --kill ends it now")
	}
	return err
}
