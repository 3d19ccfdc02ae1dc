package imagetool

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// TestMain is the program when it is called by its name: what it limits would limit the
// tests.
func TestMain(m *testing.M) {
	if os.Args[0] == "vserver-image" {
		if err := Run(context.Background(), os.Args[1:], os.Stdin, os.Stdout); err != nil {
			os.Stderr.WriteString(err.Error())
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func run(t *testing.T, in string, args ...string) (string, error) {
	t.Helper()
	c := exec.Command(os.Args[0], args...)
	c.Args[0] = "vserver-image"
	c.Stdin = strings.NewReader(in)
	var out bytes.Buffer
	c.Stdout, c.Stderr = &out, &out
	err := c.Run()
	return out.String(), err
}

func TestUsage(t *testing.T) {
	for _, args := range [][]string{nil, {"unzip", "x"}, {"pull", "x"}, {"pull", "x", "y", "z"}, {"rm", "x", "y"}, {"--help"}} {
		if out, err := run(t, "", args...); err == nil || !strings.Contains(out, "usage: vserver-image") {
			t.Errorf("%q: %q, %v", args, out, err)
		}
	}
}

func TestOddReferences(t *testing.T) {
	for _, ref := range []string{"", "UPPER", "a b", "-x", "x@sha256:short", "x:y:z", "http://x/y"} {
		if out, err := run(t, "", "digest", ref, "linux/amd64"); err == nil || strings.Contains(out, "goroutine") {
			t.Errorf("%q: %q", ref, out)
		}
	}
	if out, err := run(t, "", "digest", "localhost:1/x", "li/nux/a/b/c"); err == nil {
		t.Errorf("odd platform: %q", out)
	}
}

func TestUnzip(t *testing.T) {
	if out, err := run(t, "no archive", "unzip"); err == nil || !strings.Contains(out, "unknown compression") {
		t.Errorf("%q, %v", out, err)
	}
}

func TestZip(t *testing.T) {
	archive := strings.Repeat("\x00", 257) + "ustar" + strings.Repeat("all work and no play ", 1000)
	for _, kind := range []string{"zstd", "gzip"} {
		packed, err := run(t, archive, "zip", kind, "0")
		if err != nil || len(packed) > len(archive)/10 {
			t.Fatalf("%s: %d bytes, %v", kind, len(packed), err)
		}
		if got, err := run(t, packed, "unzip"); err != nil || got != archive {
			t.Errorf("%s: %d bytes, %v", kind, len(got), err)
		}
	}
	if out, err := run(t, archive, "zip", "lzma", "0"); err == nil {
		t.Errorf("%q", out)
	}
}
