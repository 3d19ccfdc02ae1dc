package manual

import (
	"fmt"
	"strings"
)

// Roff is the page in section 8 of the manual.
func (p Page) Roff(version string) string {
	var b strings.Builder
	fmt.Fprintf(&b, ".TH %s-%s 8 \"\" \"%s %s\" \"System administration\"\n", strings.ToUpper(p.Program), strings.ToUpper(p.Name), p.Program, version)
	fmt.Fprintf(&b, ".SH NAME\n%s\\-%s \\- %s\n.SH SYNOPSIS\n.nf\n", p.Program, p.Name, Escape(p.Short))
	for _, u := range p.Usage {
		b.WriteString(Escape(u) + "\n")
	}
	b.WriteString(".fi\n")
	if p.Long != "" {
		b.WriteString(".SH DESCRIPTION\n" + Paragraphs(p.Long))
	}
	for _, s := range p.Sections {
		fmt.Fprintf(&b, ".SH %s\n", Escape(strings.ToUpper(s.heading())))
		for _, o := range s.Options {
			fmt.Fprintf(&b, ".TP\n\\fB%s\\fR\n%s\n", Escape(strings.TrimSpace(o.names())), Escape(o.words()))
		}
	}
	if len(p.Examples) > 0 {
		b.WriteString(".SH EXAMPLES\n.nf\n")
		for _, e := range p.Examples {
			b.WriteString(Escape(e) + "\n")
		}
		b.WriteString(".fi\n")
	}
	fmt.Fprintf(&b, ".SH SEE ALSO\n.BR %s (8)\n", p.Program)
	return b.String()
}

// Paragraphs turns plain text into roff: a blank line begins a paragraph, and lines
// that begin with a blank stay as they are.
func Paragraphs(text string) string {
	var b strings.Builder
	for i, p := range strings.Split(text, "\n\n") {
		if i > 0 {
			b.WriteString(".P\n")
		}
		if strings.HasPrefix(p, " ") {
			p = ".nf\n" + Escape(p) + "\n.fi"
		} else {
			p = Escape(p)
		}
		b.WriteString(p + "\n")
	}
	return b.String()
}

// Escape keeps roff from reading anything into a text.
func Escape(text string) string {
	lines := strings.Split(strings.NewReplacer(`\`, `\e`, "-", `\-`).Replace(text), "\n")
	for i, l := range lines {
		if strings.HasPrefix(l, ".") || strings.HasPrefix(l, "'") {
			lines[i] = `\&` + l
		}
	}
	return strings.Join(lines, "\n")
}
