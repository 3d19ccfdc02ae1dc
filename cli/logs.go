package cli

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"vserver/fault"
	"vserver/guest"
)

type logsFlags struct {
	lines  int
	follow bool
	raw    bool
}

func newLogs(t *tool) *cobra.Command {
	var f logsFlags
	c := command("logs NAME [OPTION...]", `
Shows what a guest wrote to its console. On a terminal all control sequences but
colours are taken out, since the guest's owner chose them, not you; into a file or
a pipe it goes as it came.`, `
vserver web1 logs
vserver logs -f -n 20 web1`,
		func(ctx context.Context, args []string) error { return t.logs(ctx, f, args) })
	c.Flags().IntVarP(&f.lines, "lines", "n", 100, "the last `N` lines; 0 is all that is kept")
	c.Flags().BoolVarP(&f.follow, "follow", "f", false, "go on with what is written from now on")
	c.Flags().BoolVar(&f.raw, "raw", false, "leave control sequences in, on a terminal too")
	return c
}

// logs shows a guest's console log.
func (t *tool) logs(ctx context.Context, f logsFlags, args []string) error {
	n, err := t.single(args)
	if err != nil {
		return err
	}
	if _, err := os.Stat(t.host.Dirs.Spec(n)); err != nil {
		return t.about(n, guest.ErrNotFound)
	}
	path := t.logFile(n)
	lines, end, err := tail(path, f.lines)
	if errors.Is(err, fs.ErrNotExist) && !f.follow {
		return t.about(n, fault.Hint(errors.New("nothing was logged since the host booted"),
			"vserver config "+string(n)+" console.type"))
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return t.about(n, err)
	}
	print := t.linePrinter(f.raw)
	for _, l := range lines {
		if err := print(l); err != nil {
			return err
		}
	}
	if !f.follow {
		return nil
	}
	return t.about(n, follow(ctx, path, end, print))
}

// logFile is where vserverd writes a guest's console. The log before it, rotated
// away, has ".1" behind.
func (t *tool) logFile(n guest.Name) string {
	return filepath.Join(t.host.Dirs.State(n), "console.log")
}

// linePrinter gives a function that prints a line of a log.
func (t *tool) linePrinter(raw bool) func([]byte) error {
	clean := !raw && isTerminal(t.out)
	return func(line []byte) error {
		if t.json {
			writeJSONLine(t.out, map[string]string{"line": string(bytes.TrimRight(line, "\r\n"))})
			return nil
		}
		if clean {
			line = append(printable(line, true), '\n')
		}
		_, err := t.out.Write(line)
		return err
	}
}

// lastLines gives the end of a guest's console log, fit to be printed.
func (t *tool) lastLines(n guest.Name, count int) []string {
	lines, _, err := tail(t.logFile(n), count)
	if err != nil {
		return nil
	}
	words := make([]string, len(lines))
	for i, l := range lines {
		words[i] = string(printable(l, false))
	}
	return words
}

// tail gives the last lines of a log (all with 0), those of the rotated one
// included, and where the log ends. Lines end with their newline but perhaps the
// last.
func tail(path string, count int) (lines [][]byte, end int64, err error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, 0, err
	}
	end = int64(len(text))
	if old, err := os.ReadFile(path + ".1"); err == nil && (count == 0 || bytes.Count(text, []byte("\n")) < count) {
		text = append(old, text...)
	}
	lines = bytes.SplitAfter(text, []byte("\n"))
	if len(lines[len(lines)-1]) == 0 {
		lines = lines[:len(lines)-1]
	}
	if count > 0 && len(lines) > count {
		lines = lines[len(lines)-count:]
	}
	return lines, end, nil
}

// followPause is how often a log that is followed is looked at.
const followPause = 100 * time.Millisecond

// follow prints what is written to the log behind offset until ctx ends. A log that
// was rotated away is read to its end, then the new one from its beginning.
func follow(ctx context.Context, path string, offset int64, print func([]byte) error) error {
	var f *os.File
	defer func() { f.Close() }()
	for {
		if f == nil {
			var err error
			if f, err = os.Open(path); err == nil {
				f.Seek(offset, io.SeekStart)
				offset = 0
			} else if !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
		if f != nil {
			rotated := isOther(f, path)
			if err := copyLines(f, print); err != nil {
				return err
			}
			if rotated {
				f.Close()
				f = nil
				continue
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(followPause):
		}
	}
}

// isOther says whether another file stands at the path than the open one.
func isOther(f *os.File, path string) bool {
	at, err := os.Stat(path)
	if err != nil {
		return false
	}
	open, err := f.Stat()
	return err == nil && !os.SameFile(open, at)
}

// copyLines prints what can be read now, a line left unfinished included.
func copyLines(r io.Reader, print func([]byte) error) error {
	for b := bufio.NewReader(r); ; {
		line, err := b.ReadBytes('\n')
		if len(line) > 0 {
			if err := print(line); err != nil {
				return err
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read: %w", err)
		}
	}
}
