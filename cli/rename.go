package cli

import (
	"context"

	"github.com/spf13/cobra"

	"vserver/guest"
)

func newRename(t *tool) *cobra.Command {
	return command("rename NAME NEW", `
Gives a guest that does not run another name: its spec, its files and its notes.
Its number, and so its ids and addresses, stay.`, `
vserver rename web1 www`,
		func(ctx context.Context, args []string) error { return t.rename(ctx, args) })
}

// rename renames a guest.
func (t *tool) rename(ctx context.Context, args []string) error {
	n, rest, err := t.one(args)
	if err != nil {
		return err
	}
	if len(rest) != 1 {
		return usageHint("vserver rename --help", "want the old name and the new one")
	}
	to, err := guest.ParseName(rest[0])
	if err != nil {
		return usage{err.Error()}
	}
	return t.about(n, t.host.Rename(ctx, n, to))
}
