package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"vserver/fault"
	"vserver/guest"
	"vserver/host"
	"vserver/kernel/file"
	"vserver/layer"
)

func newDiff(t *tool) *cobra.Command {
	var o host.DiffOptions
	c := command("diff NAME [OPTION...]", `
Tells what a guest, running or not, has changed of the images and directories of the
host that it lies upon, or since a snapshot. A line each, sorted by path:

  A   added
  C   changed: another content, type or link target
  D   removed
  M   metadata alone: another owner, other permission bits or attributes

Times do not count, and volumes are not looked at. Of a directory that is added or
removed all that is in it is told too. With --json an array of objects says what was
and is there, with the ids that the guest sees. A guest that runs goes on meanwhile.
What the tool wrote when it made the guest, its host name for instance, is told as well.`, `
vserver web1 diff
vserver diff web1 --snapshot before-upgrade
vserver diff web1 --image bookworm --json`,
		func(ctx context.Context, args []string) error {
			n, rest, err := t.one(args)
			if err != nil {
				return err
			}
			if len(rest) > 0 {
				return usageHint("vserver diff --help", "%s: one word too many", rest[0])
			}
			if o.From != "" && o.Image != "" {
				return usageHint("vserver diff --help", "--image and --snapshot: want one of them")
			}
			return t.about(n, t.diff(ctx, n, o))
		})
	c.Flags().StringVar(&o.Image, "image", "", "compare with `IMAGE` instead")
	c.Flags().StringVar(&o.From, "snapshot", "", "compare with `SNAPSHOT` of the guest instead")
	t.completeSnapshotFlag(c, "snapshot")
	return c
}

// changeJSON is a path that differs, as --json prints it.
type changeJSON struct {
	Path   string    `json:"path"`
	Change string    `json:"change"` // added, changed, removed, metadata
	Before *seenJSON `json:"before,omitempty"`
	After  *seenJSON `json:"after,omitempty"`
}

// seenJSON is a file as the guest sees it.
type seenJSON struct {
	Type string `json:"type"` // file, directory, link, fifo, socket, char, block
	Mode string `json:"mode"` // octal
	UID  uint32 `json:"uid"`
	GID  uint32 `json:"gid"`
	Size int64  `json:"size"` // bytes; 0 but for a file or link
}

func jsonOfSeen(st *file.Stat) *seenJSON {
	if st == nil {
		return nil
	}
	out := &seenJSON{Mode: fmt.Sprintf("%04o", st.Perm()), UID: st.UID, GID: st.GID}
	switch st.Type() {
	case file.TypeDir:
		out.Type = "directory"
	case file.TypeFile, file.TypeLink:
		out.Type, out.Size = "file", st.Size
		if st.Type() == file.TypeLink {
			out.Type = "link"
		}
	case file.TypeFIFO:
		out.Type = "fifo"
	case file.TypeSock:
		out.Type = "socket"
	case file.TypeChar:
		out.Type = "char"
	case file.TypeBlock:
		out.Type = "block"
	}
	return out
}

// diff prints what a guest changed.
func (t *tool) diff(ctx context.Context, n guest.Name, o host.DiffOptions) error {
	d, err := host.Diff(ctx, t.host, n, o)
	if err != nil {
		if o.Image != "" {
			return hintImages(err)
		}
		return hintSnapshots(n, err)
	}
	if d.Moving {
		fmt.Fprintf(t.err, "%s: runs, and may have changed more meanwhile\n", n)
	}
	if t.json {
		list := make([]changeJSON, len(d.Changes))
		for i, c := range d.Changes {
			list[i] = changeJSON{c.Path, c.What, jsonOfSeen(c.Before), jsonOfSeen(c.After)}
		}
		return writeJSON(t.out, list)
	}
	letters := map[string]string{layer.Added: "A", layer.Changed: "C", layer.Removed: "D", layer.Dressed: "M"}
	for _, c := range d.Changes {
		if _, err := t.out.WriteString(letters[c.What] + " " + fault.Plain(c.Path) + "\n"); err != nil {
			return err
		}
	}
	return nil
}
