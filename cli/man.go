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
		text = e.page(e.construct(t)).Roff(version)
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
		pages["vserver-"+e.name+".8"] = e.page(e.construct(t)).Roff(version)
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

// overviewRoff is the page vserver(8).
func (t *tool) overviewRoff() string {
	var b strings.Builder
	fmt.Fprintf(&b, ".TH VSERVER 8 \"\" \"vserver %s\" \"System administration\"\n", version)
	b.WriteString(".SH NAME\nvserver \\- virtual private servers on a stock kernel\n")
	b.WriteString(".SH SYNOPSIS\n.nf\nvserver VERB NAME... [OPTION...]\nvserver NAME VERB [OPTION...]\n.fi\n")
	b.WriteString(".SH DESCRIPTION\n" + manual.Paragraphs(helpIntro) + ".P\n" + manual.Paragraphs(helpOutro))
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

// markdown writes all pages as one document, doc/cli.md.
func (t *tool) markdown() string {
	var b strings.Builder
	b.WriteString("# vserver: the command line\n\nMade by `vserver man --markdown` from the text of `--help`; do not edit.\n\n")
	b.WriteString("```\n" + overview() + "```\n")
	for _, e := range table() {
		p := e.page(e.construct(t))
		fmt.Fprintf(&b, "\n## vserver %s\n\n```\n%s```\n", p.Name, p.Help(true))
	}
	return b.String()
}
