package cli

import (
	"bytes"
	"fmt"
	"io"
	"strings"

	"golang.org/x/term"

	"vserver/daemon/logtail"
	"vserver/guest"
)

// progress shows what long work does, on standard error: on a terminal in one line
// that changes, elsewhere a line for each thing. With --json it shows nothing.
type progress struct {
	t     *tool
	name  guest.Name
	clean io.Writer // takes out what a terminal would act upon: the lines are others'
	line  []byte    // not ended yet
	live  bool
	shown bool
}

// newProgress shows the progress of something that is done to guest n.
func (t *tool) newProgress(n guest.Name) *progress {
	p := &progress{t: t, name: n, live: isScreen(t.err)}
	p.clean = logtail.Clean(lines{p})
	return p
}

// Write takes text.
func (p *progress) Write(text []byte) (int, error) { return p.clean.Write(text) }

// lines is where a progress gets its text, cleaned.
type lines struct{ *progress }

// Write takes text that is clean.
func (p lines) Write(text []byte) (int, error) {
	p.line = append(p.line, text...)
	for {
		line, rest, ok := bytes.Cut(p.line, []byte("\n"))
		if !ok {
			return len(text), nil
		}
		p.show(string(line))
		p.line = rest
	}
}

// show shows one line.
func (p *progress) show(line string) {
	line = strings.TrimSpace(line)
	switch {
	case p.t.json || line == "":
	case !p.live:
		fmt.Fprintf(p.t.err, "%s: %s\n", p.name, line)
	default:
		width, _, err := term.GetSize(int(p.t.err.Fd()))
		if err != nil || width < 20 {
			width = textWidth
		}
		line = string(p.name) + ": " + line
		fmt.Fprintf(p.t.err, "\r\x1b[K%.*s", width-1, line)
		p.shown = true
	}
}

// end takes the changing line away when all went well, and leaves it otherwise: it
// tells what was being done.
func (p *progress) end(well bool) {
	switch {
	case !p.shown:
	case well:
		fmt.Fprint(p.t.err, "\r\x1b[K")
	default:
		fmt.Fprintln(p.t.err)
	}
}
