package patch

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// TestEnd finds the end of values written in every style, from the text itself: all
// that is between | and | is the value of a.
func TestEnd(t *testing.T) {
	for _, marked := range []string{
		"a: |one|\nb: x\n",
		"a: |one two| # c\n",
		"a: |one\n  two\n\n  three|\nb: x\n",
		"a: |'it''s # not'|\n",
		`a: |"a \" # b"|` + "\n",
		"a: |\"x\n  y\"| # c\n",
		"a: |[b, \"]\", 'c]' # ]\n  , d]|\n",
		"a: |{b: [c], d: {}}| # c\n",
		"a: |{}|\n", "a: |[]|", "a: |[ # c\n ]|\n",
		"a:\n  |- b\n  - c| # c\nd: x\n",
		"a:\n|- b\n- c|\nd: x\n",
		"a:\n  |b: c\n  d: e|\n\n# c\n",
		"a:\n  |b:\n    - c|\n",
		"a: |&x one|\nb: *x\n",
		"b: &x one\na: |*x|\n",
		"{b: 1, a: |two words|, c: 3}\n",
		"{b: 1, a: |2|}\n",
		"a: |ä ö| # ü\n",
		"\ufeffa: |x|\n",
		"a: |:x:y|\n", "a: |-x|\n", "a: |x#y|\n",
		"a: |>-\n  x\n  y\n\n  z|\n\nb: x\n",
		"a: ||\n  x\n   # no comment|\n# c\nb: x\n",
		"a: |one|\r\nb: x\r\n",
	} {
		from := strings.Index(marked, "|")
		rest := marked[from+1:]
		to := strings.LastIndex(rest, "|")
		text := marked[:from] + rest[:to] + rest[to+1:]
		l, err := lay([]byte(text))
		if err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		value := l.find([]string{"a"}).value
		end, err := l.end(value)
		if start := l.start(value); err != nil || start != from || end != from+to {
			t.Errorf("%q: from %d to %d (%v), want %d to %d", text, start, end, err, from, from+to)
		}
	}
}

