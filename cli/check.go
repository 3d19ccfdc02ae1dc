package cli

import (
	"context"

	"github.com/spf13/cobra"

	"vserver/guest"
)

type checkFlags struct{ fix bool }

func newCheck(t *tool) *cobra.Command {
	var f checkFlags
	c := command("check [OPTION...]", `
Says what this kernel and this host can do for guests, a line for each thing, with
the version or the setting that would bring what is missing and what is lost
without; and which settings of the host bite when there are many guests. The exit
code is 7 when a guest could not be run safely.`, `
vserver check
vserver check --fix`,
		func(_ context.Context, args []string) error { return t.check(f, args) })
	c.Flags().BoolVar(&f.fix, "fix", false, "change the settings of the host that bite")
	return c
}

// check says what the host can do.
func (t *tool) check(checkFlags, []string) error { return guest.ErrUnsupported }
