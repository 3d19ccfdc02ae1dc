package cli

import (
	"context"

	"github.com/spf13/cobra"

	"vserver/guest"
)

func newLogs(t *tool) *cobra.Command {
	return command("logs NAME [OPTION...]", "", "",
		func(ctx context.Context, args []string) error { return guest.ErrUnsupported })
}

func (t *tool) lastLines(guest.Name, int) []string { return nil }