func TestComments(t *testing.T) {
	text := "# a\nx: y#no # b\n'# no': \"# no\n  # no\"\nz: [a, # c\n 'b # no'] #d\nw:\n  - it's # e\n# f"
	l, err := lay([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	got, err := l.comments(0, len(text))
	if want := []string{"# a", "# b", "# c", "#d", "# e", "# f"}; err != nil || !slices.Equal(got, want) {
		t.Errorf("%q, %v; want %q", got, err, want)
	}
}

func TestPutCut(t *testing.T) {
	docs := Docs{"a": "# about a", "a.b": "# about b"}
	for _, test := range []struct{ text, steps, value, want string }{
		{"", "a.b", "1", "\n# about a\na:\n  # about b\n  b: 1\n"},
		{"x: 1", "a", "2", "x: 1\n\n# about a\na: 2\n"},
		{"a:\n", "a.b", "1", "a:\n  # about b\n  b: 1\n"},
		{"a: # why\n", "a.b", "1", "a: # why\n  # about b\n  b: 1\n"},
		{"a: ~ # why\n", "a.b", "1", "a: {b: 1} # why\n"},
		{"a: {}\n", "a.b.c", "1", "a: {b: {c: 1}}\n"},
		{"{a: {x: 1}}\n", "a.b", "1", "{a: {x: 1, b: 1}}\n"},
		{"{a: {x: 1, }}\n", "a.b", "1", "{a: {x: 1, b: 1 }}\n"},
		{"{a: }\n", "a.b", "1", "{a: {b: 1} }\n"},
		{"a:\n   x: 1\n", "a.b.c", "1", "a:\n   x: 1\n   # about b\n   b:\n      c: 1\n"},
		{"a:\n  b: 1 # one\n", "a.b", "2", "a:\n  b: 2 # one\n"},
		{"a:\n  b:\n    - 1 # one\n    # more\n    - 2 # two\n", "a.b", "3", "a:\n  # one\n  # more\n  b: 3 # two\n"},
		{"a:\n  # about b\n  b: 1\n\nx: 1\n", "a.b", "", "\nx: 1\n"},
		{"a:\n  # about b\n  b: 1\n  # mine\nx: 1\n", "a.b", "", "a:\n  # mine\nx: 1\n"},
		{"x: 1\n\n# about a\na:\n  # about b\n  b: 1\n", "a.b", "", "x: 1\n"},
		{"a:\n  b: 1 # one\n  c: 2\n", "a.b", "", "a:\n  # one\n  c: 2\n"},
		{"{a: 1, b: 2}\n", "a", "", "{b: 2}\n"},
		{"{a: 1, b: 2}\n", "b", "", "{a: 1}\n"},
		{"{b: 2}\n", "b", "", "{}\n"},
		{"a: 1\n", "b", "", "a: 1\n"},
		{"a:\nb: 1\n", "a", "", "b: 1\n"},
	} {
		steps := strings.Split(test.steps, ".")
		var got []byte
		var err error
		if test.value == "" {
			got, err = Cut([]byte(test.text), steps, docs)
		} else {
			got, err = Put([]byte(test.text), steps, test.value, docs)
		}
		if err != nil || string(got) != test.want {
			t.Errorf("%q %s=%s: %v\ngot  %q\nwant %q", test.text, test.steps, test.value, err, got, test.want)
		}
	}
	for _, text := range []string{"a: 1\n", "a: [1]\n", "a: &x\n", "- a\n", "a\n", "{a}\n", "&x a: {}\ny: *x\n"} {
		if got, err := Put([]byte(text), []string{"a", "b"}, "1", nil); err == nil && strings.HasPrefix(text, "a") {
			t.Errorf("%q: %q", text, got)
		} else if err != nil && !errors.Is(err, ErrLayout) {
			t.Errorf("%q: %v", text, err)
		}
	}
	if _, err := Put([]byte("a: [\n"), []string{"a"}, "1", nil); err == nil {
		t.Error("no YAML at all")
	}
}

func TestCommon(t *testing.T) {
	for _, test := range []struct {
		a, b string
		want []int
	}{
		{"abc", "abc", []int{0, 1, 2}}, {"abc", "", []int{-1, -1, -1}}, {"abc", "xbz", []int{-1, 1, -1}},
		{"abc", "cab", []int{1, 2, -1}}, {"ab", "xxaxxb", []int{2, 5}}, {"abcd", "bd", []int{-1, 0, -1, 1}},
	} {
		if got := common(strings.Split(test.a, ""), strings.Split(test.b, "")); !slices.Equal(got, test.want) {
			t.Errorf("%s %s: %v, want %v", test.a, test.b, got, test.want)
		}
	}
}

// FuzzQuote reads back what was quoted, alone, in a list and as a key.
func FuzzQuote(f *testing.F) {
	for _, s := range []string{"", "a", "null", "~", "3", "1e3", "yes", "-", "- a", "a: b", "a:", ":a", "#", "a #b", "[", "{", "&a", "*a", "!a", "%a", "@a", "`a", "'", "\"", "\\", "\t", "\x00", "ä", "\u2028", "...", "---", "=", "<<", "2001-01-01", "0x10", "1:30", ".5", "?", "| ", "a\\\n", "\U0001f600", "a  b", " a", "a "} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if strings.ToValidUTF8(s, "") != s || len(s) > 200 {
			return // a key of YAML has 1024 characters at most
		}
		q := Quote(s, true)
		var doc struct {
			A any
			L []any
			F map[string]any
			B map[string]any
		}
		text := "a: " + q + " # c\nl: [" + q + ", " + q + "]\nf: {" + q + ": " + q + "}\nb:\n  " + q + ": " + q + "\n"
		if err := yaml.Unmarshal([]byte(text), &doc); err != nil {
			t.Fatalf("%q: %v\n%s", s, err, text)
		}
		if doc.A != any(s) || len(doc.L) != 2 || doc.L[0] != any(s) || doc.L[1] != any(s) || doc.F[s] != any(s) || doc.B[s] != any(s) {
			t.Fatalf("%q: reads %q\n%s", s, doc, text)
		}
	})
}
