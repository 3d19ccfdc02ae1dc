package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"vserver/fault"
	"vserver/guest"
	"vserver/host"
	"vserver/unify"
)

// poolFlags are the options of pool.
type poolFlags struct{ dry, afresh bool }

func newPool(t *tool) *cobra.Command {
	var f poolFlags
	c := command("pool ACTION [IMAGE...] [OPTION...]", `
Makes equal files of several images one file, and looks after those. Files are equal
when content, owner, mode, time of change and extended attributes are. They become hard
links to objects in the pool: on the disk and in memory once, for all guests.

  unify [IMAGE...]  make equal files of these images one; of all without a name
  verify            read all objects again, tell which images, layers and
                    guests a damaged one hits, repair it there when there is
                    another copy and none of these guests runs
  gc                remove objects that no image has any more, and what killed
                    operations left

An image that a guest runs upon is left alone. What is unified already is not read again.
A verify that was interrupted is gone on with by the next. vserver image verify holds
images against the digest they were made with; it finds files that are no objects, too.`, `
vserver pool unify --dry-run
vserver pool unify bookworm trixie
vserver pool verify
vserver pool gc --json`,
		func(ctx context.Context, args []string) error { return t.pool(ctx, f, args) })
	c.Flags().BoolVarP(&f.dry, "dry-run", "n", false, "tell what would be done and change nothing")
	c.Flags().BoolVar(&f.afresh, "afresh", false, "verify: begin at the start, whatever was interrupted")
	c.ValidArgsFunction = func(_ *cobra.Command, args []string, begun string) ([]string, cobra.ShellCompDirective) {
		words := []string{"unify\tmake equal files of images one", "verify\tread all objects again", "gc\tremove objects that no image has"}
		if len(args) > 0 {
			words = t.imageNames()
		}
		return matching(words, begun), cobra.ShellCompDirectiveNoFileComp
	}
	return c
}

// pool does something with the pool.
func (t *tool) pool(ctx context.Context, f poolFlags, args []string) error {
	switch {
	case t.subject != "":
		return usageHint("vserver pool --help", "%s: the pool is no part of a guest", t.subject)
	case len(args) == 0:
		return usageHint("vserver pool --help", "want unify, verify or gc")
	case args[0] == "unify":
		return t.about("", t.poolUnify(ctx, f, args[1:]))
	case args[0] != "verify" && args[0] != "gc":
		return usageHint("vserver pool --help", "%s: want unify, verify or gc", args[0])
	case len(args) > 1:
		return usageHint("vserver pool --help", "%s: is done with all, not with %s", args[0], args[1])
	case args[0] == "verify":
		return t.about("", t.poolVerify(ctx, f))
	}
	return t.about("", t.poolCollect(ctx, f))
}

func (t *tool) poolUnify(ctx context.Context, f poolFlags, words []string) error {
	p := t.newProgress("pool")
	all, err := host.UnifyImages(ctx, t.host, words, host.UnifyOptions{DryRun: f.dry, Progress: p})
	p.end(err == nil)
	if err != nil {
		return hintImages(err)
	}
	for _, u := range all {
		t.warnRotten(guest.Name(u.Image), u.Report.Rotten)
	}
	if t.json {
		return writeJSON(t.out, append([]host.Unified{}, all...))
	}
	rows := [][]string{{"IMAGE", "FILES", "SAME", "NEW", "JOINED", "SAVED", "LEFT"}}
	for _, u := range all {
		r := u.Report
		row := []string{u.Image, "in use"}
		if !u.Busy {
			row = []string{
				u.Image, fmt.Sprint(r.Files), fmt.Sprint(r.Same), fmt.Sprint(r.New), fmt.Sprint(r.Joined),
				mebibytes(r.Saved), fmt.Sprint(r.Small + r.Linked + r.Left + r.Changed),
			}
		}
		rows = append(rows, row)
	}
	if _, err = t.out.WriteString(columns(rows)); err != nil {
		return err
	}
	return t.warnTwins()
}

