package cli

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"vserver/fault"
	"vserver/guest"
	"vserver/unify"
)

// oldUnify are the options of vunify and vhashify that ask for what is so here anyway, or
// cannot be.
type oldUnify struct {
	manually bool
	to       string
	verbose  int
}

// flags adds them, and words that are taken and change nothing.
func (o *oldUnify) flags(fl *pflag.FlagSet, taken ...string) {
	fl.BoolVar(&o.manually, "manually", false, "")
	fl.StringVar(&o.to, "destination", "", "")
	fl.CountVarP(&o.verbose, "verbose", "v", "tell which files are skipped; twice: and why, and which become one; thrice: and which are one already")
	for _, name := range taken {
		fl.Bool(name, false, "")
	}
	for _, name := range append(taken, "manually", "destination") {
		fl.Lookup(name).Hidden = true
	}
}

// each tells what becomes of a guest's files, in the words of the old tools. A dry run tells of
// what would become one as well.
func (o *oldUnify) each(dry bool, out io.Writer) unify.Each {
	if o.verbose == 0 {
		return nil
	}
	fmt.Fprintln(out, "Starting to traverse directories...")
	return func(path, skipped string) {
		path = fault.Plain(path)
		switch {
		case skipped == "":
			if o.verbose > 1 || dry {
				fmt.Fprintf(out, "unifying   '%s'\n", path)
			}
		case skipped == unify.Unified && o.verbose < 3:
		case o.verbose == 1:
			fmt.Fprintf(out, "  skipping '%s'\n", path)
		default:
			fmt.Fprintf(out, "  skipping '%s' (%s)\n", path, skipped)
		}
	}
}

func (o *oldUnify) refused() error {
	if o.manually || o.to != "" {
		return fault.Hint(fmt.Errorf("--manually, --destination: no directories alone, for an object needs a guest or image that has it: %w", guest.ErrUnsupported),
			"`vserver image import NAME DIRECTORY` and `vserver pool unify NAME`")
	}
	return nil
}

func newUnify(t *tool) *cobra.Command {
	var f hashifyFlags
	var undo bool
	c := command("unify NAME... [OPTION...]", `
Makes files of guests that equal files of other guests or images one with these, as
Linux-VServer's vunify did with those of a reference server: that is vserver hashify,
which compares what is in the files and needs no reference. With --undo it is vserver
unhashify.`, `
vserver web1 unify -n
vunify -R web1`,
		func(ctx context.Context, args []string) error {
			if !undo {
				return t.hashify(ctx, f, args)
			}
			if err := f.old.refused(); err != nil {
				return err
			}
			if f.dry {
				return usageHint("vserver vdu tells what guests have in common", "--dry-run does not go with --undo")
			}
			return t.unhashify(ctx, f.selection, args)
		})
	f.flags(c)
	c.Flags().BoolVarP(&undo, "undo", "R", false, "give stopped guests copies of what is one")
	f.old.flags(c.Flags())
	c.Flags().BoolP("one-file-system", "x", false, "")
	c.Flags().Lookup("one-file-system").Hidden = true
	return c
}
