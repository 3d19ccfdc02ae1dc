package cli

import (
	"bytes"
	"testing"
)

func TestPrintable(t *testing.T) {
	for _, tt := range []struct{ in, plain, coloured string }{
		{"plain\ttext\r\n", "plain\ttext", "plain\ttext"},
		{"[\x1b[0;32m  OK  \x1b[0m] done", "[  OK  ] done", "[\x1b[0;32m  OK  \x1b[0m] done"},
		{"\x1b]0;title\x07a\x1b]2;title\x1b\\b", "ab", "ab"},
		{"\x1b[2J\x1b[Hcleared", "cleared", "cleared"},
		{"\x1b[>4;2m\x1b[?1049h\x1b[6n", "", ""}, // private modes that end with m or not; a question
		{"\x1bPq#0\x1b\\x", "x", "x"},
		{"\u009b31mx\u009d0;t\u009cy", "31mx0;ty", "31mx0;ty"}, // C1 forms
		{"bell\a back\b del\x7f nul\x00", "bell back del nul", "bell back del nul"},
		{"wörld \xff", "wörld ?", "wörld ?"},
		{"unfinished \x1b[3", "unfinished ", "unfinished "},
		{"unfinished \x1b", "unfinished ", "unfinished "},
		{"\x1b[12\x1b[2Jx", "x", "x"},
	} {
		if got := string(printable([]byte(tt.in), false)); got != tt.plain {
			t.Errorf("%q: got %q, want %q", tt.in, got, tt.plain)
		}
		if got := string(printable([]byte(tt.in), true)); got != tt.coloured {
			t.Errorf("%q with colours: got %q, want %q", tt.in, got, tt.coloured)
		}
	}
}

func FuzzPrintable(f *testing.F) {
	f.Add([]byte("\x1b[31mred\x1b]0;x\x07"))
	f.Fuzz(func(t *testing.T, text []byte) {
		out := printable(text, false)
		if i := bytes.IndexFunc(out, func(r rune) bool { return r < ' ' && r != '\t' || r >= 0x7f && r < 0xa0 }); i >= 0 {
			t.Errorf("%q: left %q", text, out[i:])
		}
		again := printable(printable(text, true), false)
		if bytes.ContainsRune(again, 0x1b) {
			t.Errorf("%q: left an escape: %q", text, again)
		}
	})
}
