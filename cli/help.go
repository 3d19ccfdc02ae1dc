package cli

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"vserver/manual"
)

// page collects what the command says of itself, from which help, man page and doc/cli.md are
// made.
func (e entry) page(c *cobra.Command) manual.Page {
	p := manual.Page{Program: "vserver", Name: e.name, Short: e.short, Long: strings.TrimSpace(c.Long), Sections: sections(c)}
	for _, use := range strings.Split(c.Use, "\n") {
		p.Usage = append(p.Usage, "vserver "+use)
		if rest, ok := strings.CutPrefix(use, e.name+" NAME... "); ok {
			p.Usage = append(p.Usage, "vserver NAME "+e.name+" "+rest)
		} else if rest, ok := strings.CutPrefix(use, e.name+" NAME "); ok {
			p.Usage = append(p.Usage, "vserver NAME "+e.name+" "+rest)
		}
	}
	for _, line := range strings.Split(strings.TrimSpace(c.Example), "\n") {
		if line = strings.TrimSpace(line); line != "" {
			p.Examples = append(p.Examples, line)
		}
	}
	return p
}

const helpIntro = `vserver turns this host into many virtual private servers, called guests.
Each runs a distribution of its own on the host's kernel.`

const helpOutro = `Both orders mean the same. NAME is a guest's name, its xid, or the path of its
spec. Several guests are worked on in parallel.

vserver VERB --help says more of a verb, vserver man VERB shows it as a manual
page. The old tools are the same program: vserver-stat, vps, vtop, vkill, vwait.`

// overview is the help of the whole program.
func overview() string {
	var b strings.Builder
	b.WriteString(helpIntro + "\n\nUsage:\n  vserver VERB NAME... [OPTION...]\n  vserver NAME VERB [OPTION...]\n")
	group := ""
	for _, e := range table() {
		if e.group != group {
			group = e.group
			fmt.Fprintf(&b, "\n%s:\n", group)
		}
		fmt.Fprintf(&b, "  %-14s %s\n", e.name, e.short)
	}
	b.WriteString("\nExit codes:\n")
	for _, row := range exitCodes() {
		fmt.Fprintf(&b, "  %-14d %s\n", row.code, row.words)
	}
	b.WriteString("\n" + helpOutro + "\n")
	return b.String()
}

func newHelp(t *tool) *cobra.Command {
	return command("help [VERB]", "Without a verb: all of them.", "vserver help create",
		func(_ context.Context, args []string) error { return t.help(args) })
}

// help prints the overview, or the help of a verb.
func (t *tool) help(args []string) error {
	if t.subject != "" {
		args = append([]string{t.subject}, args...)
	}
	if len(args) == 0 {
		_, err := t.out.WriteString(overview())
		return err
	}
	e, ok := lookup(args[0])
	if !ok {
		if near := likely(args[0]); near != "" {
			return usageHint("vserver help "+near, "no such command: %s; %s is one", args[0], near)
		}
		return usageHint("vserver help", "no such command: %s", args[0])
	}
	_, err := t.out.WriteString(e.page(e.construct(t)).Help(false))
	return err
}
