package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"vserver/fault"
	"vserver/guest"
	"vserver/host"
)

func newRebase(t *tool) *cobra.Command {
	var o host.RebaseOptions
	c := command("rebase NAME IMAGE [OPTION...]", `
Lays a stopped guest over another image: a newer version of the one beneath it, as
NAME@VERSION or as the plain name of the newest. Its own files stay as they are, and its
spec keeps its comments. Files that are the guest's own and differ between the two
images are told, a line each: what the guest did, what the image did, the path. The
guest goes on seeing its own; a package that was installed in the guest may miss what
the image brings. With --dry-run only that is told.

With --keep the guest goes on seeing what it sees now, but for times of files: a layer
between its own files and the new image has what the old one has otherwise. So guests
upon images that are nearly the same, as of two installations of one release, are
brought to one, and the other images can be deleted. How many files these are is told.`, `
vserver web1 rebase bookworm@20261124
vserver rebase web1 bookworm --dry-run
vserver web2 rebase --keep bookworm@20261124`,
		func(ctx context.Context, args []string) error { return t.rebase(ctx, args, o) })
	c.Flags().BoolVarP(&o.Dry, "dry-run", "n", false, "tell what would come of it and change nothing")
	c.Flags().BoolVar(&o.Keep, "keep", false, "have the guest see what it saw before")
	return c
}

// rebasedJSON is what a rebase did, as --json prints it.
type rebasedJSON struct {
	Name      guest.Name      `json:"name"`
	From      string          `json:"from"`
	To        string          `json:"to"`
	Conflicts []host.Conflict `json:"conflicts"`
	Kept      int             `json:"kept"`
}

// rebase gives a guest another image.
func (t *tool) rebase(ctx context.Context, args []string, o host.RebaseOptions) error {
	n, rest, err := t.one(args)
	if err != nil {
		return err
	}
	if len(rest) != 1 {
		return usageHint("vserver rebase --help", "want a guest and an image")
	}
	r, err := t.host.Rebase(ctx, n, rest[0], o)
	if err != nil {
		return t.about(n, hintImages(err))
	}
	if t.json {
		return writeJSON(t.out, rebasedJSON{n, r.From, r.To, append([]host.Conflict{}, r.Conflicts...), r.Kept})
	}
	if o.Keep {
		_, err = fmt.Fprintf(t.out, "%s: keeps %d files as %s has them\n", n, r.Kept, fault.Plain(r.From))
		return err
	}
	var rows [][]string
	for _, c := range r.Conflicts {
		rows = append(rows, []string{"guest " + c.Guest, "image " + c.Image, fault.Plain(c.Path)})
	}
	_, err = t.out.WriteString(columns(rows))
	return err
}
