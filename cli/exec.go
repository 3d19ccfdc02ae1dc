package cli

import (
	"context"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"vserver/guest"
	"vserver/host"
	"vserver/kernel/solo"
)

type execFlags struct {
	tty  bool
	user string
	dir  string
	env  []string

	stopped bool
}

// flags adds what exec, suexec and enter have in common.
func (f *execFlags) flags(flags *pflag.FlagSet) {
	flags.StringVarP(&f.dir, "workdir", "w", "", "`DIR` in the guest to run in")
	flags.BoolVar(&f.stopped, "stopped", false, "in a guest that is stopped too: it is there for that time, without its init and its hooks")
	flags.StringArrayVarP(&f.env, "env", "e", nil, "add `VAR=VALUE` to the environment (repeatable)")
}

func newExec(t *tool) *cobra.Command {
	var f execFlags
	c := command("exec NAME [OPTION...] [--] COMMAND [ARG...]", `
Runs a command in a guest. Its input, output, errors and signals are ours, and so
is its exit code: 128 and the signal's number when a signal ended it, 126 when it
cannot be executed, 127 when there is no such command.`, `
vserver web1 exec ps ax
vserver exec web1 -u www-data -w /srv -- ls -l
vserver exec -t web1 top
vserver web1 exec --stopped -- /sbin/chkconfig httpd on`,
		func(_ context.Context, args []string) error { return t.exec(f, args) })
	flags := firstWordEnds(c)
	flags.BoolVarP(&f.tty, "tty", "t", false, "give the command a terminal of the guest's own")
	flags.StringVarP(&f.user, "user", "u", "", "run as `USER` of the guest, a name or uid[:gid]")
	f.flags(flags)
	return c
}

// exec runs a command in a guest.
func (t *tool) exec(f execFlags, args []string) error {
	n, args, err := t.one(args)
	if err != nil {
		return err
	}
	if len(args) == 0 {
		return usageHint("vserver "+string(n)+" enter", "which command?")
	}
	return t.runIn(n, f, args)
}

// runIn runs a command in a guest and gives its exit code as an error. Signals
// of ours are passed on to it.
func (t *tool) runIn(n guest.Name, f execFlags, args []string) error {
	if f.tty {
		solo.Over() // both ways of the terminal are copied
	}
	status, err := t.host.Exec(context.Background(), n, host.Command{
		Args: args, Env: f.env, Dir: f.dir, User: f.user, TTY: f.tty,
		Stdin: t.in, Stdout: t.out.File, Stderr: t.err, Signals: true, Visit: f.stopped,
	})
	return t.ended(n, status, err)
}
