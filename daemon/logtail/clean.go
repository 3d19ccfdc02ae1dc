package logtail

import (
	"io"
	"unicode/utf8"
)

// Clean gives a writer that passes text on to w and drops what could move, recolour
// or question a terminal: control characters but newline and tab, and escape
// sequences whole. Bytes that are no UTF-8 become U+FFFD.
func Clean(w io.Writer) io.Writer { return &cleaner{w: w} }

type cleaner struct {
	w     io.Writer
	in    part
	begun []byte // an unfinished rune
	long  int    // runes of the sequence so far
}

// part is where in the text a cleaner is.
type part byte

const (
	inText   part = iota
	inEscape      // after ESC
	inCSI         // after ESC [, up to a byte from @ to ~
	inString      // after ESC and one of ]PX^_, up to BEL or ESC \
	inST          // after the ESC of ESC \
)

// maxSequence ends a sequence that does not end by itself.
const maxSequence = 4096

// Write takes the next piece of text, which may begin and end anywhere.
func (c *cleaner) Write(p []byte) (int, error) {
	text := append(c.begun, p...)
	out := make([]byte, 0, len(text))
	for len(text) > 0 && utf8.FullRune(text) {
		r, size := utf8.DecodeRune(text)
		text = text[size:]
		if c.shown(r) {
			out = utf8.AppendRune(out, r)
		}
	}
	c.begun = append([]byte(nil), text...)
	if len(out) > 0 {
		if _, err := c.w.Write(out); err != nil {
			return 0, err
		}
	}
	return len(p), nil
}

// shown takes the next rune and tells whether it is for the reader.
func (c *cleaner) shown(r rune) bool {
	const esc, bel = 0x1b, 0x07
	if c.in != inText {
		if c.long++; c.long > maxSequence || r == '\n' {
			c.in = inText // a line never vanishes in a sequence begun before
		}
	}
	switch c.in {
	case inEscape:
		switch r {
		case '[':
			c.in = inCSI
		case ']', 'P', 'X', '^', '_':
			c.in = inString
		case esc:
		default:
			if r < ' ' || r > '/' { // else intermediate bytes, as in ESC ( B
				c.in = inText
			}
		}
		return false
	case inCSI:
		if r >= '@' && r <= '~' {
			c.in = inText
		} else if r == esc {
			c.in = inEscape
		}
		return false
	case inString:
		switch r {
		case bel:
			c.in = inText
		case esc:
			c.in = inST
		}
		return false
	case inST:
		if c.in = inString; r == '\\' {
			c.in = inText
		}
		return false
	}
	if r == esc {
		c.in, c.long = inEscape, 0
	}
	return r == '\n' || r == '\t' || r >= ' ' && r < 0x7f || r > 0x9f
}
