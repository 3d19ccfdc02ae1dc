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
	var explain bool
	c := command("config NAME [KEY] [--explain]", `
Shows the spec of a guest as it stands in its file, or the value of one setting
with its default filled in. Keys are written with dots.

Of a guest that still has the directory of Linux-VServer's tools, /etc/vservers/NAME/,
it shows the spec that the files there make. With --explain it tells of each of those
files what becomes of it: the same effect, nearly the same, none needed, or refused,
with the reason and the nearest alternative.`, `
vserver web1 config
vserver config web1 limits.memory
vserver web1 config --explain`,
		func(_ context.Context, args []string) error {
			if explain {
				return t.explain(args)
			}
			return t.config(args)
		})
	c.Flags().BoolVar(&explain, "explain", false, "tell what becomes of each file of Linux-VServer's")
	return c
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
