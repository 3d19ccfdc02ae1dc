package cli

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"vserver/host"
)

func newStat(t *tool) *cobra.Command {
	var net bool
	c := command("stat [OPTION...]", `
Shows, for the host and for each guest that runs, the number of processes, their
virtual and resident memory, the processor time spent in user and system mode, and
how long it has been up. The columns are those of Linux-VServer's vserver-stat,
whose name this command answers to.

With --net it shows what each guest has in the network: sockets and connections now
(in mode shared of guests with a limit of them, else 0), and since its start
connections made, bytes and packets in and out (of IP, as the guest sees them) and
packets dropped. Guests without a network of their own have no line there.`, `
vserver-stat
vserver stat --net
vserver stat --json`,
		func(_ context.Context, args []string) error { return t.stat(net, args) })
	c.Flags().BoolVar(&net, "net", false, "show what guests do in the network")
	c.Flags().StringP("sort", "O", "", "accepted and ignored, as vserver-stat did")
	c.Flags().Lookup("sort").Hidden = true
	return c
}

// stat shows what guests use.
func (t *tool) stat(net bool, args []string) error {
	if len(args) > 0 || t.subject != "" {
		return usageHint("vserver stat", "takes no name; it shows all guests")
	}
	look := host.BriefUsage
	if net || t.json {
		look = (*host.Host).Usage
	}
	all, err := look(t.host)
	if err != nil {
		return err
	}
	if t.json {
		return writeJSON(t.out, all)
	}
	text := statText(all)
	if net {
		text = netText(all)
	}
	_, err = t.out.WriteString(text)
	return err
}

// netText is the table of what guests do in the network.
func netText(all []host.Usage) string {
	var b strings.Builder
	b.WriteString("CTX   SOCK   CONN   MADE     IN    OUT  PKT-IN PKT-OUT    DROP NAME\n")
	for _, u := range all {
		if n := u.Net; n != nil {
			fmt.Fprintf(&b, "%-5d%5d%7d%7s%7s%7s%8s%8s%8s %.20s\n", u.XID, n.Sockets, n.Connections, statMem(n.Made), statMem(n.BytesIn), statMem(n.BytesOut),
				statMem(n.PacketsIn), statMem(n.PacketsOut), statMem(n.Dropped), u.Name)
		}
	}
	return b.String()
}

// statHeader is the very line that scripts look for.
const statHeader = "CTX   PROC    VSZ    RSS  userTIME   sysTIME    UPTIME NAME\n"

// statText is the table in the columns of vserver-stat: the xid, three columns that
// end at 10, 17 and 24, three times of ten, and the name from column 55.
func statText(all []host.Usage) string {
	var b strings.Builder
	b.WriteString(statHeader)
	for _, u := range all {
		name := string(u.Name)
		if u.XID == 0 {
			name = "root server"
		}
		fmt.Fprintf(&b, "%-5d%5d%7s%7s%10s%10s%10s %.20s\n", u.XID, u.Processes, statMem(uint64(u.VSZ)), statMem(uint64(u.RSS)),
			statTime(time.Duration(u.User)), statTime(time.Duration(u.System)), statTime(time.Duration(u.Uptime)), name)
	}
	return b.String()
}

// statMem writes a size in at most six digits and a letter. As in vserver-stat the
// unit steps at 1000 though it is 1024, and what is cut off is not rounded.
func statMem(n uint64) string {
	tenth := uint64(0)
	for _, unit := range []string{" ", "K", "M", "G", "T"} {
		if n < 1000 {
			s := strconv.FormatUint(n, 10)
			if tenth > 0 {
				s += "." + strconv.FormatUint(tenth, 10)
			}
			return s + unit
		}
		tenth = 10 * (n & 1023) / 1024
		n >>= 10
	}
	return strconv.FormatUint(min(n, 9999), 10) + "+"
}

// statTime writes a time span: MmSSsFF, HhMMmSS, DdHHhMM or YyDDdHH, where FF are
// hundredths of a second.
func statTime(d time.Duration) string {
	ms := d.Milliseconds()
	s, m, h, days := ms/1000%60, ms/60_000%60, ms/3_600_000%24, ms/86_400_000
	switch {
	case days > 999:
		return fmt.Sprintf("%dy%02dd%02d", days/365, days%365, h)
	case days > 0:
		return fmt.Sprintf("%dd%02dh%02d", days, h, m)
	case h > 0:
		return fmt.Sprintf("%dh%02dm%02d", h, m, s)
	}
	return fmt.Sprintf("%dm%02ds%02d", m, s, ms%1000/10)
}
