package cli

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"vserver/fault"
	"vserver/guest"
	"vserver/host"
)

// copyText is what the three commands that copy files have in common.
const copyText = `
DEST is a directory that is there, which gets the copies by their own names, or the name
of the one copy. "-" in the place of a file is standard input or output.

A path of a guest's is what the guest's root would find there, and no link in it leads
out of the guest. A guest that runs is seen with its volumes, a stopped one with those
that are directories of the host's; it is not started meanwhile. What the guest's root
itself could not read or write is refused. A file gets its name when it is whole: after
an interruption, a full disk or a kill there is the old one, or none. Files in a guest
count as the guest's on the disk. A link in the place of a file is replaced, not written
through.

Without -r only files are copied, and a link as the file that it leads to. With -r or -a
links stay links; fifos, sockets, devices and what is mounted below are left out and
named.`

func newPush(t *tool) *cobra.Command {
	o := &copyFlags{}
	c := command("push NAME [OPTION...] FILE... DEST", `
Copies files of the host's into a guest, running or not.
`+copyText+`

The copies belong to the guest's root, or to --owner, and have the permission bits of
the originals, for the owner alone to write, or those of --mode.`, `
vserver web1 push index.html /var/www/html/
vserver push web1 -r site /srv
vserver push web1 --owner www-data --mode 640 key.pem /etc/ssl/private/
echo hello | vserver web1 push - /etc/motd`,
		func(ctx context.Context, args []string) error { return t.push(ctx, o, args) })
	o.flags(c)
	c.ValidArgsFunction = t.completeCopies
	return c
}

func newPull(t *tool) *cobra.Command {
	o := &copyFlags{}
	c := command("pull NAME [OPTION...] FILE... DEST", `
Copies files of a guest's, running or not, to the host.
`+copyText+`

The copies belong to who calls, and only the owner may write to them.`, `
vserver web1 pull /etc/passwd .
vserver pull web1 -r /var/log logs
vserver web1 pull /etc/fstab -`,
		func(ctx context.Context, args []string) error { return t.pull(ctx, o, args) })
	c.Flags().BoolVarP(&o.recursive, "recursive", "r", false, "directories too, with all that is in them")
	c.ValidArgsFunction = t.completeCopies
	return c
}

func newCp(t *tool) *cobra.Command {
	o := &copyFlags{}
	c := command("cp [OPTION...] SOURCE... DEST", `
Copies files between the host and guests, or from one guest to another. NAME:PATH is a
guest's, another path the host's; one of those with a colon in it is written ./a:b.
`+copyText+`

The copies belong to the guest's root, or to who calls, as with push and pull. With -a
they keep owners, by their numbers in the guest, permission bits, times, attributes and
hard links; on the host no copy is set-user-ID or has capabilities.`, `
vserver cp web1:/etc/fstab .
vserver cp -r site web1:/srv
vserver cp -a web1:/srv/www web2:/srv`,
		func(ctx context.Context, args []string) error { return t.cp(ctx, o, args) })
	c.Flags().BoolVarP(&o.archive, "archive", "a", false, "directories too, and all with owners, bits, times, attributes, hard links")
	o.flags(c)
	c.ValidArgsFunction = t.completeCopies
	return c
}

// copyFlags are the options of the three.
type copyFlags struct {
	recursive, archive bool
	mode, owner        string
}

func (o *copyFlags) flags(c *cobra.Command) {
	c.Flags().BoolVarP(&o.recursive, "recursive", "r", false, "directories too, with all that is in them")
	c.Flags().StringVar(&o.mode, "mode", "", "permission bits of the files, `OCTAL`")
	c.Flags().StringVar(&o.owner, "owner", "", "`USER[:GROUP]` of the guest, who gets the copies")
}

// options are those of the flags.
func (o *copyFlags) options() (out host.CopyOptions, err error) {
	out = host.CopyOptions{Recursive: o.recursive, Archive: o.archive, Owner: o.owner}
	if o.mode == "" {
		return out, nil
	}
	bits, err := strconv.ParseUint(o.mode, 8, 32)
	if err != nil || bits > 0o7777 {
		return out, usagef("--mode %s: want up to four octal digits, as 640", o.mode)
	}
	mode := uint32(bits)
	out.Mode = &mode
	return out, nil
}

func (t *tool) push(ctx context.Context, o *copyFlags, args []string) error {
	n, paths, err := t.copied(args)
	if err != nil {
		return err
	}
	to := host.CopyPlace{Guest: n, Path: paths[len(paths)-1]}
	var from []host.CopyPlace
	for _, p := range paths[:len(paths)-1] {
		f, err := t.here(p)
		if err != nil {
			return err
		}
		if p == "-" {
			f.In = t.in
		}
		from = append(from, f)
	}
	return t.copyFiles(ctx, o, from, to)
}

func (t *tool) pull(ctx context.Context, o *copyFlags, args []string) error {
	n, paths, err := t.copied(args)
	if err != nil {
		return err
	}
	var from []host.CopyPlace
	for _, p := range paths[:len(paths)-1] {
		from = append(from, host.CopyPlace{Guest: n, Path: p})
	}
	to, err := t.here(paths[len(paths)-1])
	if err != nil {
		return err
	}
	if paths[len(paths)-1] == "-" {
		to.Out = t.out
	}
	return t.copyFiles(ctx, o, from, to)
}

