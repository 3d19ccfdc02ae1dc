package cli

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// page is the text of one command, from which help, man page and doc/cli.md are
// made.
type page struct {
	name, short string
	usage       []string // command lines
	long        string
	examples    []string
	options     []option
}

// option is one option of a page.
type option struct {
	short, long, value, text, preset string
	setting                          string // the key of a new guest's spec that it is; "" for others
}

// page collects what the command says of itself.
func (e entry) page(c *cobra.Command) page {
	p := page{name: e.name, short: e.short, long: strings.TrimSpace(c.Long)}
	for _, use := range strings.Split(c.Use, "\n") {
		p.usage = append(p.usage, "vserver "+use)
		if rest, ok := strings.CutPrefix(use, e.name+" NAME... "); ok {
			p.usage = append(p.usage, "vserver NAME "+e.name+" "+rest)
		} else if rest, ok := strings.CutPrefix(use, e.name+" NAME "); ok {
			p.usage = append(p.usage, "vserver NAME "+e.name+" "+rest)
		}
	}
	for _, line := range strings.Split(strings.TrimSpace(c.Example), "\n") {
		if line = strings.TrimSpace(line); line != "" {
			p.examples = append(p.examples, line)
		}
	}
	c.Flags().VisitAll(func(f *pflag.Flag) {
		if f.Hidden {
			return
		}
		value, text := pflag.UnquoteUsage(f)
		o := option{short: f.Shorthand, long: f.Name, value: value, text: text}
		if s, ok := f.Value.(*settingFlag); ok {
			o.value, o.text, o.setting = valueName(s.key), f.Usage, s.key.Path
		}
		if !slices.Contains([]string{"", "false", "0", "[]", "0s"}, f.DefValue) {
			o.preset = f.DefValue
		}
		p.options = append(p.options, o)
	})
	return p
}

// names gives the option as it is typed: "-n, --lines N".
func (o option) names() string {
	s := "    --" + o.long
	if o.short != "" {
		s = "-" + o.short + ", --" + o.long
	}
	if o.value != "" {
		s += " " + o.value
	}
	return s
}

// words gives what the option does, and what it is unless given.
func (o option) words() string {
	if o.preset != "" {
		return o.text + " (" + o.preset + ")"
	}
	return o.text
}

// helpText is what --help prints, or with all --help-all.
func helpText(p page, all bool) string {
	var b strings.Builder
	fmt.Fprintf(&b, "vserver %s - %s\n\nUsage:\n", p.name, p.short)
	for _, u := range p.usage {
		fmt.Fprintf(&b, "  %s\n", u)
	}
	if p.long != "" {
		b.WriteString("\n" + fill(p.long))
	}
	if len(p.examples) > 0 {
		b.WriteString("\nExamples:\n")
		for _, e := range p.examples {
			fmt.Fprintf(&b, "  %s\n", e)
		}
	}
	var left []section
	for _, s := range p.sections() {
		if s.further && !all {
			left = append(left, s)
			continue
		}
		b.WriteString("\n" + s.heading() + ":\n")
		for _, o := range s.options {
			b.WriteString(hanging("  "+o.names(), o.words(), 26))
		}
	}
	if len(left) > 0 {
		fmt.Fprintf(&b, "\nMore options, in vserver %s --help-all:\n", p.name)
		for _, s := range left {
			b.WriteString(hanging("  "+s.title, s.doc, 26))
		}
	}
	return b.String()
}

// textWidth is where lines of help end: the width of the oldest terminals.
const textWidth = 79

// fill sets the paragraphs of a text to the width. Lines that begin with a blank stay
// as they are.
func fill(text string) string {
	var b strings.Builder
	for i, p := range strings.Split(text, "\n\n") {
		if i > 0 {
			b.WriteByte('\n')
		}
		if strings.HasPrefix(p, " ") {
			b.WriteString(p + "\n")
		} else {
			b.WriteString(hanging("", p, 0))
		}
	}
	return b.String()
}

// hanging sets head at the left and text, wrapped, from the column on.
func hanging(head, text string, column int) string {
	indent := strings.Repeat(" ", column)
	var b strings.Builder
	b.WriteString(head)
	if len(head)+2 > column && column > 0 {
		b.WriteString("\n" + indent)
	} else {
		b.WriteString(indent[len(head):])
	}
	at := column
	for i, w := range strings.Fields(text) {
		switch {
		case i > 0 && at+1+len(w) > textWidth:
			b.WriteString("\n" + indent)
			at = column
		case i > 0:
			b.WriteByte(' ')
			at++
		}
		b.WriteString(w)
		at += len(w)
	}
	b.WriteByte('\n')
	return b.String()
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
	_, err := t.out.WriteString(helpText(e.page(e.construct(t)), false))
	return err
}
