package cli

import (
	"context"

	"github.com/spf13/cobra"

	"vserver/guest"
)

func newTop(t *tool) *cobra.Command {
	return command("top [OPTION...]", "", "",
		func(ctx context.Context, args []string) error { return guest.ErrUnsupported })
}