// warnTwins tells of images that are another one under a second name: they cost what cannot
// be linked, their directories, and a guest can do without.
func (t *tool) warnTwins() error {
	all, err := host.Images(t.host)
	if err != nil {
		return err
	}
	first := map[string]string{} // by digest
	for _, im := range all {
		one := first[im.Digest]
		switch {
		case im.Digest == "":
		case one == "":
			first[im.Digest] = im.Name
		default:
			way := "vserver image delete " + im.Name
			if len(im.Guests) > 0 {
				way = fmt.Sprintf("vserver %s rebase --keep %s, then %s", im.Guests[0], one, way)
			}
			t.warn(guest.Name(im.Name), "is as "+one+", but for times: "+way)
		}
	}
	return nil
}

// warnRotten tells of objects that were passed over.
func (t *tool) warnRotten(of guest.Name, n int64) {
	if n > 0 {
		t.warn(of, fmt.Sprintf("%d equal objects of the pool are damaged and were passed over; vserver pool verify repairs them", n))
	}
}

// mebibytes writes a size for people.
func mebibytes(n int64) string { return fmt.Sprintf("%.1fM", float64(n)/(1<<20)) }

// verifiedJSON is what pool verify found, as --json prints it.
type verifiedJSON struct {
	Objects int64          `json:"objects"`
	Bytes   int64          `json:"bytes"`
	Resumed string         `json:"resumed"`
	Damaged []host.Damaged `json:"damaged"`
}

func (t *tool) poolVerify(ctx context.Context, f poolFlags) error {
	p := t.newProgress("pool")
	v, bad, err := host.VerifyPool(ctx, t.host, host.VerifyOptions{Afresh: f.afresh, DryRun: f.dry, Progress: p})
	p.end(err == nil)
	if err != nil {
		return err
	}
	if t.json {
		if err := writeJSON(t.out, verifiedJSON{v.Objects, v.Bytes, v.Resumed, append([]host.Damaged{}, bad...)}); err != nil {
			return err
		}
	} else {
		since := ""
		if v.Resumed != "" {
			since = ", from where the last ended"
		}
		fmt.Fprintf(t.out, "%d objects, %s, %d damaged%s\n", v.Objects, mebibytes(v.Bytes), len(bad), since)
	}
	var errs []error
	for _, d := range bad {
		if text := hits(d); !d.Repaired {
			errs = append(errs, t.about("", hintDamage(d, text)))
		} else if !t.json {
			fmt.Fprintln(t.out, "repaired:", text)
		}
	}
	return join(errs...)
}

// hits says whom a damaged object hits.
func hits(d host.Damaged) string {
	const few = 8
	var places []string
	for _, p := range d.Places {
		places = append(places, fault.Plain(p.Tree+":/"+p.Path))
	}
	if len(places) == 0 {
		places = []string{"no image, no layer"}
	}
	text := fmt.Sprintf("object %s: %s", d.Path, joined(places, few))
	if len(d.Guests) > 0 {
		text += ", root of " + joinedNames(d.Guests, few)
	}
	return text
}

func hintDamage(d host.Damaged, text string) error {
	err := d.Err
	if err == nil {
		err = errors.New("is not what it was")
	}
	err = fmt.Errorf("%s: %w", text, err)
	switch {
	case errors.Is(err, unify.ErrHeld) && len(d.Running) > 0:
		return fault.Hint(err, "vserver stop "+strings.Trim(fmt.Sprint(d.Running), "[]")+", then vserver pool verify again")
	case errors.Is(err, unify.ErrHeld), errors.Is(err, guest.ErrBusy):
		return fault.Hint(err, "vserver pool verify again, when nothing else uses it")
	case errors.Is(err, unify.ErrNoCopy):
		return fault.Hint(err, "vserver image build or import an image that has the file, then vserver pool verify takes it from there")
	}
	return err
}

func (t *tool) poolCollect(ctx context.Context, f poolFlags) error {
	c, err := host.CollectPool(ctx, t.host, f.dry)
	switch {
	case errors.Is(err, guest.ErrBusy):
		return fault.Hint(err, "vserver pool gc again, when nothing is unified or verified any more")
	case err != nil:
		return err
	case t.json:
		return writeJSON(t.out, c)
	}
	_, err = fmt.Fprintf(t.out, "%d objects, %s\n", c.Objects, mebibytes(c.Bytes))
	return err
}
