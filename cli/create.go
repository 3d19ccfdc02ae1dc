package cli

import (
	"context"

	"github.com/spf13/cobra"

	"vserver/guest"
)

func newCreate(t *tool) *cobra.Command {
	return command("create NAME [OPTION...]", "", "",
		func(ctx context.Context, args []string) error { return guest.ErrUnsupported })
}

func newBuild(t *tool) *cobra.Command {
	return command("build NAME [OPTION...]", "", "",
		func(ctx context.Context, args []string) error { return guest.ErrUnsupported })
}
