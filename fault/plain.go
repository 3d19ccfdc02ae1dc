package fault

import (
	"strings"
	"unicode"
)

// Plain gives a text for one line of a terminal. Part of it may be a guest's words, such
// as the name of a file: what a terminal would act upon, or show elsewhere than where it
// stands, becomes a question mark.
func Plain(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return '?'
	}, text)
}

// longest is how many bytes of a line PlainLines leaves. A path that a guest has made may
// have hundreds of thousands.
const longest = 4096

// PlainLines is Plain for a text of several lines. Those behind the first are set in:
// none that a guest has made looks like one of ours. Of a very long one the middle is left
// out.
func PlainLines(text string) string {
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	for i, line := range lines {
		if len(line) > longest {
			line = strings.ToValidUTF8(line[:longest/2], "") + " [...] " + strings.ToValidUTF8(line[len(line)-longest/2:], "")
		}
		lines[i] = Plain(strings.ReplaceAll(line, "\t", "    "))
	}
	return strings.Join(lines, "\n  ")
}
