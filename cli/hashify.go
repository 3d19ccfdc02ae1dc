package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"vserver/fault"
	"vserver/guest"
	"vserver/host"
	"vserver/host/unification"
)

// hashifyFlags are the options of hashify.
type hashifyFlags struct {
	selection
	dry     bool
	exclude string
	old     oldUnify
}

func newHashify(t *tool) *cobra.Command {
	var f hashifyFlags
	c := command("hashify NAME... [OPTION...]", `
Makes files of guests that equal files of other guests or images one with these. Those
of a stopped guest go beneath its own layer, as hard links to objects of the pool: they
are on the disk and in memory once, and a guest that writes to one gets a copy of its
own. A guest that runs keeps its files where they are; on btrfs and XFS they get the
blocks of equal ones, elsewhere hashify is done when the guest is stopped next.

Left alone are files under 16 bytes, hard links, configuration files that dpkg knows,
and what an exclude list says: apps/vunify/exclude below the guest's name or .defaults
in the directory of the settings, or else a usual one (/etc, /home, /root, /srv, /tmp,
/var). Files that were unified once are not read again. With --all or --mark, guests whose
files cannot be unified are passed over with a word: those with root.kind dir where there
are no reflinks.`, `
vserver web1 hashify --dry-run
vserver hashify web1 web2
vserver hashify --all --exclude-from list`,
		func(ctx context.Context, args []string) error { return t.hashify(ctx, f, args) })
	f.flags(c)
	f.old.flags(c.Flags(), "refresh", "ignore-mtime", "insecure", "sledgehammer")
	return c
}

func (f *hashifyFlags) flags(c *cobra.Command) {
	f.selection.flags(c)
	c.Flags().BoolVarP(&f.dry, "dry-run", "n", false, "tell what would be saved and change nothing")
	c.Flags().StringVarP(&f.exclude, "exclude-from", "X", "", "`FILE` with an exclude list in the place of the guest's")
}

// hashify unifies files of guests, one guest after the other: each uses all processors.
func (t *tool) hashify(ctx context.Context, f hashifyFlags, args []string) error {
	if err := f.old.refused(); err != nil {
		return err
	}
	names, unread := t.pick(f.selection, args)
	errs := []error{unread}
	var all []host.Hashified
	for _, n := range names {
		h, err := t.hashifyOne(ctx, f, n)
		if f.several() && errors.Is(err, guest.ErrUnsupported) {
			fmt.Fprintf(t.err, "%s: passed over\n", fault.PlainLines(err.Error()))
			continue
		}
		if err != nil {
			errs = append(errs, t.about(n, hintBusy(n, err)))
			continue
		}
		t.warnRotten(n, h.Report.Rotten)
		all = append(all, h)
	}
	if t.json {
		errs = append(errs, writeJSON(t.out, append([]host.Hashified{}, all...)))
	} else if len(all) > 0 {
		_, err := t.out.WriteString(columns(hashifiedRows(all)))
		errs = append(errs, err)
	}
	return join(errs...)
}

func (t *tool) hashifyOne(ctx context.Context, f hashifyFlags, n guest.Name) (host.Hashified, error) {
	var o host.HashifyOptions
	if f.exclude != "" {
		list, err := os.Open(f.exclude)
		if err != nil {
			return host.Hashified{}, err
		}
		defer list.Close()
		o.Exclude = list
	}
	p := t.newProgress(n)
	o.DryRun, o.Progress = f.dry, io.Writer(p)
	if !t.json {
		o.Each = f.old.each(f.dry, t.out)
	}
	h, err := host.Hashify(ctx, t.host, n, o)
	p.end(err == nil)
	return h, err
}

// hintBusy says what to do about a root that somebody else has.
func hintBusy(n guest.Name, err error) error {
	if errors.Is(err, guest.ErrBusy) {
		return fault.Hint(err, "vserver "+string(n)+" status; `lsof +f -- DIRECTORY` finds who has it open")
	}
	return err
}

func hashifiedRows(all []host.Hashified) [][]string {
	rows := [][]string{{"GUEST", "WAY", "MOVED", "SAME", "NEW", "JOINED", "SAVED", "LEFT"}}
	for _, h := range all {
		r := h.Report
		left := r.Small + r.Linked + r.Left + r.Changed
		if h.Way == unification.Linked && h.Moved.Files+h.Moved.Left > 0 {
			left = h.Moved.Left
		}
		rows = append(rows, []string{
			string(h.Guest), h.Way, fmt.Sprint(h.Moved.Files), fmt.Sprint(r.Same), fmt.Sprint(r.New), fmt.Sprint(r.Joined),
			mebibytes(r.Saved), fmt.Sprint(left),
		})
	}
	return rows
}

func newUnhashify(t *tool) *cobra.Command {
	var s selection
	c := command("unhashify NAME... [OPTION...]", `
Undoes hashify for stopped guests: each gets copies of the files that were put beneath
its own layer. The disk must have room for them. What a snapshot lies on stays as it is.
Reflinked files need no undoing: they are each guest's own.`, `
vserver web1 unhashify
vserver unhashify --all`,
		func(ctx context.Context, args []string) error { return t.unhashify(ctx, s, args) })
	s.flags(c)
	return c
}

// unhashifiedJSON is what unhashify did, as --json prints it.
type unhashifiedJSON struct {
	Guest guest.Name `json:"guest"`
	host.Lifted
}

func (t *tool) unhashify(ctx context.Context, s selection, args []string) error {
	names, unread := t.pick(s, args)
	errs := []error{unread}
	list := []unhashifiedJSON{}
	for _, n := range names {
		p := t.newProgress(n)
		l, err := host.Unhashify(ctx, t.host, n, p)
		p.end(err == nil)
		if err != nil {
			errs = append(errs, t.about(n, hintBusy(n, err)))
			continue
		}
		list = append(list, unhashifiedJSON{n, l})
		if !t.json {
			fmt.Fprintf(t.out, "%s: %d files, %s\n", n, l.Files, mebibytes(l.Bytes))
		}
	}
	if t.json {
		errs = append(errs, writeJSON(t.out, list))
	}
	return join(errs...)
}
