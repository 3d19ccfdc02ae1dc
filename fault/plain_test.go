package fault

import (
	"strings"
	"testing"
)

func TestPlain(t *testing.T) {
	for text, want := range map[string]string{
		"/srv/Bücher 2026":                          "/srv/Bücher 2026",
		"/x\x1b]0;title\x07\x1b[2J\nhint: rm -rf /": "/x?]0;title??[2J?hint: rm -rf /",
		"c1 \u009b2J, del \x7f, \xff":               "c1 ?2J, del ?, \ufffd",
		"bidi \u202etxt.exe\u2066, hidden \u200b":   "bidi ?txt.exe?, hidden ?",
	} {
		if got := Plain(text); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
	if got, want := PlainLines("one\ttwo\nvserver: fake\x1b[m\n\n"), "one    two\n  vserver: fake?[m"; got != want {
		t.Errorf("lines: %q, want %q", got, want)
	}
	long := "open /" + strings.Repeat("ä/", 100_000) + "x: too deep"
	if got := PlainLines(long); len(got) > 2*longest || !strings.HasPrefix(got, "open /ä/ä/") || !strings.HasSuffix(got, "ä/x: too deep") || strings.Contains(got, "\ufffd") {
		t.Errorf("%d bytes: %q", len(got), got)
	}
}
