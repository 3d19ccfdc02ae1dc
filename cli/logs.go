package cli

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"strings"

	"github.com/spf13/cobra"

	"vserver/daemon/logtail"
	"vserver/fault"
	"vserver/guest"
	"vserver/host"
)

type logsFlags struct {
	lines  int
	follow bool
	raw    bool
}

func newLogs(t *tool) *cobra.Command {
	var f logsFlags
	c := command("logs NAME [OPTION...]", `
Shows what a guest wrote to its console. Control sequences are taken out, since the
guest's owner chose them, not you.`, `
vserver web1 logs
vserver logs -f -n 20 web1`,
		func(ctx context.Context, args []string) error { return t.logs(ctx, f, args) })
	c.Flags().IntVarP(&f.lines, "lines", "n", 100, "the last `N` lines; 0 is all that is kept")
	c.Flags().BoolVarP(&f.follow, "follow", "f", false, "go on with what is written from now on")
	c.Flags().BoolVar(&f.raw, "raw", false, "leave control sequences in")
	return c
}

// logs shows a guest's console log.
func (t *tool) logs(ctx context.Context, f logsFlags, args []string) error {
	n, err := t.single(args)
	if err != nil {
		return err
	}
	if f.lines < 0 {
		return usagef("--lines: want a number from 0")
	}
	if !host.Exists(t.host, n) {
		return t.about(n, guest.ErrNotFound)
	}
	o := logtail.Options{Lines: f.lines, Follow: f.follow, Raw: f.raw}
	if f.lines == 0 {
		o.Lines = logtail.All
	}
	var w io.Writer = t.out
	if t.json {
		w = &jsonLines{w: t.out}
	}
	err = logtail.Copy(ctx, t.logFile(n), w, o)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		err = fault.Hint(errors.New("nothing was logged since the host booted"), "vserver config "+string(n)+" console.type")
	case errors.Is(err, context.Canceled):
		err = nil // that is how a log that is followed ends
	}
	return t.about(n, err)
}

// logFile is where vserverd writes a guest's console.
func (t *tool) logFile(n guest.Name) string {
	return t.host.Dirs.Console(n)
}

// lastLines gives the end of a guest's console log, fit to be printed.
func (t *tool) lastLines(n guest.Name, count int) []string {
	var b bytes.Buffer
	if err := logtail.Copy(context.Background(), t.logFile(n), &b, logtail.Options{Lines: count}); err != nil {
		return nil
	}
	if b.Len() == 0 {
		return nil
	}
	return strings.Split(strings.TrimSuffix(b.String(), "\n"), "\n")
}

// jsonLines writes each line as a JSON object of its own.
type jsonLines struct {
	w    io.Writer
	line []byte
}

// Write takes the next piece of the log.
func (j *jsonLines) Write(p []byte) (int, error) {
	j.line = append(j.line, p...)
	for {
		line, rest, ok := bytes.Cut(j.line, []byte("\n"))
		if !ok {
			return len(p), nil
		}
		if err := writeJSONLine(j.w, map[string]string{"line": string(line)}); err != nil {
			return 0, err
		}
		j.line = rest
	}
}
