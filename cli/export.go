package cli

import (
	"context"
	"io"

	"github.com/spf13/cobra"

	"vserver/guest"
	"vserver/host"
)

func newExport(t *tool) *cobra.Command {
	o := host.ExportOptions{}
	file := "-"
	c := command("export NAME [OPTION...]", `
Writes a guest as one file: its settings, its own files, the layers that it lies on and
the images beneath, packed by zstd, with a sum by which import finds what was cut or
changed. It goes to standard output, for a pipe, unless --output names a file, which is
there when it is whole and not before.

Owners are written as the guest sees them, so that it can have another number
elsewhere. Its volumes and what else it mounts are no part of it. Snapshots are, when they
lie on layers that are written anyway. With --since only what changed since a snapshot is
written, for a host that has imported that one.

A guest that runs goes on: it is frozen while its own files are taken, see vserver
snapshot --help for what that costs where, and what programs have not written yet is
lost, as in a power cut. A guest that does not run cannot be started meanwhile.`, `
vserver web1 export -o web1.vserver
vserver web1 export --snapshot monday --level 9 >/backup/web1.monday
vserver web1 export --snapshot tuesday --since monday >/backup/web1.tuesday
vserver web1 export | ssh root@host2.example vserver import -`,
		func(ctx context.Context, args []string) error {
			n, rest, err := t.one(args)
			if err != nil {
				return err
			}
			if len(rest) > 0 && t.isGuest(rest[0]) {
				return usageHint("vserver "+rest[0]+" export -o "+rest[0]+".vserver", "%s: is a guest, and each goes into a file of its own", rest[0])
			}
			if file, err = outputFile(file, rest); err != nil {
				return err
			}
			return t.about(n, hintSnapshots(n, t.export(ctx, n, o, file)))
		})
	fl := c.Flags()
	fl.StringVarP(&file, "output", "o", file, "`FILE` to write, - for standard output")
	fl.StringVar(&o.Snapshot, "snapshot", "", "`SNAPSHOT` of the guest to write, instead of what it is now")
	fl.StringVar(&o.Since, "since", "", "write what changed since `SNAPSHOT`, which the other host has")
	fl.IntVar(&o.Level, "level", 0, "how hard to pack, `1-19` as zstd has it")
	fl.BoolVar(&o.None, "without-images", false, "leave out the images: the host that imports has them")
	t.completeSnapshotFlag(c, "snapshot")
	t.completeSnapshotFlag(c, "since")
	return c
}

// export writes a guest.
func (t *tool) export(ctx context.Context, n guest.Name, o host.ExportOptions, path string) error {
	const hardest = 19 // of zstd without --ultra
	if o.Level < 0 || o.Level > hardest {
		return usagef("--level %d: want 1 to %d", o.Level, hardest)
	}
	if path == "-" && isTerminal(t.out.File) {
		return usageHint("vserver "+string(n)+" export -o "+string(n)+".vserver", "an export is nothing to look at")
	}
	p := t.newProgress(n)
	o.Progress = p
	write := func(w io.Writer) error { return host.Export(ctx, t.host, n, o, w) }
	var err error
	if path == "-" {
		err = write(t.out)
	} else {
		err = writeWhole(path, write)
	}
	p.end(err == nil)
	return err
}
