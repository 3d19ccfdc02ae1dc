package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"vserver/fault"
	"vserver/guest"
)

func newStatus(t *tool) *cobra.Command {
	return command("status NAME...", `
Says whether guests run, since when and with how many processes, and what is wrong with
one that runs, as a program that holds it in missing from its network; of a stopped
one, why its init ended last time, with the last lines of its console. The exit code is
0 when all of them run, 3 when one does not, 5 when there is no such guest.`, `
vserver web1 status
vserver status web1 --json`,
		func(_ context.Context, args []string) error { return t.status(args) })
}

// status says how guests are.
func (t *tool) status(args []string) error {
	names, err := t.names(args)
	if err != nil {
		return err
	}
	var errs many
	var list []guest.Status
	for _, n := range names {
		s, err := t.look(n)
		switch {
		case err != nil:
			errs = append(errs, t.about(n, err))
			continue
		case s.State == guest.Broken:
			hint := "vserver edit " + string(n)
			if strings.HasSuffix(s.Problem, fs.ErrPermission.Error()) && os.Geteuid() != 0 {
				hint = rootsHint
			}
			errs = append(errs, fault.Hint(fault.New(string(n), t.verb, fmt.Errorf("%s", s.Problem)), hint))
		case !isUp(s):
			errs = append(errs, code(exitStopped))
		}
		list = append(list, s)
	}
	if t.json {
		return join(writeStatuses(t, list, len(names) == 1), join(errs...))
	}
	for _, s := range list {
		t.out.WriteString(t.statusText(s))
	}
	return join(errs...)
}

// notes bounds the wait for the note of how a guest has ended, in pauses of 3 ms:
// vserverd takes some 20 ms. Without one, there is no note before the next start.
const notes = 100

// look says how a guest is. One that ended a moment ago is looked at until that is
// noted. That there is none is said without the way it was found out, since the verb
// need not be status.
func (t *tool) look(n guest.Name) (guest.Status, error) {
	s, err := t.host.Status(n)
	for i := 0; err == nil && s.LastExit != nil && s.LastExit.Time.IsZero() && i < notes; i++ {
		time.Sleep(3 * time.Millisecond)
		s, err = t.host.Status(n)
	}
	if errors.Is(err, guest.ErrNotFound) {
		err = guest.ErrNotFound
	}
	return s, err
}

// plain makes an empty list of addresses a list for JSON.
func plain(s guest.Status) guest.Status {
	if s.Addresses == nil {
		s.Addresses = []netip.Prefix{}
	}
	return s
}

// writeStatuses prints one status as an object and several as a list.
func writeStatuses(t *tool, list []guest.Status, one bool) error {
	if one && len(list) == 0 {
		return nil
	}
	if one {
		return writeJSON(t.out, plain(list[0]))
	}
	all := make([]guest.Status, len(list))
	for i, s := range list {
		all[i] = plain(s)
	}
	return writeJSON(t.out, all)
}

// statusText is the text of status: first the very lines of Linux-VServer, which
// scripts read, then ours.
func (t *tool) statusText(s guest.Status) string {
	var b strings.Builder
	if isUp(s) {
		fmt.Fprintf(&b, "Vserver '%s' is running at context '%d'\n", s.Name, s.XID)
		fmt.Fprintf(&b, "Number of processes:  %d\n", s.Processes)
		fmt.Fprintf(&b, "Uptime:               %s\n", uptime(seconds(s.UptimeS)))
		if disk := diskText(s.Disk); disk != "" {
			fmt.Fprintf(&b, "Disk:                 %s\n", disk)
		}
		if s.Reclaimed > 0 {
			fmt.Fprintf(&b, "Taken back:           %s of memory, while it was idle\n", mebibytes(int64(s.Reclaimed)))
		}
		mounted(&b, s.Mounted)
		for i, line := range poolLines(s.Limits) {
			label := ""
			if i == 0 {
				label = "Limits:"
			}
			fmt.Fprintf(&b, "%-22s%s\n", label, line)
		}
		if s.State == guest.Frozen {
			b.WriteString("State:                frozen\n")
		}
		if s.Problem != "" {
			fmt.Fprintf(&b, "Problem:              %s\n", s.Problem)
		}
		return b.String()
	}
	if s.State == guest.Broken {
		return ""
	}
	fmt.Fprintf(&b, "Vserver '%s' is stopped\n", s.Name)
	mounted(&b, s.Mounted)
	if e := s.LastExit; e != nil {
		fmt.Fprintf(&b, "Last end:             %s\n", ending(*e, time.Now()))
		if !s.Again.IsZero() {
			fmt.Fprintf(&b, "Next start:           %s\n", startingAgain(s.Again, time.Now()))
		}
		for i, line := range t.lastLines(s.Name, statusLines) {
			label := ""
			if i == 0 {
				label = "Console:"
			}
			fmt.Fprintf(&b, "%-22s%s\n", label, line)
		}
	}
	return b.String()
}

