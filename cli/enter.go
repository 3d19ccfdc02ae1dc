package cli

import (
	"context"

	"github.com/spf13/cobra"
)

func newEnter(t *tool) *cobra.Command {
	var f execFlags
	c := command("enter NAME [OPTION...]", `
A login shell in a guest, on a terminal of the guest's own. The exit code is the
shell's. Without a terminal here, the shell reads its commands from our input.`, `
vserver web1 enter
vserver enter web1 -u www-data`,
		func(_ context.Context, args []string) error { return t.enter(f, args) })
	c.Flags().StringVarP(&f.user, "user", "u", "", "log in as `USER` of the guest, a name or uid[:gid]")
	f.flags(c.Flags())
	return c
}

// enter runs a login shell in a guest.
func (t *tool) enter(f execFlags, args []string) error {
	n, err := t.single(args)
	if err != nil {
		return err
	}
	f.tty = isTerminal(t.in) && isTerminal(t.out.File)
	return t.runIn(n, f, nil)
}
