package cli

import (
	"context"

	"github.com/spf13/cobra"

	"vserver/guest"
	"vserver/host"
)

type deleteFlags struct{ yes, force bool }

func newDelete(t *tool) *cobra.Command {
	var f deleteFlags
	c := command("delete NAME... [OPTION...]", `
Removes guests with their files, specs and notes. Asks first; away from a terminal
it refuses, with exit code 2, unless --yes is given. A guest that runs is refused,
unless --force stops it.`, `
vserver web1 delete
vserver delete web1 web2 --yes`,
		func(ctx context.Context, args []string) error { return t.delete(ctx, f, args) })
	c.Flags().BoolVarP(&f.yes, "yes", "y", false, "do not ask")
	c.Flags().BoolVarP(&f.force, "force", "f", false, "do not ask, and stop what runs")
	c.Flags().BoolVar(&f.yes, "silent", false, "do not ask, as in Linux-VServer")
	c.Flags().Lookup("silent").Hidden = true
	return c
}

// delete removes guests.
func (t *tool) delete(ctx context.Context, f deleteFlags, args []string) error {
	names, err := t.names(args)
	if err != nil {
		return err
	}
	for _, n := range names {
		if f.yes || f.force {
			break
		}
		if !host.Exists(t.host, n) {
			continue // nothing to lose; delete says that there is no such guest
		}
		if yes, answered := t.question("Are you sure you want to delete the vserver " + string(n)); !answered {
			return t.about(n, usageHint("vserver delete --yes "+string(n), "refused: nobody answers"))
		} else if !yes {
			return code(exitUsage)
		}
	}
	return t.each(ctx, names, func(ctx context.Context, n guest.Name) error {
		return t.host.Delete(ctx, n, host.DeleteOptions{Force: f.force})
	})
}
