package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"time"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"

	"golang.org/x/term"

	"vserver/fault"
	"vserver/manual"
)

// output is the standard output.
type output struct {
	fault.Writer
	File *os.File
}

func newOutput(f *os.File) *output { return &output{fault.Writer{To: f}, f} }

// isTTY says whether the descriptor is a terminal.
func isTTY(fd int) bool { return term.IsTerminal(fd) }

// writeJSON prints a value for people and programs alike: indented, with a newline.
func writeJSON(w io.Writer, v any) error {
	return encodeJSON(w, v, "  ")
}

// writeJSONLine prints a value in one line.
func writeJSONLine(w io.Writer, v any) error { return encodeJSON(w, v, "") }

func encodeJSON(w io.Writer, v any, indent string) error {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", indent)
	if err := enc.Encode(v); err != nil {
		return err
	}
	_, err := w.Write(escaped(b.Bytes()))
	return err
}

// escaped writes by their numbers what the encoder leaves as it is and a terminal would
// act upon: JSON is read by people too, and part of it may be a guest's words.
func escaped(text []byte) []byte {
	isOdd := func(r rune) bool { return r >= 0x7f && !unicode.IsPrint(r) }
	if !bytes.ContainsFunc(text, isOdd) {
		return text
	}
	var out []byte
	for _, r := range string(text) {
		switch {
		case !isOdd(r):
			out = utf8.AppendRune(out, r)
		case r > 0xffff:
			high, low := utf16.EncodeRune(r)
			out = fmt.Appendf(out, `\u%04x\u%04x`, high, low)
		default:
			out = fmt.Appendf(out, `\u%04x`, r)
		}
	}
	return out
}

// textWidth is how wide a terminal is taken for that does not say it.
const textWidth = manual.Width

// columns sets rows of words as a table, the columns two blanks apart; the last
// column is not padded.
func columns(rows [][]string) string {
	var width []int
	for _, row := range rows {
		for i, w := range row {
			if i == len(width) {
				width = append(width, 0)
			}
			width[i] = max(width[i], utf8.RuneCountInString(w))
		}
	}
	var b strings.Builder
	for _, row := range rows {
		line := ""
		for i, w := range row {
			line += fmt.Sprintf("%-*s  ", width[i], w)
		}
		b.WriteString(strings.TrimRight(line, " ") + "\n")
	}
	return b.String()
}

// paint gives the text a colour (a number of ECMA-48, such as "32" for green) when
// the output is a terminal that takes colours.
func (t *tool) paint(text, colour string) string {
	if !isScreen(t.out.File) || os.Getenv("NO_COLOR") != "" {
		return text
	}
	return "\x1b[" + colour + "m" + text + "\x1b[0m"
}

// span writes a time span with its two largest units: "3d04h", "42s".
func span(d time.Duration) string {
	d = d.Truncate(time.Second)
	days, h, m, s := int(d.Hours())/24, int(d.Hours())%24, int(d.Minutes())%60, int(d.Seconds())%60
	switch {
	case days > 0:
		return fmt.Sprintf("%dd%02dh", days, h)
	case h > 0:
		return fmt.Sprintf("%dh%02dm", h, m)
	case m > 0:
		return fmt.Sprintf("%dm%02ds", m, s)
	}
	return fmt.Sprintf("%ds", s)
}

// seconds is a number of seconds as a time span.
func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }
