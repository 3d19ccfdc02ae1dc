package cli

import (
	"context"

	"github.com/spf13/cobra"

	"vserver/guest"
)

func newConsole(t *tool) *cobra.Command {
	return command("console NAME", `
Attaches the terminal to a guest's console. Ctrl-] detaches; the guest goes on.
Without a terminal the console's output is copied, and nothing is typed.`, `
vserver web1 console`,
		func(ctx context.Context, args []string) error { return t.console(ctx, args) })
}

// console attaches to a console.
func (t *tool) console(context.Context, []string) error { return guest.ErrUnsupported }
