package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"vserver/internal/need"
)

// TestUpToDate fails when policy.txt or the library's numbers have changed and the
// tables have not.
func TestUpToDate(t *testing.T) {
	need.Go(t)
	files, err := generate("..")
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range files {
		got, err := os.ReadFile(filepath.Join("..", name))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s is out of date: go generate ./kernel/seccomp", name)
		}
	}
}

func TestReadPolicy(t *testing.T) {
	p, err := readPolicy(strings.NewReader("# all\n[allow]\nread write # both\n[refuse]\nbpf\n"))
	if err != nil {
		t.Fatal(err)
	}
	if p["read"] != 'a' || p["write"] != 'a' || p["bpf"] != 'e' || len(p) != 3 {
		t.Errorf("policy %q", p)
	}
	for text, want := range map[string]string{
		"read\n":                        "policy.txt:1",
		"[allow]\nread\n[absent]\nread": "policy.txt:4",
		"[perhaps]\n":                   "no such verdict",
	} {
		if _, err := readPolicy(strings.NewReader(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", text, err)
		}
	}
}
