package cli

import (
	"context"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"vserver/guest"
)

type listFlags struct {
	quiet, running, stopped bool
	marks                   []string
}

func newList(t *tool) *cobra.Command {
	var f listFlags
	c := command("list [NAME...] [OPTION...]", `
Lists the guests of this host with their number, state, init and addresses. One
whose spec cannot be read is listed as broken; vserver info says why.`, `
vserver list
vserver list --running -q
vserver list --json`,
		func(_ context.Context, args []string) error { return t.list(f, args) })
	c.Flags().BoolVarP(&f.quiet, "quiet", "q", false, "print only names")
	c.Flags().BoolVar(&f.running, "running", false, "only guests that run")
	c.Flags().BoolVar(&f.stopped, "stopped", false, "only guests that do not run")
	c.Flags().StringSliceVar(&f.marks, "mark", nil, "only guests with this mark (boot.marks)")
	return c
}

// list lists guests.
func (t *tool) list(f listFlags, args []string) error {
	all, err := t.host.List(t.json)
	if err != nil {
		return err
	}
	if len(args) > 0 || t.subject != "" || len(f.marks) > 0 {
		names, err := t.pick(selection{marks: f.marks}, args)
		if len(names) == 0 && err != nil {
			return err
		}
		for _, n := range names {
			if !slices.ContainsFunc(all, func(s guest.Status) bool { return s.Name == n }) {
				return t.about(n, guest.ErrNotFound)
			}
		}
		all = slices.DeleteFunc(all, func(s guest.Status) bool { return !slices.Contains(names, s.Name) })
	}
	all = slices.DeleteFunc(all, func(s guest.Status) bool {
		return f.running && !isUp(s) || f.stopped && isUp(s)
	})
	switch {
	case t.json && f.quiet:
		names := []guest.Name{}
		for _, s := range all {
			names = append(names, s.Name)
		}
		return writeJSON(t.out, names)
	case t.json:
		return writeStatuses(t, all, false)
	}
	_, err = t.out.WriteString(t.listText(all, f.quiet))
	return err
}

// listText is the table.
func (t *tool) listText(all []guest.Status, quiet bool) string {
	if quiet {
		var b strings.Builder
		for _, s := range all {
			b.WriteString(string(s.Name) + "\n")
		}
		return b.String()
	}
	rows := [][]string{{"NAME", "XID", "STATE", "INIT", "UPTIME", "ADDRESSES"}}
	for _, s := range all {
		row := []string{string(s.Name), strconv.Itoa(int(s.XID)), string(s.State), "-", "-", addresses(s)}
		if isUp(s) {
			row[3], row[4] = strconv.Itoa(s.InitPID), span(seconds(s.UptimeS))
		}
		rows = append(rows, row)
	}
	return t.paintStates(columns(rows))
}

// paintStates colours the states, after the columns were set.
func (t *tool) paintStates(text string) string {
	for state, colour := range map[guest.State]string{guest.Running: "32", guest.Frozen: "36", guest.Broken: "31"} {
		word := "  " + string(state) + " "
		text = strings.ReplaceAll(text, word, "  "+t.paint(string(state), colour)+" ")
	}
	return text
}

// addresses joins a guest's addresses, or says what it has instead.
func addresses(s guest.Status) string {
	if len(s.Addresses) == 0 {
		if s.Mode == guest.NetHost {
			return "(host's)"
		}
		return "-"
	}
	words := make([]string, len(s.Addresses))
	for i, a := range s.Addresses {
		words[i] = a.String()
	}
	return strings.Join(words, " ")
}
