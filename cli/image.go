package cli

import (
	"context"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"vserver/fault"
	"vserver/guest"
	"vserver/host"
)

func newImage(t *tool) *cobra.Command {
	c := command("image list | delete IMAGE...", `
Lists the images that guests' roots lie over, with the guests that use them, or
deletes some. Images are made by build and create; one that a guest uses is not
deleted.`, `
vserver image list
vserver image list --json
vserver image delete debian-bookworm-3f2a99c01b7d`,
		func(_ context.Context, args []string) error { return t.image(args) })
	c.ValidArgsFunction = t.completeImages
	return c
}

// image lists or deletes images.
func (t *tool) image(args []string) error {
	if t.subject != "" {
		return usageHint("vserver image list", "%s: an image is no part of a guest", t.subject)
	}
	if len(args) == 0 {
		args = []string{"list"}
	}
	action, names := args[0], args[1:]
	switch {
	case action == "list" && len(names) == 0:
		return t.about("", t.imageList())
	case action == "delete" && len(names) > 0:
		var errs []error
		for _, name := range names {
			errs = append(errs, t.about("", t.imageDelete(name)))
		}
		return join(errs...)
	}
	return usageHint("vserver image --help", "want list, or delete IMAGE...")
}

// imageJSON is an image as --json prints it: an interface, scripts read it.
type imageJSON struct {
	Name   string       `json:"name"`
	Method string       `json:"method"`
	Source string       `json:"source"`
	Made   time.Time    `json:"made"`
	Guests []guest.Name `json:"guests"`
}

func (t *tool) imageList() error {
	all, err := host.Images(t.host)
	if err != nil {
		return err
	}
	list := make([]imageJSON, len(all))
	rows := [][]string{{"IMAGE", "METHOD", "MADE", "GUESTS", "SOURCE"}}
	for i, im := range all {
		list[i] = imageJSON{im.Name, im.Method, im.Source, im.Made, append([]guest.Name{}, im.Guests...)}
		var names []string
		for _, n := range im.Guests {
			names = append(names, string(n))
		}
		used := "-"
		if len(names) > 0 {
			const few = 4
			used = joined(names, few)
		}
		rows = append(rows, []string{im.Name, im.Method, im.Made.Local().Format(time.DateOnly), used, strings.Map(printable, im.Source)})
	}
	if t.json {
		return writeJSON(t.out, list)
	}
	_, err = t.out.WriteString(columns(rows))
	return err
}

func (t *tool) imageDelete(name string) error {
	err := host.RemoveImage(t.host, name)
	return fault.Hint(err, "vserver image list shows the images, and whose roots they are")
}

// completeImages offers what can follow: the actions, then names of images.
func (t *tool) completeImages(_ *cobra.Command, args []string, begun string) ([]string, cobra.ShellCompDirective) {
	words := []string{"list\tthe images and who uses them", "delete\tremove images that nobody uses"}
	if len(args) > 0 {
		words = nil
		if all, err := host.Images(t.host); err == nil && args[0] == "delete" {
			for _, im := range all {
				words = append(words, im.Name)
			}
		}
	}
	var out []string
	for _, w := range words {
		if strings.HasPrefix(w, begun) {
			out = append(out, w)
		}
	}
	return out, cobra.ShellCompDirectiveNoFileComp
}
