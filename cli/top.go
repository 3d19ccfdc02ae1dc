package cli

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/term"

	"vserver/guest"
	"vserver/host"
)

type topFlags struct {
	once  bool
	delay guest.Duration
	sort  string
	flags *pflag.FlagSet
}

// procs are the words for top(1), when an option of that is among ours.
func (f *topFlags) procs() (words []string) {
	f.flags.Visit(func(o *pflag.Flag) {
		letter, ok := strings.CutPrefix(o.Name, "top-")
		switch {
		case ok && o.Value.Type() == "bool":
			words = append(words, "-"+letter)
		case ok:
			words = append(words, "-"+letter, o.Value.String())
		}
	})
	if len(words) > 0 && f.flags.Changed("delay") {
		words = append(words, "-d", fmt.Sprint(time.Duration(f.delay).Seconds()))
	}
	return words
}

// topSorts are the orders of the table, each by the key that asks for it.
const topSorts = "cmpthnx"

func newTop(t *tool) *cobra.Command {
	f := topFlags{delay: guest.Duration(2 * time.Second)}
	c := command("top [OPTION...]", `
A live table of the guests that run, and of the host: processor time in percent of
one processor, memory, processes, bytes received and sent a second, and how often a guest
ran against a limit of its own since it started (vserver NAME status says against
which). Keys: c m p t h n x sort by processor, memory, processes, traffic, hits, name and
xid, r turns the order round, q ends.

Without a terminal, or with --once, the table is printed once. Under the name vtop the
options -b, -c, -H, -i, -n N, -p PID and -u USER are those of top(1), which is run then: it
shows all processes, as vtop did.`, `
vtop
vserver top --once --sort m`,
		func(ctx context.Context, args []string) error {
			if words := f.procs(); len(words) > 0 {
				return execute(append([]string{"top"}, words...))
			}
			return t.top(ctx, f, args)
		})
	f.flags = c.Flags()
	if t.program == "vtop" {
		for _, letter := range "bcHi" {
			c.Flags().BoolP("top-"+string(letter), string(letter), false, "as top(1) has it")
		}
		for _, letter := range "npu" {
			c.Flags().StringP("top-"+string(letter), string(letter), "", "as top(1) has it")
		}
	}
	c.Flags().BoolVarP(&f.once, "once", "1", false, "print the table once and end")
	c.Flags().TextVarP(&f.delay, "delay", "d", f.delay, "`TIME` between two tables")
	c.Flags().StringVarP(&f.sort, "sort", "s", "c", "`KEY` to sort by: one of "+topSorts)
	return c
}

// topRow is one line of the table.
type topRow struct {
	host.Usage
	CPU float64 `json:"cpu"` // percent of one processor
	// In and Out are bytes a second, received and sent.
	In  float64 `json:"net_in"`
	Out float64 `json:"net_out"`
}

// top shows the live table.
func (t *tool) top(ctx context.Context, f topFlags, args []string) error {
	if len(args) > 0 || t.subject != "" {
		return usageHint("vserver top", "takes no name; it shows all guests")
	}
	if len(f.sort) != 1 || !strings.Contains(topSorts, f.sort) {
		return usageHint("vserver top --help", "--sort %s: want one of %s", f.sort, topSorts)
	}
	if f.delay < guest.Duration(100*time.Millisecond) {
		return usagef("--delay %s: want 0.1 or more", f.delay)
	}
	last, err := t.host.Usage()
	if err != nil {
		return err
	}
	if f.once || t.json || !isScreen(t.out.File) || !isTerminal(t.in) {
		return t.topOnce(ctx, f, last)
	}
	return t.topLive(ctx, f, last)
}

// topOnce prints the table after a short look at who is busy.
func (t *tool) topOnce(ctx context.Context, f topFlags, last []host.Usage) error {
	const look = 200 * time.Millisecond
	began := time.Now()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(look):
	}
	now, err := t.host.Usage()
	if err != nil {
		return err
	}
	rows := topRows(last, now, time.Since(began))
	sortTop(rows, f.sort[0], false)
	if t.json {
		return writeJSON(t.out, rows)
	}
	_, err = t.out.WriteString(strings.Join(topLines(rows, textWidth), "\n") + "\n")
	return err
}

