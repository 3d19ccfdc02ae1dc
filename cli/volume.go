package cli

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"vserver/fault"
	"vserver/guest"
	"vserver/host"
)

func newVolume(t *tool) *cobra.Command {
	var yes bool
	c := command("volume ACTION [VOLUME...] [OPTION...]", `
Deals with volumes: directories that guests mount by name, with a line such as
"data /srv volume" in their settings (mounts), and that outlive them. A start makes a
volume that is missing.

  list                the volumes, their sizes, and who mounts them
  show VOLUME         all that is known of one
  create VOLUME...    make empty ones
  delete VOLUME...    remove some with all that is in them; wants --yes

One that a guest's settings name, or that a running guest mounts, is not deleted. Files in a volume belong to ids from 0, whichever guest mounts it.`, `
vserver volume create data
vserver set web1 'mounts+=data /srv volume'
vserver volume list --json
vserver volume delete data --yes`,
		func(ctx context.Context, args []string) error { return t.volume(ctx, yes, args) })
	c.Flags().BoolVarP(&yes, "yes", "y", false, "delete: do not ask")
	c.ValidArgsFunction = t.completeVolumes
	return c
}

// volume does something with volumes.
func (t *tool) volume(ctx context.Context, yes bool, args []string) error {
	if t.subject != "" {
		return usageHint("vserver volume list", "%s: a volume is no part of a guest", t.subject)
	}
	if len(args) == 0 {
		args = []string{"list"}
	}
	names := args[1:]
	switch {
	case args[0] == "list" && len(names) == 0:
		return t.about("", t.volumeList(ctx))
	case args[0] == "show" && len(names) == 1:
		return t.about("", t.volumeShow(ctx, names[0]))
	case args[0] == "create" && len(names) > 0:
		return t.volumesEach(names, func(name string) error { return host.CreateVolume(t.host, name) })
	case args[0] == "delete" && len(names) > 0:
		if !yes {
			for _, name := range names {
				if _, err := host.ShowVolume(ctx, t.host, name); err != nil {
					return t.about("", hintVolumes(err))
				}
			}
			return usageHint("vserver volume delete --yes "+strings.Join(names, " "), "all that is in a volume goes with it")
		}
		return t.volumesEach(names, func(name string) error { return host.DeleteVolume(t.host, name) })
	}
	return usageHint("vserver volume --help", "%s: want list, show VOLUME, create VOLUME... or delete VOLUME...", strings.Join(args, " "))
}

// volumesEach does something with each volume and says all that went wrong.
func (t *tool) volumesEach(names []string, do func(string) error) error {
	var errs []error
	for _, name := range names {
		errs = append(errs, t.about("", hintVolumes(do(name))))
	}
	return join(errs...)
}

func hintVolumes(err error) error {
	return fault.Hint(err, "vserver volume list shows the volumes, and who mounts them")
}

// volumeJSON is a volume as --json prints it: an interface, scripts read it.
type volumeJSON struct {
	Name   string       `json:"name"`
	Path   string       `json:"path"`
	Made   time.Time    `json:"changed"`
	Files  int64        `json:"files"`
	Bytes  int64        `json:"bytes"`
	Guests []guest.Name `json:"guests"`
}

func jsonOfVolume(v host.Volume) volumeJSON {
	return volumeJSON{v.Name, v.Path, v.Made, v.Files, v.Bytes, append([]guest.Name{}, v.Guests...)}
}

func (t *tool) volumeList(ctx context.Context) error {
	all, err := host.Volumes(ctx, t.host, true)
	if err != nil {
		return err
	}
	list := make([]volumeJSON, len(all))
	rows := [][]string{{"VOLUME", "FILES", "SIZE", "GUESTS"}}
	for i, v := range all {
		list[i] = jsonOfVolume(v)
		const few = 4
		rows = append(rows, []string{v.Name, fmt.Sprint(v.Files), guest.Bytes(v.Bytes).String(), joinedNames(v.Guests, few)})
	}
	if t.json {
		return writeJSON(t.out, list)
	}
	_, err = t.out.WriteString(columns(rows))
	return err
}

func (t *tool) volumeShow(ctx context.Context, name string) error {
	v, err := host.ShowVolume(ctx, t.host, name)
	if err != nil {
		return hintVolumes(err)
	}
	if t.json {
		return writeJSON(t.out, jsonOfVolume(v))
	}
	const many = 40
	_, err = t.out.WriteString(columns([][]string{
		{"Volume", v.Name},
		{"Guests", joinedNames(v.Guests, many)},
		{"Path", v.Path},
		{"Changed", v.Made.Local().Format(time.DateTime)},
		{"Files", fmt.Sprint(v.Files)},
		{"Size", guest.Bytes(v.Bytes).String()},
	}))
	return err
}

// completeVolumes offers what can follow: the actions, then names of volumes.
func (t *tool) completeVolumes(_ *cobra.Command, args []string, begun string) ([]string, cobra.ShellCompDirective) {
	var words []string
	if len(args) == 0 {
		words = []string{"list\tthe volumes and who mounts them", "show\tall that is known of one", "create\tmake empty ones", "delete\tremove volumes that nobody mounts"}
	} else if args[0] == "show" || args[0] == "delete" {
		all, _ := host.Volumes(context.Background(), t.host, false)
		for _, v := range all {
			words = append(words, v.Name)
		}
	}
	return matching(words, begun), cobra.ShellCompDirectiveNoFileComp
}
