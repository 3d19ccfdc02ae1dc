package cli

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"vserver/guest"
	"vserver/store/settings"
)

func newConfig(t *tool) *cobra.Command {
	return command("config NAME [KEY]", `
Shows the spec of a guest as it stands in its file, or the value of one setting
with its default filled in. Keys are written with dots.`, `
vserver web1 config
vserver config web1 limits.memory`,
		func(_ context.Context, args []string) error { return t.config(args) })
}

// config shows settings.
func (t *tool) config(args []string) error {
	n, rest, err := t.one(args)
	if err != nil {
		return err
	}
	key := ""
	if len(rest) > 0 {
		key = rest[0]
	}
	if len(rest) > 1 {
		return usageHint("vserver config --help", "%s: one word too many", rest[1])
	}
	if t.json {
		return t.configJSON(n, key)
	}
	text, err := t.host.Config(n, key)
	if err != nil {
		return t.about(n, err)
	}
	_, err = fmt.Fprintln(t.out, strings.TrimSuffix(text, "\n"))
	return err
}

// configJSON shows settings, all with their defaults, under the names that they have
// in the file.
func (t *tool) configJSON(n guest.Name, key string) error {
	spec, err := t.host.Load(n)
	if err != nil {
		return t.about(n, err)
	}
	v, err := settings.Value(spec, key)
	if err != nil {
		return t.about(n, err)
	}
	return writeJSON(t.out, v)
}
