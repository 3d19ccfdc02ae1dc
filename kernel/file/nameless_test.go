package file

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// A file without a name is there once it has one, in the place of another perhaps, and
// leaves nothing without.
func TestNameless(t *testing.T) {
	dir := t.TempDir()
	at := filepath.Join(dir, "it")
	for _, text := range []string{"first", "second", ""} {
		f, err := Nameless(dir)
		if errors.Is(err, ErrNoNameless) {
			t.Skip(err)
		}
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.WriteString(text); err != nil {
			t.Error(err)
		}
		if text != "" {
			if err := Name(f, at); err != nil {
				t.Error(err)
			}
		}
		if err := f.Close(); err != nil {
			t.Error(err)
		}
		want := map[bool]string{true: text, false: "second"}[text != ""]
		if got, err := os.ReadFile(at); err != nil || string(got) != want {
			t.Errorf("%q, %v, want %q", got, err, want)
		}
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
		t.Errorf("%v, %v", entries, err)
	}
	if _, err := Nameless(filepath.Join(dir, "missing")); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}

// Segments are what is written, in at most so many parts.
func TestSegments(t *testing.T) {
	f, err := os.Create(filepath.Join(t.TempDir(), "f"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	const apart = 1 << 20
	for i := range int64(4) {
		if _, err := f.WriteAt([]byte("x"), i*apart); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Truncate(9 * apart); err != nil {
		t.Fatal(err)
	}
	covers := func(s []Segment, at int64) bool {
		return slices.ContainsFunc(s, func(p Segment) bool { return p.At <= at && at < p.At+p.Len })
	}
	for _, most := range []int{2, 100} {
		s, err := Segments(f, 9*apart, most)
		if err != nil || len(s) > most {
			t.Fatalf("%v, %v", s, err)
		}
		for i := range int64(4) {
			if !covers(s, i*apart) {
				t.Errorf("%v: without %d", s, i*apart)
			}
		}
	}
	if s, err := Segments(f, 1, 9); err != nil || len(s) != 1 || s[0] != (Segment{0, 1}) {
		t.Errorf("%v, %v", s, err)
	}
}
