package cli

import (
	"context"
	"strings"

	"github.com/spf13/cobra"

	"vserver/guest"
	"vserver/host"
)

func newSet(t *tool) *cobra.Command {
	return command("set NAME KEY=VALUE...", `
Changes settings of a guest in its spec; all of them or, when one is refused, none.
Comments stay. KEY= takes a setting back to its default. A list is written
[one, two]; KEY+=VALUE and KEY-=VALUE add to a list and take from it. What a
running guest gets only at its next start is said.`, `
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
	c, err := t.host.Set(n, assignments)
	if err != nil {
		return t.about(n, err)
	}
	return t.sayChange(n, c)
}

// change is what a change of settings brought about, for --json.
type change struct {
	Name     guest.Name `json:"name"`
	Changed  []string   `json:"changed"`
	Restart  []string   `json:"restart"` // what a running guest gets at its next start
	Warnings []string   `json:"warnings"`
}

// sayChange tells what a change brought about: nothing when all of it counts already.
func (t *tool) sayChange(n guest.Name, c host.Change) error {
	if t.json {
		out := change{Name: n, Changed: append([]string{}, c.Paths...), Restart: append([]string{}, c.Restart...), Warnings: []string{}}
		for _, w := range c.Warnings {
			out.Warnings = append(out.Warnings, w.Error())
		}
		return writeJSON(t.out, out)
	}
	for _, w := range c.Warnings {
		t.warn(n, w.Error())
	}
	if len(c.Restart) > 0 {
		t.warn(n, strings.Join(c.Restart, ", ")+": counts from the next start; vserver restart "+string(n))
	}
	return nil
}
