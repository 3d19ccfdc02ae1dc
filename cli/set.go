package cli

import (
	"context"
	"strings"

	"github.com/spf13/cobra"
)

func newSet(t *tool) *cobra.Command {
	return command("set NAME KEY=VALUE...", `
Changes settings of a guest in its spec; all of them or, when one is refused, none.
Comments stay. KEY= takes a setting back to its default. A list is written
[one, two]; KEY+=VALUE and KEY-=VALUE add to a list and take from it. What is
changed counts from the next start.`, `
vserver web1 set limits.memory=512M limits.cpus=1.5
vserver set web1 network.addresses+=192.0.2.11/24`,
		func(_ context.Context, args []string) error { return t.set(args) })
}

// set changes settings.
func (t *tool) set(args []string) error {
	n, assignments, err := t.one(args)
	if err != nil {
		return err
	}
	if len(assignments) == 0 {
		return usageHint("vserver set --help", "what? want KEY=VALUE")
	}
	for _, a := range assignments {
		if !strings.Contains(a, "=") {
			return usageHint("vserver config "+string(n)+" "+a, "%s: want KEY=VALUE", a)
		}
	}
	return t.about(n, t.host.Set(string(n), assignments))
}
