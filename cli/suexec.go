package cli

import (
	"context"

	"github.com/spf13/cobra"
)

func newSuexec(t *tool) *cobra.Command {
	var f execFlags
	c := command("suexec NAME [OPTION...] USER COMMAND [ARG...]", `
Runs a command in a guest as one of its users: a name of the guest's /etc/passwd,
or a uid, or uid:gid. Otherwise as exec.`, `
vserver web1 suexec www-data id
vserver web1 suexec 33 id`,
		func(_ context.Context, args []string) error { return t.suexec(f, args) })
	flags := firstWordEnds(c)
	flags.BoolVarP(&f.tty, "tty", "t", false, "give the command a terminal of the guest's own")
	f.flags(flags)
	return c
}

// suexec runs a command in a guest as a user.
func (t *tool) suexec(f execFlags, args []string) error {
	n, args, err := t.one(args)
	if err != nil {
		return err
	}
	if len(args) > 1 && args[1] == "--" { // as behind the guest's name
		args = append(args[:1:1], args[2:]...)
	}
	if len(args) < 2 {
		return usageHint("vserver suexec --help", "want a user and a command")
	}
	f.user = args[0]
	return t.runIn(n, f, args[1:])
}
