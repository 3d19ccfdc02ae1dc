package manual

import (
	"fmt"
	"strings"
)

// Help is what --help prints, or with all --help-all.
func (p Page) Help(all bool) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s - %s\n\nUsage:\n", p.Program, p.Name, p.Short)
	for _, u := range p.Usage {
		fmt.Fprintf(&b, "  %s\n", u)
	}
	if p.Long != "" {
		b.WriteString("\n" + fill(p.Long))
	}
	if len(p.Examples) > 0 {
		b.WriteString("\nExamples:\n")
		for _, e := range p.Examples {
			fmt.Fprintf(&b, "  %s\n", e)
		}
	}
	var left []Section
	for _, s := range p.Sections {
		if s.Further && !all {
			left = append(left, s)
			continue
		}
		b.WriteString("\n" + s.heading() + ":\n")
		for _, o := range s.Options {
			b.WriteString(hanging("  "+o.names(), o.words(), 26))
		}
	}
	if len(left) > 0 {
		fmt.Fprintf(&b, "\nMore options, in %s %s --help-all:\n", p.Program, p.Name)
		for _, s := range left {
			b.WriteString(hanging("  "+s.Title, s.Doc, 26))
		}
	}
	return b.String()
}

// Width is where lines of help end: the width of the oldest terminals.
const Width = 79

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
		case i > 0 && at+1+len(w) > Width:
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
