package cli

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestTail(t *testing.T) {
	path := filepath.Join(t.TempDir(), "console.log")
	write := func(path, text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(path+".1", "one\ntwo\n")
	write(path, "three\nfour")
	for count, want := range map[int]string{0: "one\ntwo\nthree\nfour", 1: "four", 2: "three\nfour", 3: "two\nthree\nfour", 9: "one\ntwo\nthree\nfour"} {
		lines, end, err := tail(path, count)
		if got := string(bytes.Join(lines, nil)); got != want || end != 10 || err != nil {
			t.Errorf("%d lines: got %q, %d, %v", count, got, end, err)
		}
	}
}

// A log that is rotated while it is followed loses no line and repeats none.
func TestFollowRotation(t *testing.T) {
	path := filepath.Join(t.TempDir(), "console.log")
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	got := make(chan string, 100)
	done := make(chan error)
	go func() {
		done <- follow(ctx, path, 0, func(line []byte) error { got <- strings.TrimSpace(string(line)); return nil })
	}()
	write := func(line string) {
		f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		f.WriteString(line + "\n")
		f.Close()
	}
	expect := func(want string) {
		t.Helper()
		select {
		case line := <-got:
			if line != want {
				t.Fatalf("got %q, want %q", line, want)
			}
		case <-time.After(10 * time.Second):
			t.Fatalf("%q did not come", want)
		}
	}
	write("one")
	expect("one")
	write("two")
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	write("three")
	expect("two")
	expect("three")
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if len(got) > 0 {
		t.Errorf("printed again: %q", <-got)
	}
}
