package cli

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"vserver/guest"
)

type fleetFlags struct {
	start, stop, status, test          bool
	all, marked, unmarked, running, no bool // no: those that are stopped
	marks                              []string
	jobs                               int
}

func newStartVservers(t *tool) *cobra.Command {
	f := fleetFlags{stop: t.program == "stop-vservers"}
	c := command("start-vservers [OPTION...] [-- NAME...]", `
Starts or stops many guests as Linux-VServer's tool of that name did: those that are
named and those that the options choose, which narrow each other down. Guests start in
parallel, each after those of them that its boot.depends names, and stop in the opposite
order. One that fails holds up those alone that need it. Guests that are as wanted
already are passed over.

The exit code is 0 when all are as wanted, 1 when none could be brought there, and 2
when some could not.`, `
start-vservers -m default -j 6 --start --all
start-vservers --stop --running
start-vservers --status --marked
start-vservers -- web1 db1`,
		func(ctx context.Context, args []string) error { return t.fleet(ctx, f, args) })
	flags := c.Flags()
	flags.BoolVar(&f.start, "start", false, "start them, which is the default")
	flags.BoolVar(&f.stop, "stop", f.stop, "stop them (stop-vservers)")
	flags.BoolVar(&f.status, "status", false, "say how they are; the exit code is 3 when one is stopped")
	flags.StringSliceVarP(&f.marks, "mark", "m", nil, "those with this `MARK`; with a '!' in front those without")
	flags.IntVarP(&f.jobs, "jobs", "j", 99, "`N` guests at once")
	flags.BoolVar(&f.all, "all", false, "all guests")
	flags.BoolVar(&f.marked, "marked", false, "those with a mark")
	flags.BoolVar(&f.unmarked, "unmarked", false, "those without")
	flags.BoolVar(&f.running, "running", false, "those that run")
	flags.BoolVar(&f.no, "stopped", false, "those that do not")
	flags.BoolVar(&f.test, "test", false, "print what would be done, in order")
	for _, ignored := range []string{"debug", "quiet"} {
		flags.Bool(ignored, false, "")
		flags.Lookup(ignored).Hidden = true
	}
	return c
}

// fleet starts or stops many guests.
func (t *tool) fleet(ctx context.Context, f fleetFlags, args []string) error {
	names, err := t.chosen(f, args)
	if err != nil || len(names) == 0 {
		return err
	}
	if f.jobs < 1 {
		return usagef("-j %d: want 1 or more", f.jobs)
	}
	t.jobs = f.jobs
	names, o := t.unlike(f, names), dependsFirst
	verb := "start"
	if f.stop {
		verb, o = "stop", dependsLast
	}
	switch {
	case f.status:
		return t.status(texts(names))
	case f.test:
		return t.rehearse(verb, names, o)
	}
	t.verb = verb
	w := t.newWaiting()
	err = t.inOrder(ctx, names, o, func(ctx context.Context, n guest.Name) error {
		if f.stop {
			return t.stopOne(ctx, stopFlags{selection: selection{all: true}}, w, n)
		}
		return t.startOne(ctx, startFlags{selection: selection{all: true}, silent: true}, n)
	})
	return partly(err, len(names))
}

// texts are names as words.
func texts(names []guest.Name) []string {
	out := make([]string, len(names))
	for i, n := range names {
		out[i] = string(n)
	}
	return out
}

// chosen gives the guests that the words and the options mean.
func (t *tool) chosen(f fleetFlags, args []string) ([]guest.Name, error) {
	filters := f.marked || f.unmarked || f.running || f.no || len(f.marks) > 0
	var names []guest.Name
	var err error
	switch {
	case len(args) > 0:
		names, err = t.names(args)
	case f.all || filters:
		names, err = t.host.Names()
	default:
		return nil, usageHint("vserver start-vservers --help", "which guests? --all, --mark MARK, or names behind --")
	}
	if err != nil || !filters {
		return names, err
	}
	return slices.DeleteFunc(names, func(n guest.Name) bool { return !t.fits(f, n) }), nil
}

// fits tells whether a guest is one of those that the options leave. One whose spec cannot
// be read has no marks.
func (t *tool) fits(f fleetFlags, n guest.Name) bool {
	var marks []string
	if spec, err := t.host.Load(n); err == nil {
		marks = spec.Boot.Marks
	}
	if f.marked && len(marks) == 0 || f.unmarked && len(marks) > 0 {
		return false
	}
	for _, m := range f.marks {
		bare := strings.TrimLeft(m, "!~")
		if (len(m)-len(bare))%2 == 1 && slices.Contains(marks, bare) {
			return false
		}
	}
	wanted := slices.DeleteFunc(slices.Clone(f.marks), func(m string) bool { return strings.TrimLeft(m, "!~") != m })
	if len(wanted) > 0 && !slices.ContainsFunc(wanted, func(m string) bool { return slices.Contains(marks, m) }) {
		return false
	}
	if f.running || f.no {
		s, err := t.host.Status(n)
		up := err == nil && isUp(s)
		return up && f.running || !up && f.no
	}
	return true
}

// unlike leaves out the guests that are as wanted already.
func (t *tool) unlike(f fleetFlags, names []guest.Name) []guest.Name {
	if f.status {
		return names
	}
	return slices.DeleteFunc(slices.Clone(names), func(n guest.Name) bool {
		s, err := t.host.Status(n)
		return err == nil && isUp(s) != f.stop
	})
}

// rehearse prints what would be done: each guest with those that it waits for.
func (t *tool) rehearse(verb string, names []guest.Name, o order) error {
	before, err := t.before(names, o)
	if err != nil {
		return err
	}
	done := map[guest.Name]bool{}
	for len(done) < len(names) {
		for _, n := range names {
			if done[n] || slices.ContainsFunc(before[n], func(b guest.Name) bool { return !done[b] }) {
				continue
			}
			done[n] = true
			after := ""
			if len(before[n]) > 0 {
				after = " after " + strings.Join(texts(before[n]), " ")
			}
			fmt.Fprintf(t.out, "%s %s%s\n", verb, n, after)
		}
	}
	return nil
}

// partly makes the exit code 1 of errors that all guests had, and 2 of those of some.
func partly(err error, of int) error {
	if err == nil {
		return nil
	}
	failed, ok := err.(many)
	if !ok {
		failed = many{err}
	}
	exit := exitFailed
	if len(failed) < of {
		exit = exitUsage
	}
	for i, e := range failed {
		failed[i] = coded{e, exit}
	}
	return failed
}
