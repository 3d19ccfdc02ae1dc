package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"vserver/fault"
	"vserver/host"
	"vserver/kernel/probe"
	"vserver/sysctl"
)

type checkFlags struct {
	fix, problems, isolation, sweep bool
	mode, userns                    string
}

func newCheck(t *tool) *cobra.Command {
	var f checkFlags
	c := command("check [OPTION...]", `
Says what this kernel and this host can do for guests, a line for each thing, with
the version or the setting that would bring what is missing and what is lost
without; and which settings of the host bite when there are many guests. The exit
code is 7 when a guest could not be run safely.

With --fix the settings that are too low are raised, now and for each boot to come.

With --isolation two guests are made of nothing but this program, and in one of them its
root tries some 250 attacks: ways out, at the kernel, at the other guest, at what the
kernel has one pool of for everybody. Each is printed with what came of it; the exit code
is 1 when one is not refused. Nothing is left of the guests, even if the command is
killed.`, `
vserver check
vserver check --fix
vserver check --isolation --mode private --problems`,
		func(ctx context.Context, args []string) error { return t.check(ctx, f, args) })
	c.Flags().BoolVar(&f.isolation, "isolation", false, "try to break out of a guest made for it")
	c.Flags().StringVar(&f.mode, "mode", "shared", "network `MODE` of that guest: shared, private, host or none")
	c.Flags().StringVar(&f.userns, "userns", "private", "user `NAMESPACE` of that guest: private or none")
	c.Flags().BoolVar(&f.sweep, "isolation-sweep", false, "")
	c.Flags().MarkHidden("isolation-sweep")
	c.Flags().BoolVar(&f.fix, "fix", false, "raise the settings of the host that are too low")
	c.Flags().BoolVarP(&f.problems, "problems", "p", false, "only what is missing or too low")
	return c
}

// checked is what check says, for --json.
type checked struct {
	*host.Report
	OK      bool          `json:"ok"` // guests can be run safely
	Changes []checkChange `json:"changes,omitempty"`
}

// checkChange is what --fix did to a setting.
type checkChange struct {
	sysctl.Change
	Problem string `json:"problem,omitempty"` // why it could not be changed
}

// check says what the host can do for guests.
func (t *tool) check(ctx context.Context, f checkFlags, args []string) error {
	if len(args) > 0 || t.subject != "" {
		return usageHint("vserver check", "takes no name; it is about the host")
	}
	switch {
	case f.sweep:
		return t.sweepIsolation(ctx)
	case f.isolation:
		return t.isolation(ctx, f)
	}
	report, err := t.host.Check()
	if err != nil {
		return err
	}
	out := checked{Report: report, OK: report.Err() == nil}
	var failed error
	if f.fix {
		changes, err := report.Fix(t.host.Dirs)
		if err != nil {
			return err
		}
		out.Changes, failed = fixed(changes)
		if report, err = t.host.Check(); err != nil {
			return err
		}
		out.Report = report
	}
	if t.json {
		return join(writeJSON(t.out, out), failed, report.Err())
	}
	t.out.WriteString(t.checkText(out, f.problems))
	return join(failed, unsafe(report.Err()))
}

// unsafe says what a missing feature means.
func unsafe(err error) error {
	return fault.Hint(err, "vserver check --problems says what brings it")
}

// fixed tells the changes that were made from those that were not.
func fixed(changes []sysctl.Change) (out []checkChange, failed error) {
	var errs []error
	for _, c := range changes {
		one := checkChange{Change: c}
		if c.Err != nil {
			one.Problem = c.Err.Error()
			errs = append(errs, fmt.Errorf("%s: %w", c.Name, c.Err))
		}
		out = append(out, one)
	}
	return out, errors.Join(errs...)
}

// checkText is the answer in lines.
func (t *tool) checkText(c checked, problems bool) string {
	var b strings.Builder
	width := 0
	for _, r := range c.Features {
		width = max(width, len(r.Name))
	}
	for _, r := range c.Features {
		if problems && r.State == probe.Yes {
			continue
		}
		fmt.Fprintf(&b, "%s  %-*s  %s\n", t.verdict(r), width, r.Name, featureText(r))
	}
	for _, s := range c.Settings {
		switch {
		case !s.OK:
			fmt.Fprintf(&b, "%s  %s = %s, wants %s: %s%s\n", t.paint("low ", "33"), s.Name, s.Value, s.Wanted, s.Why, wayOut(s))
		case !problems:
			fmt.Fprintf(&b, "%s  %s = %s\n", t.paint("ok  ", "32"), s.Name, s.Value)
		}
	}
	for _, ch := range c.Changes {
		if ch.Err == nil {
			fmt.Fprintf(&b, "set   %s from %s to %s\n", ch.Name, ch.From, ch.To)
		}
	}
	return b.String()
}

// verdict is the word in front of a feature's line.
func (t *tool) verdict(r probe.Result) string {
	switch {
	case r.State == probe.Yes:
		return t.paint("ok  ", "32")
	case r.State == probe.Unknown:
		return t.paint("?   ", "33")
	case r.Required:
		return t.paint("BAD ", "31")
	}
	return t.paint("no  ", "33")
}

// featureText is what guests have of a feature, or what is lost without.
func featureText(r probe.Result) string {
	found := ""
	if r.Found != "" {
		found = " (" + r.Found + ")"
	}
	if r.State == probe.Yes {
		return r.Gives + found
	}
	lost := r.Lost
	if !strings.HasPrefix(lost, "without ") {
		lost = "without: " + lost
	}
	return r.Gives + found + "; needs " + r.Brings + "; " + lost
}

// wayOut is how a setting is raised.
func wayOut(s sysctl.Setting) string {
	if s.Hint != "" {
		return "; " + s.Hint
	}
	return "; vserver check --fix sets it"
}
