package cli

import (
	"context"
	"errors"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"vserver/guest"
	"vserver/host"
)

type startFlags struct {
	selection
	readiness
	wait, dry          bool
	rescue, rescueInit bool
	rescueCmd          string // of old
	command            []string
	silent             bool // what its runlevel scripts print is for its log alone
}

func newStart(t *tool) *cobra.Command {
	var f startFlags
	c := command("start NAME... [OPTION...]", `
Starts guests and comes back when their inits run. A guest that runs already is
left alone. When a step fails, all steps before it are undone.

A guest of style sysv has no init: the command comes back when its runlevel scripts are
done. What they print is shown, for one guest, and kept in its log. When they fail the exit
code is theirs, and what runs then runs on. Interrupted, the command leaves them at work.

With --wait the guest stays in the foreground until it has ended, and the exit
code is that of its init. With --wait-ready the command comes back when the guest
is ready for work: when its systemd has started everything, or its runlevel scripts are
done. Any other init is ready as soon as it runs.

Several guests start in parallel; a guest waits for those among them that its
boot.depends names.

With --rescue the guest runs the command behind its name in the place of its init, or
/bin/sleep 900: for repairs by vserver enter, or for one command with --wait. Options
of the command stand behind --.`, `
vserver start web1
vserver web1 start --dry-run
vserver start --mark default
vserver web1 start --rescue
vserver web1 start --wait --rescue -- /sbin/fsck -n /dev/vdb`,
		func(ctx context.Context, args []string) error { return t.start(ctx, f, args) })
	f.selection.flags(c)
	f.readiness.flags(c.Flags())
	c.Flags().BoolVarP(&f.wait, "wait", "w", false, "stay until the guest has ended; its exit code is ours")
	c.Flags().BoolVarP(&f.dry, "dry-run", "n", false, "print the steps and take none")
	c.Flags().BoolVar(&f.rescue, "rescue", false, "run a command in the place of the guest's init")
	c.Flags().BoolVar(&f.rescueInit, "rescue-init", false, "with --rescue: the command itself is process 1")
	c.Flags().StringVar(&f.rescueCmd, "rescue-cmd", "", "")
	c.Flags().Lookup("rescue-cmd").Hidden = true
	defaultTTY(c, &f.silent)
	if t.subject != "" { // options behind the first word are the command's
		c.Flags().SetInterspersed(false)
	}
	return c
}

// defaultTTY adds the option by which the old script had what scripts print elsewhere than on
// the terminal.
func defaultTTY(c *cobra.Command, silent *bool) {
	c.Flags().BoolVar(silent, "defaulttty", false, "")
	c.Flags().Lookup("defaulttty").Hidden = true
}

// start starts guests.
func (t *tool) start(ctx context.Context, f startFlags, args []string) error {
	if f.rescue || f.rescueCmd != "" {
		var err error
		if args, err = f.rescued(t.subject, args); err != nil {
			return err
		}
	} else if f.rescueInit {
		return usageHint("vserver start --help", "--rescue-init goes with --rescue")
	}
	names, unread := t.pick(f.selection, args)
	if len(names) == 0 {
		return unread
	}
	if f.dry {
		return t.plans(names, t.host.PlanStart)
	}
	if f.wait && len(names) > 1 {
		return usagef("--wait is for one guest")
	}
	f.silent = f.silent || len(names) > 1
	return join(unread, t.inOrder(ctx, names, dependsFirst, func(ctx context.Context, n guest.Name) error {
		return t.startOne(ctx, f, n)
	}))
}

// rescued takes the command of a rescue from the words, and gives the rest of them.
func (f *startFlags) rescued(subject string, args []string) (rest []string, err error) {
	if subject == "" && len(args) > 0 {
		rest, args = args[:1], args[1:]
	}
	switch {
	case f.rescueCmd != "" && len(args) > 0:
		return nil, usageHint("vserver start --help", "--rescue-cmd, and a command as well")
	case f.rescueCmd != "":
		f.command = []string{"/bin/sh", "-c", f.rescueCmd}
	case len(args) > 0:
		f.command = args
	default:
		f.command = []string{"/bin/sleep", "900"}
	}
	if f.rescueInit && !strings.HasPrefix(f.command[0], "/") {
		return nil, usagef("--rescue-init %s: want the path of a program in the guest", f.command[0])
	}
	return rest, nil
}

// startOne starts one guest. That it runs already is as good.
func (t *tool) startOne(ctx context.Context, f startFlags, n guest.Name) error {
	var console io.Writer = t.out
	switch {
	case f.silent:
		console = io.Discard
	case t.json:
		console = t.err
	}
	ctx, cancel := f.within(ctx)
	defer cancel()
	exit, err := t.host.Start(ctx, n, host.StartOptions{
		Wait: f.wait, Stdout: t.out.File, Stderr: t.err, Output: t.err, Rescue: f.command, RescueInit: f.rescueInit,
		Console: console, Patience: patience,
	})
	if errors.Is(err, guest.ErrRunning) && !f.wait {
		if !f.several() {
			t.warn(n, "runs already")
		}
		err = nil
	}
	var scripts *host.ScriptsError
	switch {
	case errors.As(err, &scripts) && scripts.Code > 0:
		return coded{err, scripts.Code}
	case err != nil:
		return f.late(n, err)
	case f.wait:
		return exitOf(exit)
	case f.ready:
		return f.late(n, t.awaitReady(ctx, n, f.readiness))
	}
	return nil
}

// exitOf is a guest's end as an exit code, as a shell gives a command's: the
// init's own, or 128 and the signal that ended it.
func exitOf(e *guest.Exit) error {
	if e == nil || e.Reason == guest.Halted || e.Reason == guest.Rebooted || e.Reason == guest.StoppedBy {
		return nil
	}
	if e.Reason == guest.Signalled {
		var sig guest.Signal
		if sig.UnmarshalText([]byte(e.Signal)) == nil {
			return code(128 + int(sig))
		}
		return code(exitFailed)
	}
	if e.Code == 0 {
		return nil
	}
	return code(e.Code)
}

// readiness is how long to wait until a guest is ready.
type readiness struct {
	ready   bool
	timeout guest.Duration
	ssh     bool // an sshd must answer
}

// flags adds --wait-ready and --ready-timeout.
func (r *readiness) flags(flags *pflag.FlagSet) {
	flags.BoolVarP(&r.ready, "wait-ready", "r", false, "come back when the guest is ready for work")
	flags.TextVar(&r.timeout, "ready-timeout", guest.Duration(2*time.Minute), "`TIME` that --wait-ready waits at most")
}
