package logtail

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"vserver/internal/need"
)

func TestMain(m *testing.M) { need.Main(m) }

// logs writes a log and the one before it; "" is none.
func logs(t *testing.T, now, before string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "console.log")
	for name, text := range map[string]string{path: now, Rotated(path): before} {
		if text == "" {
			continue
		}
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return path
}

func numbered(from, to int) string {
	var b strings.Builder
	for i := from; i <= to; i++ {
		fmt.Fprintf(&b, "line %d\n", i)
	}
	return b.String()
}

func TestLastLines(t *testing.T) {
	for _, c := range []struct {
		now, before string
		lines       int
		want        string
	}{
		{"a\nb\nc\n", "", 2, "b\nc\n"},
		{"a\nb\nc", "", 2, "b\nc"},
		{"a\nb\n", "", 2, "a\nb\n"},
		{"a\nb\n", "", 9, "a\nb\n"},
		{"a\nb\n", "", 0, ""},
		{"a\nb\n", "x\ny\n", 3, "y\na\nb\n"},
		{"a\nb\n", "x\ny\n", 2, "a\nb\n"},
		{"a\nb\n", "x\ny\n", 9, "x\ny\na\nb\n"},
		{"a\nb\n", "x\ny\n", All, "x\ny\na\nb\n"},
		{"\n\n\n", "", 2, "\n\n"},
		{numbered(1, 9000), "", 3, numbered(8998, 9000)},
		{numbered(1, 9000), numbered(-5, 0), 9001, numbered(0, 9000)},
	} {
		var out bytes.Buffer
		if err := Copy(t.Context(), logs(t, c.now, c.before), &out, Options{Lines: c.lines}); err != nil {
			t.Error(err)
		}
		if got := out.String(); got != c.want {
			t.Errorf("last %d of %.20q after %.20q: %.60q, want %.60q", c.lines, c.now, c.before, got, c.want)
		}
	}
	err := Copy(t.Context(), filepath.Join(t.TempDir(), "none"), new(bytes.Buffer), Options{})
	if !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no log: %v", err)
	}
}

// sink is a buffer that a test reads while another goroutine writes.
type sink struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *sink) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *sink) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

func (s *sink) await(t *testing.T, want string) {
	t.Helper()
	for end := time.Now().Add(5 * time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
		if s.String() == want {
			return
		}
	}
	t.Fatalf("got %q, want %q", s.String(), want)
}

func TestFollow(t *testing.T) {
	path := logs(t, "", "")
	add := func(text string) {
		t.Helper()
		f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		f.WriteString(text)
	}
	ctx, stop := context.WithCancel(t.Context())
	var out sink
	ended := make(chan error, 1)
	go func() { ended <- Copy(ctx, path, &out, Options{Lines: 10, Follow: true}) }()

	time.Sleep(2 * pause)
	add("first\n") // it was not there
	out.await(t, "first\n")
	add("second\n")
	out.await(t, "first\nsecond\n")
	add("third\n") // unread when rotated
	if err := os.Rename(path, Rotated(path)); err != nil {
		t.Fatal(err)
	}
	add("fourth\n")
	out.await(t, "first\nsecond\nthird\nfourth\n")
	if err := os.Truncate(path, 0); err != nil {
		t.Fatal(err)
	}
	time.Sleep(3 * pause)
	add("5\n")
	out.await(t, "first\nsecond\nthird\nfourth\n5\n")
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestFollowEndsWithGuest(t *testing.T) {
	path := logs(t, "x\n", "")
	ended := make(chan error, 1)
	go func() { ended <- Copy(t.Context(), path, new(sink), Options{Follow: true}) }()
	time.Sleep(2 * pause)
	os.RemoveAll(filepath.Dir(path))
	select {
	case err := <-ended:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(30 * time.Second):
		t.Fatal("still following")
	}
}

func TestClean(t *testing.T) {
	for in, want := range map[string]string{
		"plain\ttext\r\n":                         "plain\ttext\n",
		"\x1b[0;1;32m  OK  \x1b[0m Started":       "  OK   Started",
		"\x1b]0;title\x07shown":                   "shown",
		"\x1b]52;c;aGk=\x1b\\shown":               "shown",
		"\x1bP+q544e\x1b\\shown":                  "shown",
		"\x1b(Bcharset":                           "charset",
		"\x1b7saved\x1b8":                         "saved",
		"\x1b]0;never ended\nnext line":           "\nnext line",
		"\x1b[31\nnext":                           "\nnext",
		"bell\a back\b del\x7f nul\x00":           "bell back del nul",
		"grüße \u009b31m":                         "grüße 31m",
		"bad \xff\x9b byte":                       "bad \ufffd\ufffd byte",
		"\x1b[\x1b[31mred":                        "red",
		"\x1b]" + strings.Repeat("x", 5000) + "y": strings.Repeat("x", 5000-maxSequence) + "y",
	} {
		var out bytes.Buffer
		Clean(&out).Write([]byte(in))
		if got := out.String(); got != want && !strings.HasPrefix(in, "\x1b]xxx") {
			t.Errorf("%.40q: got %.40q, want %.40q", in, got, want)
		}
		if !strings.HasSuffix(out.String(), want[len(want)-1:]) {
			t.Errorf("%.40q: the end is missing", in)
		}
	}
}

func FuzzClean(f *testing.F) {
	f.Add([]byte("\x1b[31mred\x1b[0m grüße \x1b]0;t\x07\n"), 3)
	f.Add([]byte("\xe2\x82\x1b"), 1)
	f.Fuzz(func(t *testing.T, in []byte, cut int) {
		var whole, pieces bytes.Buffer
		Clean(&whole).Write(in)
		w := Clean(&pieces)
		at := max(0, min(cut, len(in)))
		w.Write(in[:at])
		w.Write(in[at:])
		if whole.String() != pieces.String() {
			t.Errorf("%q in one piece, %q in two", whole.String(), pieces.String())
		}
		for _, r := range whole.String() {
			if unicode.IsControl(r) && r != '\n' && r != '\t' {
				t.Errorf("control character %q came through", r)
			}
		}
		if !utf8.Valid(whole.Bytes()) {
			t.Errorf("no UTF-8: %q", whole.Bytes())
		}
	})
}
