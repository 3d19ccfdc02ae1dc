package main

import (
	"errors"
	"os"
	"path/filepath"
)

// parcels times guests written as one stream and taken in, beside tar and zstd with the
// same tree at the same level.
func (b *bench) parcels() (err error) {
	if err := b.must("build", "bench", "-m", "rsync", "--from", b.cache, "--root", "dir"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.must("delete", "--yes", "bench")) }()
	tree := filepath.Join(b.home(), "var/lib/vservers/guests/bench/root")
	parcel, tar, out := filepath.Join(b.work, "bench.vserver"), filepath.Join(b.work, "bench.tar.zst"), filepath.Join(b.work, "x")
	defer func() { err = errors.Join(err, os.RemoveAll(parcel), os.RemoveAll(tar)) }()
	shell := func(line string) []string { return []string{"/bin/sh", "-c", line, "sh", tree, tar, out} }
	if err := errors.Join(b.must("bench", "export", "-o", parcel), run("/bin/sh", shell(`tar -C "$1" --xattrs --acls --numeric-owner -cf - . | zstd -q -3 >"$2"`)[1:]...)); err != nil {
		return err
	}
	const fewer = 3 // of the rounds: each takes seconds
	for _, level := range []string{"1", "3"} {
		interleave(os.Stdout, max(b.rounds/fewer, 1), []row{
			{"tar -c | zstd -" + level, command(shell(`tar -C "$1" --xattrs --acls --numeric-owner -cf - . | zstd -q -` + level + ` >/dev/null`)...)},
			{"vserver export --level " + level, command(b.vserver("bench", "export", "--level", level)...)},
		})
	}
	interleave(os.Stdout, max(b.rounds/fewer, 1), []row{
		{"zstd -d | tar -x, sync", b.after(shell(`mkdir "$3" && zstd -qdc "$2" | tar -C "$3" --xattrs --acls --numeric-owner -xpf - && sync -f "$3"`), "rm", "-rf", out)},
		{"vserver import", b.after(b.vserver("import", "taken", parcel), b.tool, "delete", "--yes", "taken")},
	})
	return nil
}
