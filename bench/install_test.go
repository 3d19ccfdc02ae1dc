package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"vserver/internal/need"
)

// Only a static program is measured, and as a copy that works like it.
func TestPut(t *testing.T) {
	need.Go(t)
	dir := need.TempDir(t)
	built, copied := filepath.Join(dir, "built"), filepath.Join(dir, "copied")
	c := exec.Command("go", "build", "-o", built, "./hello")
	c.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if err := put(built, copied); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(copied).Output(); err != nil || string(out) != "hello\n" {
		t.Errorf("%q, %v", out, err)
	}
	was, err := os.ReadFile(built)
	is, readErr := os.ReadFile(copied)
	if err != nil || readErr != nil || !bytes.Equal(was, is) {
		t.Errorf("the copy is another: %v, %v", err, readErr)
	}
	shell, err := exec.LookPath("sh")
	if err != nil {
		t.Fatal(err)
	}
	if err := put(shell, copied); err == nil {
		t.Error("a dynamic program was taken")
	}
	if err := put(filepath.Join(dir, "none"), copied); err == nil {
		t.Error("a program that is not there was taken")
	}
}
