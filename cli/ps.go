package cli

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"vserver/guest"
	"vserver/host"
)

// psFailed is vps's exit code when it fails itself; otherwise it exits like ps.
const psFailed = 254

func newPs(t *tool) *cobra.Command {
	c := command("ps [PS-OPTION...]", `
Runs the host's ps(1) with the given options and puts a column behind the PID: the
number and the name of the guest that each process belongs to, the number of its
context if that is without a guest, MAIN for the host's own. The exit code is that of ps, or 254. With --json the processes of guests are
printed instead.`, `
vps axu
vserver ps -ef`,
		func(ctx context.Context, args []string) error { return t.ps(ctx, args) })
	c.DisableFlagParsing = true // the options are those of ps
	return c
}

// ps runs ps and adds the guests.
func (t *tool) ps(ctx context.Context, args []string) error {
	name := t.subject
	if len(args) > 0 && host.Exists(t.host, guest.Name(args[0])) {
		name = args[0]
	}
	if name != "" {
		return usageHint("vserver exec "+name+" ps -ef", "%s: takes no name; it shows all guests", name)
	}
	if len(args) == 1 && (args[0] == "--help" || args[0] == "-h") {
		return t.help([]string{"ps"})
	}
	if t.json {
		all, err := t.host.Processes()
		return join(err, writeJSON(t.out, append([]host.Process{}, all...)))
	}
	of, err := t.owners()
	if err != nil {
		t.say(err)
		return code(psFailed)
	}
	var out bytes.Buffer
	c := exec.CommandContext(ctx, "ps", args...)
	c.Stdout, c.Stderr = &out, t.err
	err = c.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.say(err)
		return code(psFailed)
	}
	text, ok := addContext(out.String(), of)
	t.out.WriteString(text)
	switch {
	case exit != nil && exit.ExitCode() >= 0:
		return code(exit.ExitCode())
	case exit != nil || !ok:
		return code(psFailed)
	}
	return nil
}

// owner is the guest of a process; the zero value is the host.
type owner struct {
	xid  guest.XID
	name guest.Name
	pid  int // the process's number in the guest
}

// contextWidth is the width of the column that vps adds.
const contextWidth = 20

// addContext puts the column CONTEXT behind the column PID of what ps printed, and
// says whether there is such a column.
func addContext(text string, of func(pid int) owner) (string, bool) {
	header, rest, _ := strings.Cut(text, "\n")
	at := strings.Index(header, "PID")
	if at < 0 {
		return text, false
	}
	at += len("PID")
	var b strings.Builder
	insert := func(line, word string) {
		line = fmt.Sprintf("%-*s", at+1, line)
		fmt.Fprintf(&b, "%s%-*s", line[:at+1], contextWidth, word)
		if len(word) >= contextWidth {
			b.WriteByte(' ')
		}
		b.WriteString(line[at+1:] + "\n")
	}
	insert(header, "CONTEXT")
	for lines := bufio.NewScanner(strings.NewReader(rest)); lines.Scan(); {
		line := lines.Text()
		fields := strings.Fields(line[:min(at, len(line))])
		word := "  ERR "
		if len(fields) > 0 {
			if pid, err := strconv.Atoi(fields[len(fields)-1]); err == nil {
				word = contextWord(of(pid))
			}
		}
		insert(line, word)
	}
	return b.String(), true
}

// contextWord is the content of the column: the number in five columns, and the name,
// which a context without a guest has not.
func contextWord(o owner) string {
	if o.xid == 0 {
		return "    0 MAIN"
	}
	return fmt.Sprintf("%5d %s", o.xid, o.name)
}

// owners gives a function that tells whose a process is, by its number on the host.
func (t *tool) owners() (func(pid int) owner, error) {
	all, err := t.host.Processes()
	if err != nil {
		return nil, err
	}
	of := make(map[int]owner, len(all))
	for _, p := range all {
		of[p.PID] = owner{p.XID, p.Name, p.Inner}
	}
	return func(pid int) owner { return of[pid] }, nil
}
