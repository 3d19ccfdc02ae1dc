package compat

import (
	"fmt"
	"strings"

	"github.com/spf13/pflag"

	"vserver/manual"
)

// man writes the tool's manual page, in the language of man(7): the text of --help.
func (c *call) man() {
	about := strings.TrimSpace(c.about)
	if about == "" { // it does nothing but say why
		about = c.make(c)(nil).Error()
	}
	short, _, _ := strings.Cut(strings.ReplaceAll(about, "\n", " "), ". ")
	fmt.Fprintf(c.out, ".TH %s 8 \"\" vserver \"System administration\"\n.SH NAME\n%s \\- %s\n", strings.ToUpper(manual.Escape(c.name)), manual.Escape(c.name), manual.Escape(strings.TrimSuffix(short, ".")))
	fmt.Fprintf(c.out, ".SH SYNOPSIS\n.nf\n%s\n.fi\n.SH DESCRIPTION\n%s\n", manual.Escape(c.name+" "+c.usage), manual.Escape(about))
	title := ".SH OPTIONS\n"
	c.flags.VisitAll(func(f *pflag.Flag) {
		name, words := pflag.UnquoteUsage(f)
		if f.Hidden {
			return
		}
		option := "--" + f.Name
		if f.Shorthand != "" {
			option = "-" + f.Shorthand + ", " + option
		}
		fmt.Fprintf(c.out, "%s.TP\n.B %s\n%s\n", title, manual.Escape(strings.TrimSpace(option+" "+name)), manual.Escape(words))
		title = ""
	})
	status := fmt.Sprintf("0, or that of a command behind --; %d when it failed, %d when it was called wrongly, %d for what no stock kernel has.", c.failed, c.misused, exitUnsupported)
	if c.about == "" {
		status = fmt.Sprint(exitUnsupported)
	}
	fmt.Fprintf(c.out, ".SH EXIT STATUS\n%s\n", manual.Escape(status))
	fmt.Fprintf(c.out, ".SH SEE ALSO\n.BR vserver (8);\ndoc/compat.md says of each option what has become of it.\n")
}
