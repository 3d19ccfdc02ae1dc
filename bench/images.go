package main

import (
	"errors"
	"os"
	"path/filepath"
	"time"
)

// images times what is done with the Debian tree as an image, beside tar, zstd and
// sha256sum with the same tree.
func (b *bench) images() (err error) {
	if err := b.must("image", "build", "bench@1", "--method", "rsync", "--from", b.cache); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.must("image", "delete", "bench@1")) }()
	tree := filepath.Join(b.home(), "var/lib/vservers/pool/images/bench@1/tree")
	archive := filepath.Join(b.work, "bench.tar")
	if err := b.must("image", "export", "bench@1", archive); err != nil {
		return err
	}
	defer os.Remove(archive)
	shell := func(line string) []string { return []string{"/bin/sh", "-c", line, "sh", tree, archive, b.work} }
	const fewer = 3 // of the rounds: each takes seconds
	interleave(os.Stdout, max(b.rounds/fewer, 1), []row{
		{"tar -c", command(shell(`tar -C "$1" --xattrs --acls -cf - . | cat >/dev/null`)...)},
		{"vserver image export", command(b.vserver("image", "export", "bench@1")...)},
	})
	interleave(os.Stdout, max(b.rounds/fewer, 1), []row{
		{"tar -c | zstd -3", command(shell(`tar -C "$1" --xattrs --acls -cf - . | zstd -q -3 >/dev/null`)...)},
		{"vserver image export --zstd", command(b.vserver("image", "export", "bench@1", "--zstd")...)},
	})
	interleave(os.Stdout, max(b.rounds/fewer, 1), []row{
		{"sha256sum of all files", command(shell(`find "$1" -xdev -type f -print0 | xargs -0 sha256sum >/dev/null`)...)},
		{"vserver image verify", command(b.vserver("image", "verify", "bench@1")...)},
	})
	interleave(os.Stdout, max(b.rounds/fewer, 1), []row{
		{"tar -x, sync, sha256sum of all", b.after(shell(`mkdir "$3/x" && tar -C "$3/x" --xattrs -xpf "$2" && sync -f "$3/x" && find "$3/x" -type f -print0 | xargs -0 sha256sum >/dev/null`),
			"rm", "-rf", filepath.Join(b.work, "x"))},
		{"vserver image import", b.after(b.vserver("image", "import", "taken@1", archive), b.tool, "image", "delete", "taken@1")},
	})
	return nil
}

// after is a row's measurement that is taken back each time by another command, which is
// not timed.
func (b *bench) after(args []string, undo string, words ...string) func() (time.Duration, error) {
	return func() (time.Duration, error) {
		took, err := life(args)
		return took, errors.Join(err, run(undo, words...))
	}
}
