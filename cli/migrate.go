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

type migrateFlags struct {
	dry, chown, all, link bool

	start string // with all: which guests; a mark, all, or none
}

func newMigrate(t *tool) *cobra.Command {
	var f migrateFlags
	c := command("migrate NAME|--all [OPTION...]", `
Writes the spec /etc/vservers/NAME.yaml that the files of Linux-VServer's directory
/etc/vservers/NAME/ make, and keeps that directory in /etc/vservers/.migrated/NAME,
where its scripts go on to be run. It tells what does not have the effect that it had.
A guest need not be migrated: it starts by its directory as well.

The guest's files stay where they are, with the ids that they have: its mount shifts
them. With --chown they are given ids of the guest's own for good, which file systems
need that cannot show other ids, and which makes set-user-ID programs among them
harmless on the host. That takes a look at every file; it can be interrupted, and goes
on when it is called again.

With --link a link to the directory that is kept stays in its place, for scripts that look
at /etc/vservers/NAME/context, run, vdir and the like. They find what was there then, and
in what run leads to the number of a guest that runs; what is written there has no effect.

With --all a whole host is taken over: every directory in /etc/vservers that has a vdir.
There is a line for each guest, with the keys that are not the same, and one for all of
them; those that cannot be migrated stay as they are, and the exit code tells. With --start
the guests of the mark default are started then, in the order of their dependencies, as a
boot does; --start=all starts all of them. Called again it does what is left to do.`, `
vserver web1 migrate --dry-run
vserver web1 migrate
vserver web1 migrate --chown
vserver migrate --all --dry-run
vserver migrate --all --start`,
		func(ctx context.Context, args []string) error {
			switch {
			case f.all && (len(args) > 0 || t.subject != ""):
				return usageHint("vserver migrate --help", "--all, and a name as well")
			case f.all:
				return t.takeOver(ctx, f)
			case f.start != "":
				return usageHint("vserver migrate --help", "--start goes with --all")
			}
			return t.toSpec(ctx, f, args)
		})
	c.Flags().BoolVarP(&f.dry, "dry-run", "n", false, "show the spec and the steps, and take none")
	c.Flags().BoolVar(&f.chown, "chown", false, "give the guest's files its own ids")
	c.Flags().BoolVar(&f.link, "link", false, "leave a link in the place of the directory")
	c.Flags().BoolVar(&f.all, "all", false, "all guests of Linux-VServer's directory")
	c.Flags().StringVar(&f.start, "start", "", "with --all: start those of a `MARK`, or all")
	c.Flags().Lookup("start").NoOptDefVal = "default"
	return c
}

// toSpec makes a spec of a directory of Linux-VServer's.
func (t *tool) toSpec(ctx context.Context, f migrateFlags, args []string) error {
	n, err := t.single(args)
	if err != nil {
		return err
	}
	o := host.MigrateOptions{DryRun: f.dry, Chown: f.chown, Link: f.link}
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