// copied gives the guest and the paths of push and pull.
func (t *tool) copied(args []string) (guest.Name, []string, error) {
	n, paths, err := t.one(args)
	if err == nil && len(paths) < 2 {
		err = usageHint("vserver "+t.verb+" --help", "want a guest, what to copy and where to")
	}
	return n, paths, err
}

// here is a path of the host's. A slash at its end stays: it says that it is a directory.
func (t *tool) here(p string) (host.CopyPlace, error) {
	if p == "" {
		return host.CopyPlace{}, usagef("a path is empty")
	}
	abs, err := filepath.Abs(p)
	if strings.HasSuffix(p, "/") && abs != "/" {
		abs += "/"
	}
	if strings.HasSuffix(p, "/.") || p == "." || strings.HasSuffix(p, "..") && filepath.Base(p) == ".." {
		abs += "/."
	}
	return host.CopyPlace{Path: abs}, err
}

func (t *tool) cp(ctx context.Context, o *copyFlags, args []string) error {
	if t.subject != "" {
		return usageHint("vserver cp "+t.subject+":PATH DEST", "%s: the guest stands before the path", t.subject)
	}
	if len(args) < 2 {
		return usageHint("vserver cp --help", "want what to copy and where to")
	}
	places := make([]host.CopyPlace, len(args))
	guests := false
	for i, p := range args {
		var err error
		if places[i], err = t.place(p); err != nil {
			return err
		}
		last := i == len(args)-1
		if p == "-" && last {
			places[i].Out = t.out
		} else if p == "-" {
			places[i].In = t.in
		}
		guests = guests || places[i].Guest != ""
	}
	if !guests {
		return usageHint("vserver cp web1:/etc/fstab .", "no path is a guest's: want NAME:PATH")
	}
	return t.copyFiles(ctx, o, places[:len(args)-1], places[len(args)-1])
}

// place is a path of a guest's or the host's.
func (t *tool) place(p string) (host.CopyPlace, error) {
	word, path, colon := strings.Cut(p, ":")
	if !colon || strings.Contains(word, "/") || word == "" {
		return t.here(p)
	}
	n, err := t.name(word)
	if err != nil {
		return host.CopyPlace{}, fault.Hint(err, "a path of the host's with a colon is written ./"+p)
	}
	if path == "" {
		return host.CopyPlace{}, usagef("%s: a path is missing", p)
	}
	return host.CopyPlace{Guest: n, Path: path}, nil
}

// copyJSON is what was copied, as --json prints it.
type copyJSON struct {
	Bytes   int64      `json:"bytes"`
	Omitted []omitJSON `json:"omitted"`
}

type omitJSON struct {
	Path string `json:"path"`
	Why  string `json:"why"`
}

// copyFiles copies, and shows how far it is when it takes long.
func (t *tool) copyFiles(ctx context.Context, o *copyFlags, from []host.CopyPlace, to host.CopyPlace) error {
	options, err := o.options()
	if err != nil {
		return err
	}
	if options.Owner != "" && to.Guest == "" {
		return usagef("--owner: is for copies in a guest")
	}
	p := t.newProgress(t.copyName(from, to))
	sum := copyJSON{Omitted: []omitJSON{}}
	const begin, pause = 700 * time.Millisecond, 200 * time.Millisecond
	next := time.Now().Add(begin)
	options.Tell = func(path string, n int64) {
		sum.Bytes += n
		if now := time.Now(); p.live && now.After(next) {
			next = now.Add(pause)
			fmt.Fprintf(p, "%s K  %s\n", kibi(guest.Bytes(sum.Bytes)), path)
		}
	}
	options.Omit = func(path, why string) { sum.Omitted = append(sum.Omitted, omitJSON{path, why}) }
	err = host.CopyFiles(ctx, t.host, from, to, options)
	p.end(err == nil)
	if err != nil {
		var own *fault.Error
		if errors.As(err, &own) {
			return t.about(guest.Name(own.Guest), err)
		}
		return t.about("", fault.New("", t.verb, err))
	}
	if t.json && to.Out == nil {
		return writeJSON(t.out, sum)
	}
	for _, o := range sum.Omitted {
		fmt.Fprintf(t.err, "%s: left out: %s\n", fault.Plain(o.Path), o.Why)
	}
	return nil
}

// copyName is the guest that a copying is about.
func (t *tool) copyName(from []host.CopyPlace, to host.CopyPlace) guest.Name {
	if to.Guest != "" {
		return to.Guest
	}
	return from[0].Guest
}

// completeCopies offers guests where one can be named, and the host's files.
func (t *tool) completeCopies(_ *cobra.Command, args []string, begun string) ([]string, cobra.ShellCompDirective) {
	if t.verb == "cp" {
		var words []string
		for _, n := range t.guestNames(begun) {
			words = append(words, n+":/")
		}
		return words, cobra.ShellCompDirectiveNoSpace
	}
	if t.subject == "" && len(args) == 0 {
		return t.guestNames(begun), cobra.ShellCompDirectiveNoFileComp
	}
	return nil, cobra.ShellCompDirectiveDefault
}
