package cli

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"vserver/guest"
	"vserver/host"
	"vserver/store/legacy"
	"vserver/store/settings"
)

type migrateFlags struct{ dry, chown bool }

func newMigrate(t *tool) *cobra.Command {
	var f migrateFlags
	c := command("migrate NAME [OPTION...]", `
Writes the spec /etc/vservers/NAME.yaml that the files of Linux-VServer's directory
/etc/vservers/NAME/ make, and keeps that directory in /etc/vservers/.migrated/NAME,
where its scripts go on to be run. It tells what does not have the effect that it had.
A guest need not be migrated: it starts by its directory as well.

The guest's files stay where they are, with the ids that they have: its mount shifts
them. With --chown they are given ids of the guest's own for good, which file systems
need that cannot show other ids, and which makes set-user-ID programs among them
harmless on the host. That takes a look at every file; it can be interrupted, and goes
on when it is called again.`, `
vserver web1 migrate --dry-run
vserver web1 migrate
vserver web1 migrate --chown`,
		func(ctx context.Context, args []string) error { return t.toSpec(ctx, f, args) })
	c.Flags().BoolVarP(&f.dry, "dry-run", "n", false, "show the spec and the steps, and take none")
	c.Flags().BoolVar(&f.chown, "chown", false, "give the guest's files its own ids")
	return c
}

// toSpec makes a spec of a directory of Linux-VServer's.
func (t *tool) toSpec(ctx context.Context, f migrateFlags, args []string) error {
	n, err := t.single(args)
	if err != nil {
		return err
	}
	o := host.MigrateOptions{DryRun: f.dry, Chown: f.chown}
	if !t.json {
		o.Progress = t.err
	}
	m, err := host.Migrate(ctx, t.host, n, o)
	if err != nil {
		return t.about(n, err)
	}
	if t.json {
		return writeJSON(t.out, migrated(n, m, f.dry))
	}
	if f.dry {
		fmt.Fprintf(t.out, "%s:\n%s\n", m.Spec, m.Text)
		for i, s := range m.Steps {
			fmt.Fprintf(t.out, "%3d  %s\n", i+1, s)
		}
	}
	if changed := changes(m.Findings); len(changed) > 0 {
		spec, err := settings.Parse(m.Spec, []byte(m.Text))
		if err != nil {
			return t.about(n, err)
		}
		io.WriteString(t.out, "\nNot the same as before:\n")
		return findings(t.out, changed, spec)
	}
	return nil
}

// changes are the findings of what does not have the effect that it had.
func changes(list []legacy.Finding) (out []legacy.Finding) {
	for _, f := range list {
		if f.Fate != legacy.Same && f.Fate != legacy.Passed {
			out = append(out, f)
		}
	}
	return out
}

// migration is what migrate tells as JSON. Its names are an interface.
type migration struct {
	Name     guest.Name       `json:"name"`
	Spec     string           `json:"spec"`
	Text     string           `json:"text"`
	Aside    string           `json:"aside,omitempty"`
	DryRun   bool             `json:"dry_run"`
	Steps    []string         `json:"steps"`
	Findings []legacy.Finding `json:"findings"`
}

func migrated(n guest.Name, m host.Migration, dry bool) migration {
	list := m.Findings
	if list == nil {
		list = []legacy.Finding{}
	}
	return migration{Name: n, Spec: m.Spec, Text: m.Text, Aside: m.Aside, DryRun: dry, Steps: m.Steps, Findings: list}
}