// topLive draws the table until q is typed.
func (t *tool) topLive(ctx context.Context, f topFlags, last []host.Usage) error {
	// From here on a signal has the terminal given back.
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	fd := int(t.in.Fd())
	before, err := term.MakeRaw(fd)
	if err != nil {
		return err
	}
	t.out.WriteString("\x1b[?1049h\x1b[?25l") // the other screen, no cursor
	defer func() {
		t.out.WriteString("\x1b[?25h\x1b[?1049l")
		term.Restore(fd, before)
	}()
	keys := readKeys(t.in)
	by, turned, began := f.sort[0], false, time.Now()
	rows := topRows(last, last, time.Second)
	for {
		sortTop(rows, by, turned)
		t.drawTop(rows)
		select {
		case <-ctx.Done():
			return nil
		case k, ok := <-keys:
			switch {
			case !ok || k == 'q' || k == 3: // Ctrl-C: the terminal is raw
				return nil
			case k == 'r':
				turned = !turned
			case strings.IndexByte(topSorts, k) >= 0:
				by, turned = k, false
			}
		case <-time.After(time.Duration(f.delay) - time.Since(began)):
			now, err := t.host.Usage()
			if err != nil {
				return err
			}
			rows = topRows(last, now, time.Since(began))
			last, began = now, time.Now()
		}
	}
}

// readKeys gives the bytes that are typed, until the terminal is gone.
func readKeys(in *os.File) <-chan byte {
	keys := make(chan byte)
	go func() {
		defer close(keys)
		var b [1]byte
		for {
			if n, err := in.Read(b[:]); n != 1 || err != nil {
				return
			}
			keys <- b[0]
		}
	}()
	return keys
}

// drawTop draws the table from the top of the screen, as much as there is room for.
func (t *tool) drawTop(rows []topRow) {
	width, height, err := term.GetSize(int(t.out.File.Fd()))
	if err != nil || width < 1 || height < 1 {
		width, height = textWidth, 24
	}
	lines := topLines(rows, width)
	var b strings.Builder
	b.WriteString("\x1b[H")
	for i, l := range lines[:min(len(lines), height)] {
		l = l[:min(len(l), width)]
		if i == 0 {
			l = "\x1b[7m" + fmt.Sprintf("%-*s", width, l) + "\x1b[0m"
		}
		if i > 0 {
			b.WriteString("\r\n")
		}
		b.WriteString(l + "\x1b[K")
	}
	b.WriteString("\x1b[J")
	t.out.WriteString(b.String())
}

// topLines is the table. Where there is not much room, it is without traffic and hits.
func topLines(rows []topRow, width int) []string {
	const enough = 79
	head := "   IN/s  OUT/s   HITS"
	if width < enough {
		head = ""
	}
	lines := []string{"  XID  PROC   %CPU    VSZ    RSS" + head + "     UPTIME NAME"}
	for _, r := range rows {
		name := string(r.Name)
		if r.XID == 0 {
			name = "root server"
		}
		net := fmt.Sprintf("%7s%7s", "-", "-")
		if r.Net != nil {
			net = fmt.Sprintf("%7s%7s", statMem(uint64(r.In)), statMem(uint64(r.Out)))
		}
		net += fmt.Sprintf("%7d", guest.Hits(r.Limits))
		lines = append(lines, fmt.Sprintf("%5d %5d %6.1f%7s%7s%s %10s %s",
			r.XID, r.Processes, r.CPU, statMem(uint64(r.VSZ)), statMem(uint64(r.RSS)), net[:len(head)], statTime(time.Duration(r.Uptime)), name))
	}
	return lines
}

// topRows compares two looks that lie a time apart. A guest that was restarted
// between them has used what it has used since.
func topRows(last, now []host.Usage, apart time.Duration) []topRow {
	rows := make([]topRow, 0, len(now))
	for _, u := range now {
		used := u.User + u.System
		var net, before guest.NetStatus
		if u.Net != nil {
			net = *u.Net
		}
		for _, l := range last {
			// One that runs for less time than before was started again meanwhile.
			if l.XID == u.XID && l.Uptime <= u.Uptime {
				// The host's sum falls when a process ends.
				used = max(0, used-l.User-l.System)
				if l.Net != nil {
					before = *l.Net
				}
				break
			}
		}
		rate := func(now, then uint64) float64 { return float64(now-min(now, then)) / apart.Seconds() }
		rows = append(rows, topRow{u, 100 * float64(used) / float64(apart),
			rate(net.BytesIn, before.BytesIn), rate(net.BytesOut, before.BytesOut)})
	}
	return rows
}

// sortTop sorts the table by a key of topSorts: numbers from the highest, names and
// xids from the lowest.
func sortTop(rows []topRow, by byte, turned bool) {
	slices.SortStableFunc(rows, func(a, b topRow) int {
		var c int
		switch by {
		case 'c':
			c = cmp.Compare(b.CPU, a.CPU)
		case 'm':
			c = cmp.Compare(b.RSS, a.RSS)
		case 'p':
			c = cmp.Compare(b.Processes, a.Processes)
		case 't':
			c = cmp.Compare(b.In+b.Out, a.In+a.Out)
		case 'h':
			c = cmp.Compare(guest.Hits(b.Limits), guest.Hits(a.Limits))
		case 'n':
			c = cmp.Compare(a.Name, b.Name)
		}
		if c == 0 {
			c = cmp.Compare(a.XID, b.XID)
		}
		if turned {
			return -c
		}
		return c
	})
}
