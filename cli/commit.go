package cli

import (
	"context"
	"strings"

	"github.com/spf13/cobra"

	"vserver/host"
)

func newCommit(t *tool) *cobra.Command {
	var f imageFlags
	var snapshot string
	c := command("commit NAME IMAGE[@VERSION] [OPTION...]", `
Makes an image of what a guest is: all that its processes see as their root, volumes and
other mounts left out, without device nodes and without what would make two guests one
(machine id, ssh host keys, seeds). Owners become those that the guest sees. The image is
called IMAGE@VERSION, or by the day without a version; IMAGE:VERSION is understood too.
The guest stays upon the image that it has: vserver rebase changes that.

A guest that runs goes on: it is frozen while its own files are taken, see vserver
snapshot --help for what that costs where. A guest that does not run cannot be started
meanwhile.`, `
vserver web1 commit web
vserver web1 commit web@1.4 --snapshot before-upgrade
vserver build web2 --image web`,
		func(ctx context.Context, args []string) error {
			n, rest, err := t.one(args)
			if err != nil {
				return err
			}
			if len(rest) != 1 {
				return usageHint("vserver commit --help", "want a guest, and a name for the image")
			}
			word := rest[0]
			if !strings.Contains(word, "@") {
				word = strings.Replace(word, ":", "@", 1)
			}
			err = t.imageTake(ctx, f, word, host.GuestFiles(t.host, n, snapshot))
			return t.about(n, hintSnapshots(n, err))
		})
	fl := c.Flags()
	fl.StringVar(&snapshot, "snapshot", "", "`SNAPSHOT` of the guest to take, instead of what it is now")
	fl.StringVar(&f.arch, "arch", "", "`MACHINE` that it is for, when its shell does not say: amd64, arm64, ...")
	t.completeSnapshotFlag(c, "snapshot")
	return c
}