// poolLines says of each limited pool what the guest has of it, and how often it ran
// against the limit. One that was never hit is told of when it is half full: else the
// lines of a guest that has room are those of Linux-VServer.
func poolLines(list []guest.Pool) (lines []string) {
	for _, p := range list {
		quiet := p.Hits == nil || *p.Hits == 0
		if quiet && (p.Max <= 0 || p.Used < p.Max/2) {
			continue
		}
		amount := func(n int64) string { return strconv.FormatInt(n, 10) }
		line := p.Name
		switch p.Name {
		case "cpu": // its limit is a rate, and nothing of it is had
		case "memory", "swap", "memory+swap":
			amount = func(n int64) string { return strings.TrimSpace(statMem(uint64(n))) }
			fallthrough
		default:
			if slices.Contains(guest.CeilingNames(), p.Name) && p.Name != "cgroups" { // what is had of it is not told
				if p.Max > 0 {
					line += ", " + amount(p.Max) + " at most"
				}
				break
			}
			line += " " + amount(p.Used)
			if p.Max > 0 {
				line += " of " + amount(p.Max)
			}
		}
		switch {
		case p.Hits == nil:
		case *p.Hits == 0:
			line += ", never hit"
		case *p.Hits == 1:
			line += ", hit once"
		default:
			line += fmt.Sprintf(", hit %d times", *p.Hits)
		}
		lines = append(lines, line)
	}
	return lines
}

// statusLines is how many lines of the console status shows.
const statusLines = 5

// uptime writes a time span as Linux-VServer does: [D days, ]HH:MM.
func uptime(d time.Duration) string {
	m := int(d.Minutes())
	days, h, m := m/(24*60), m/60%24, m%60
	if days > 0 {
		return fmt.Sprintf("%d days, %02d:%02d", days, h, m)
	}
	return fmt.Sprintf("%02d:%02d", h, m)
}

// startingAgain says in words when vserverd starts a guest again.
func startingAgain(at, now time.Time) string {
	wait := at.Sub(now)
	if wait <= 0 {
		return "at any moment"
	}
	return "in " + (wait + time.Second - 1).Truncate(time.Second).String() + "; vserver stop keeps it from that"
}

// ending says in words how a guest ended, and when.
func ending(e guest.Exit, now time.Time) string {
	var s string
	switch e.Reason {
	case guest.Exited:
		s = fmt.Sprintf("init exited with code %d", e.Code)
	case guest.Signalled:
		s = "init was killed by " + e.Signal
	case guest.Rebooted:
		s = "rebooted from inside"
	case guest.Halted:
		s = "halted from inside"
	case guest.StoppedBy:
		s = "stopped by vserver stop"
	default:
		s = "unknown: vserverd was not there to see it"
		if e.Time.IsZero() {
			s = "not known yet: it ended by itself, and nobody has noted how"
		}
	}
	if e.OOM {
		s += ", out of memory"
	}
	if !e.Time.IsZero() {
		s += fmt.Sprintf(", %s (%s ago)", e.Time.Local().Format(time.DateTime), span(now.Sub(e.Time)))
	}
	return s
}
