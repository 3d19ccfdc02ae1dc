package cli

import (
	"context"

	"github.com/spf13/cobra"

	"vserver/guest"
)

func newRunning(t *tool) *cobra.Command {
	return command("running NAME...", `
Tests whether guests run and prints nothing. The exit code is 0 when all of them
run, 1 when one does not, 5 when there is no such guest.`, `
vserver web1 running && echo up`,
		func(ctx context.Context, args []string) error { return t.running(ctx, args) })
}

// running tests whether guests run. Linux-VServer gives 1 for a stopped one, where
// status gives 3.
func (t *tool) running(ctx context.Context, args []string) error {
	names, err := t.names(args)
	if err != nil {
		return err
	}
	return t.each(ctx, names, func(_ context.Context, n guest.Name) error {
		s, err := t.look(n)
		if err == nil && !isUp(s) {
			return code(exitFailed)
		}
		return err
	})
}

// isUp says whether the guest has processes.
func isUp(s guest.Status) bool { return s.State == guest.Running || s.State == guest.Frozen }
