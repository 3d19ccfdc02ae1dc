package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"vserver/build"
	"vserver/fault"
	"vserver/guest"
	"vserver/host"
	"vserver/image"
	"vserver/kernel/file"
)

// imageBuild makes an image as build makes a guest's files.
func (t *tool) imageBuild(ctx context.Context, f imageFlags, word string) error {
	if f.guest != "" {
		return usageHint("vserver image import "+word+" --guest "+f.guest, "an image of a guest is imported")
	}
	method, err := f.methodMeant(t.isGuest)
	if err != nil {
		return err
	}
	switch {
	case method == "clone" && t.isGuest(f.from):
		return usageHint("vserver image import "+word+" --guest "+f.from, "an image of a guest is imported")
	case f.method == "" && method == "host":
		return usageHint("vserver image build "+word+" --debian bookworm", "of what? want --debian, --template, --from or --method")
	}
	src, err := t.source(f.buildFlags, method)
	if err != nil {
		return err
	}
	return t.imageTake(ctx, f, word, src)
}

// imageImport makes an image of what is there already.
func (t *tool) imageImport(ctx context.Context, f imageFlags, args []string) error {
	if (len(args) == 2) == (f.guest != "") {
		return usageHint("vserver image --help", "of what? want a file, a directory with an OCI layout or a reference; or --guest NAME")
	}
	if f.guest != "" {
		n, err := guest.ParseName(f.guest)
		if err != nil {
			return usage{err.Error()}
		}
		return t.imageTake(ctx, f, args[0], host.GuestFiles(t.host, n, ""))
	}
	from := image.Meant(args[1])
	if args[1] == "-" {
		if isTerminal(t.in) {
			return usageHint("vserver image import "+args[0]+" FILE", "an archive from a terminal")
		}
		in, err := spooled(t.in)
		if err != nil {
			return err
		}
		defer in.Close()
		from = image.From{Path: "standard input", File: in}
	}
	from.Arch = f.arch
	return t.imageTake(ctx, f, args[0], build.Template(from))
}

// spooled keeps a stream in a file without a name, since archives are read twice.
func spooled(in io.Reader) (*os.File, error) {
	dir := cmp.Or(os.Getenv("TMPDIR"), "/var/tmp") // /tmp may be memory
	f, err := os.CreateTemp(dir, "vserver-*")
	if err != nil {
		return nil, err
	}
	err = os.Remove(f.Name())
	if err == nil {
		_, err = io.Copy(f, in)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// imageTake makes an image and says how it is called.
func (t *tool) imageTake(ctx context.Context, f imageFlags, word string, src build.Source) error {
	p := t.newProgress(guest.Name(word))
	name, err := host.ImportImage(ctx, t.host, word, src, host.ImportOptions{Arch: f.arch, Progress: p})
	p.end(err == nil)
	switch {
	case errors.Is(err, guest.ErrExists):
		return fault.Hint(err, "choose another name or version; vserver image list")
	case err != nil:
		return err
	case t.json:
		im, err := host.ShowImage(t.host, name)
		if err != nil {
			return err
		}
		return writeJSON(t.out, jsonOfImage(im))
	}
	fmt.Fprintln(t.out, name)
	return nil
}

// imageExport writes an image to standard output or to a file, which is there when it is
// whole and not before.
func (t *tool) imageExport(ctx context.Context, f imageFlags, args []string) error {
	path, err := outputFile(f.output, args[1:])
	if err != nil {
		return err
	}
	kind := ""
	switch {
	case f.zstd && f.gzip:
		return usagef("only one of --zstd and --gzip")
	case f.zstd, !f.gzip && (strings.HasSuffix(path, ".zst") || strings.HasSuffix(path, ".zstd")):
		kind = "zstd"
	case f.gzip, strings.HasSuffix(path, ".gz"), strings.HasSuffix(path, ".tgz"):
		kind = "gzip"
	}
	if path == "-" && isTerminal(t.out.File) {
		return usageHint("vserver image export "+args[0]+" -o "+args[0]+".tar", "an archive is nothing to look at")
	}
	p := t.newProgress(guest.Name(args[0]))
	write := func(w io.Writer) error { return host.ExportImage(ctx, t.host, args[0], kind, w, p) }
	if path == "-" {
		err = write(t.out)
	} else {
		err = writeWhole(path, write)
	}
	p.end(err == nil)
	if errors.Is(err, guest.ErrNotFound) {
		err = hintImages(err)
	}
	return err
}

// outputFile is where --output says that something is written; who puts the name behind
// the other words is understood as well.
func outputFile(output string, rest []string) (string, error) {
	switch {
	case len(rest) > 1:
		return "", usagef("%s: one word too many", rest[1])
	case len(rest) == 1 && output != "-":
		return "", usagef("%s: --output is %s already", rest[0], output)
	case len(rest) == 1:
		return rest[0], nil
	}
	return output, nil
}

// writeWhole makes a file that is there when all of it is written and not before. Killed, it
// leaves nothing where the file system has files without names.
func writeWhole(path string, write func(io.Writer) error) error {
	f, err := file.Nameless(filepath.Dir(path))
	if errors.Is(err, file.ErrNoNameless) {
		return writeBeside(path, write)
	}
	if err != nil {
		return err
	}
	if err = write(f); err == nil {
		err = f.Sync()
	}
	var e *fs.PathError
	if errors.As(err, &e) && e.Path == f.Name() {
		e.Path = path // it has no name yet, and the errors about it that of its directory
	}
	if err == nil {
		err = file.Name(f, path)
	}
	return errors.Join(err, f.Close())
}

// writeBeside does so by one rename.
func writeBeside(path string, write func(io.Writer) error) error {
	half, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	err = errors.Join(write(half), half.Chmod(0o600), half.Sync(), half.Close())
	if err == nil {
		err = os.Rename(half.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(half.Name()))
	}
	return nil
}

// imageCollect removes what nobody needs.
func (t *tool) imageCollect(f imageFlags) error {
	removed, err := host.CollectImages(t.host, host.CollectOptions{Unused: f.unused, DryRun: f.dry})
	if t.json && err == nil {
		return writeJSON(t.out, append([]string{}, removed...))
	}
	for _, name := range removed {
		fmt.Fprintln(t.out, name)
	}
	return err
}

// findingJSON is an image that was changed, as --json prints it.
type findingJSON struct {
	Image  string       `json:"image"`
	Guests []guest.Name `json:"guests"`
	Error  string       `json:"error"`
}

// imageVerify reads images again. What is not what it was makes it fail.
func (t *tool) imageVerify(ctx context.Context, words []string) error {
	p := t.newProgress("image")
	found, err := host.VerifyImages(ctx, t.host, words, p)
	p.end(err == nil)
	if err != nil {
		return hintImages(err)
	}
	list := make([]findingJSON, len(found))
	for i, f := range found {
		list[i] = findingJSON{f.Image, append([]guest.Name{}, f.Guests...), f.Err.Error()}
	}
	if t.json {
		if err := writeJSON(t.out, list); err != nil {
			return err
		}
	}
	const few = 8
	var errs []error
	for _, f := range found {
		whose := ""
		if len(f.Guests) > 0 {
			whose = ", root of " + joinedNames(f.Guests, few)
		}
		errs = append(errs, t.about("", fmt.Errorf("%s%s: %w", f.Image, whose, f.Err)))
	}
	return join(errs...)
}
