package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"vserver/guest"
	"vserver/manual"
)

type manFlags struct {
	dir      string
	markdown bool
}

func newMan(t *tool) *cobra.Command {
	var f manFlags
	c := command("man [VERB] [OPTION...]", `
Shows the manual page of vserver, or of a verb: with man(1) on a terminal, as it is
otherwise. The text is that of --help.`, `
vserver man create
vserver man --dir /usr/share/man/man8`,
		func(ctx context.Context, args []string) error { return t.man(ctx, f, args) })
	c.Flags().StringVar(&f.dir, "dir", "", "write all pages into `DIR`")
	c.Flags().BoolVar(&f.markdown, "markdown", false, "print all pages as Markdown (doc/cli.md)")
	return c
}

// man shows or writes manual pages.
func (t *tool) man(ctx context.Context, f manFlags, args []string) error {
	switch {
	case f.markdown:
		_, err := t.out.WriteString(t.markdown())
		return err
	case f.dir != "":
		return t.writeMan(f.dir)
	case t.subject != "":
		args = append([]string{t.subject}, args...)
	}
	text := t.overviewRoff()
	if len(args) > 0 {
		e, ok := lookup(args[0])
		if !ok {
			return usageHint("vserver man", "no such command: %s", args[0])
		}
		text = roff(e.page(e.construct(t)))
	}
	if !isTerminal(t.out.File) {
		_, err := t.out.WriteString(text)
		return err
	}
	c := exec.CommandContext(ctx, "man", "-l", "-")
	c.Stdin, c.Stdout, c.Stderr = bytes.NewReader([]byte(text)), t.out.File, t.err
	err := c.Run()
	if errors.Is(err, exec.ErrNotFound) {
		_, err = t.out.WriteString(text)
	}
	return err
}

// writeMan writes all pages: vserver.8, one for each verb, and one that refers to
// the verb for each of the old tools' names.
func (t *tool) writeMan(dir string) error {
	pages := map[string]string{"vserver.8": t.overviewRoff()}
	for _, e := range table() {
		pages["vserver-"+e.name+".8"] = roff(e.page(e.construct(t)))
	}
	for _, name := range []string{"vps", "vtop", "vkill", "vwait", "chbind", "ncontext", "naddress", "nattribute", "chcontext", "vcontext", "start-vservers", "stop-vservers", "vhashify", "vunify"} {
		pages[name+".8"] = ".so man8/vserver-" + toolVerb(name) + ".8\n"
	}
	pages["vserverd.8"] = ".so man8/vserver.8\n"
	for name, text := range pages {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// roff writes a page in the language of man(7).
func roff(p page) string {
	var b strings.Builder
	fmt.Fprintf(&b, ".TH VSERVER-%s 8 \"\" \"vserver %s\" \"System administration\"\n", strings.ToUpper(p.name), version)
	fmt.Fprintf(&b, ".SH NAME\nvserver\\-%s \\- %s\n.SH SYNOPSIS\n.nf\n", p.name, manual.Escape(p.short))
	for _, u := range p.usage {
		b.WriteString(manual.Escape(u) + "\n")
	}
	b.WriteString(".fi\n")
	if p.long != "" {
		b.WriteString(".SH DESCRIPTION\n" + paragraphs(p.long))
	}
	for _, s := range p.sections() {
		fmt.Fprintf(&b, ".SH %s\n", manual.Escape(strings.ToUpper(s.heading())))
		for _, o := range s.options {
			fmt.Fprintf(&b, ".TP\n\\fB%s\\fR\n%s\n", manual.Escape(strings.TrimSpace(o.names())), manual.Escape(o.words()))
		}
	}
	if len(p.examples) > 0 {
		b.WriteString(".SH EXAMPLES\n.nf\n")
		for _, e := range p.examples {
			b.WriteString(manual.Escape(e) + "\n")
		}
		b.WriteString(".fi\n")
	}
	b.WriteString(".SH SEE ALSO\n.BR vserver (8)\n")
	return b.String()
}

// overviewRoff is the page vserver(8).
func (t *tool) overviewRoff() string {
	var b strings.Builder
	fmt.Fprintf(&b, ".TH VSERVER 8 \"\" \"vserver %s\" \"System administration\"\n", version)
	b.WriteString(".SH NAME\nvserver \\- virtual private servers on a stock kernel\n")
	b.WriteString(".SH SYNOPSIS\n.nf\nvserver VERB NAME... [OPTION...]\nvserver NAME VERB [OPTION...]\n.fi\n")
	b.WriteString(".SH DESCRIPTION\n" + paragraphs(helpIntro) + ".P\n" + paragraphs(helpOutro))
	group := ""
	for _, e := range table() {
		if e.group != group {
			group = e.group
			fmt.Fprintf(&b, ".SH %s\n", strings.ToUpper(group))
		}
		fmt.Fprintf(&b, ".TP\n.BR vserver\\-%s (8)\n%s\n", e.name, manual.Escape(e.short))
	}
	b.WriteString(".SH EXIT STATUS\n")
	for _, row := range exitCodes() {
		fmt.Fprintf(&b, ".TP\n%d\n%s\n", row.code, manual.Escape(row.words))
	}
	b.WriteString(".SH ENVIRONMENT\n")
	for _, v := range environment() {
		fmt.Fprintf(&b, ".TP\n%s\n%s\n", v[0], manual.Escape(v[1]))
	}
	fmt.Fprintf(&b, ".SH FILES\n.TP\n%s\nspecs of the guests\n", manual.Escape(t.host.Dirs.Config+"/NAME.yaml"))
	fmt.Fprintf(&b, ".TP\n%s\nfiles of the guests, and what they share\n", manual.Escape(t.host.Dirs.Data))
	fmt.Fprintf(&b, ".TP\n%s\nnotes and console logs\n", manual.Escape(t.host.Dirs.Run))
	return b.String()
}

// environment lists the variables that change what the program does.
func environment() [][2]string {
	return [][2]string{
		{guest.RootVar, "directory below which all files of vserver are, for a second installation"},
		{"NO_COLOR", "when set, nothing is coloured"},
		{"VISUAL, EDITOR", "the editor of vserver edit"},
	}
}

// paragraphs turns plain text into roff: a blank line begins a paragraph, and lines
// that begin with a blank stay as they are.
func paragraphs(text string) string {
	var b strings.Builder
	for i, p := range strings.Split(text, "\n\n") {
		if i > 0 {
			b.WriteString(".P\n")
		}
		if strings.HasPrefix(p, " ") {
			p = ".nf\n" + manual.Escape(p) + "\n.fi"
		} else {
			p = manual.Escape(p)
		}
		b.WriteString(p + "\n")
	}
	return b.String()
}

// markdown writes all pages as one document, doc/cli.md.
func (t *tool) markdown() string {
	var b strings.Builder
	b.WriteString("# vserver: the command line\n\nMade by `vserver man --markdown` from the text of `--help`; do not edit.\n\n")
	b.WriteString("```\n" + overview() + "```\n")
	for _, e := range table() {
		p := e.page(e.construct(t))
		fmt.Fprintf(&b, "\n## vserver %s\n\n```\n%s```\n", p.name, helpText(p, true))
	}
	return b.String()
}
