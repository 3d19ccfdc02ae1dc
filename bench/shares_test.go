package main

import (
	"math"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// Parts are of what guests have together, or of the whole time.
func TestParts(t *testing.T) {
	used := map[string]time.Duration{"one": time.Second, "two": 3 * time.Second}
	for _, c := range []struct {
		alone bool
		one   float64
	}{{false, 25}, {true, 10}} {
		got := parts(used, c.alone, 10*time.Second)
		if math.Abs(got["one"]-c.one) > 1e-9 || math.Abs(got["two"]-3*c.one) > 1e-9 {
			t.Errorf("%v: %v", c.alone, got)
		}
	}
	if got := parts(nil, false, time.Second); len(got) != 0 {
		t.Errorf("of nobody: %v", got)
	}
}

// A file is read to its end, and one that is not there is an error.
func TestReadOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, make([]byte, 20000), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, p := range []string{path, "sysinfo"} {
		if err := readOnce(p); err != nil {
			t.Errorf("%s: %v", p, err)
		}
	}
	if err := readOnce(path + "x"); err == nil {
		t.Error("a file that is not there was read")
	}
}
