package compat

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"vserver/fault"
	"vserver/guest"
	"vserver/host"
	"vserver/internal/need"
)

func TestMain(m *testing.M) { need.Main(m) }

func TestNames(t *testing.T) {
	for _, name := range []string{"vserver", "", "vserver-stat", "chbind", "chcontext"} {
		if _, ok := Main(name, []string{name}, guest.DefaultDirs(t.TempDir()), io.Discard, io.Discard); ok {
			t.Errorf("%q is answered here", name)
		}
	}
}

// TestGone: what cannot be had is said on one line that names something to do.
func TestGone(t *testing.T) {
	for _, name := range []string{"vrsetup", "vtag", "vshelper"} {
		var out, err bytes.Buffer
		code, ok := Main(name, []string{name, "--xid", "5"}, guest.DefaultDirs(t.TempDir()), &out, &err)
		line := err.String()
		if !ok || code != exitUnsupported || out.Len() > 0 {
			t.Errorf("%s: code %d, %t, says %q", name, code, ok, out.String())
		}
		if !strings.HasPrefix(line, name+": ") || strings.Count(line, "\n") != 1 || !strings.Contains(line, "`") {
			t.Errorf("%s: says %q", name, line)
		}
	}
}

func TestVersion(t *testing.T) {
	for _, name := range []string{"vrsetup", "lsxid", "vprocunhide"} {
		var out bytes.Buffer
		if code, _ := Main(name, []string{name, "--version"}, guest.DefaultDirs(t.TempDir()), &out, io.Discard); code != exitDone || !strings.HasPrefix(out.String(), name) {
			t.Errorf("%s --version: code %d, %q", name, code, out.String())
		}
	}
}

// TestMan: each tool has a page that says what it does and how it ends.
func TestMan(t *testing.T) {
	for _, name := range Names() {
		var out bytes.Buffer
		code, _ := Main(name, []string{name, "--man"}, guest.DefaultDirs(t.TempDir()), &out, io.Discard)
		text := out.String()
		for _, part := range []string{".TH ", ".SH NAME\n", ".SH SYNOPSIS\n", ".SH DESCRIPTION\n", ".SH EXIT STATUS\n"} {
			if code != exitDone || strings.Count(text, part) != 1 {
				t.Errorf("%s: code %d, a page without %q: %s", name, code, part, text)
			}
		}
	}
}

// parsed gives the options of a tool as they are after parsing.
func parsed(t *testing.T, name string, args ...string) error {
	t.Helper()
	tool, ok := find(name)
	if !ok {
		t.Fatalf("%s: no such tool", name)
	}
	c := &call{tool: tool, host: host.Open(guest.DefaultDirs(t.TempDir())), out: &fault.Writer{To: io.Discard}, err: io.Discard}
	c.options()
	return c.flags.Parse(args)
}

// TestParse: options as getopt_long(3) takes them.
func TestParse(t *testing.T) {
	for _, good := range [][]string{
		{"chxid", "-Rx", "-c", "0x10", "-U", "a", "--", "-b"}, {"lsxid", "-Rad", "f"}, {"vlimit", "--xi", "5", "--npr", "200"},
		{"vlimit", "-c5", "-HS", "--nproc=2k", "-M", "--6", "inf"}, {"vspace", "-nMU", "--~uts", "--", "sh"},
		{"vsched", "--tokens_min", "5", "--tokens-max=0x10"}, {"setattr", "--!immutable", "--~iunlink", "f"},
	} {
		if err := parsed(t, good[0], good[1:]...); err != nil {
			t.Errorf("%q: %v", good, err)
		}
	}
	for _, bad := range [][]string{{"chxid", "-q"}, {"lsxid", "-c", "5"}, {"vlimit", "--nproc", "many"}, {"vlimit", "--n", "5"}, {"vspace", "--mask", "x"}, {"vsched", "--interval", "1.5"}} {
		if err := parsed(t, bad[0], bad[1:]...); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}

func FuzzNumber(f *testing.F) {
	for _, s := range []string{"inf", "1k", "0x10M", "010", "-1", "18446744073709551615", "18446744073709551615K"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		n, err := number(text)
		if err == nil && n == infinite && !strings.Contains(text, "inf") && !strings.Contains(text, "18446744073709551615") && !strings.ContainsAny(text, "xXoObB_01234567") {
			t.Errorf("%q: is infinite", text)
		}
	})
}

// TestRunlevel: the record is written once, whatever stands there.
func TestRunlevel(t *testing.T) {
	path := filepath.Join(t.TempDir(), "utmp")
	size := int(recordSize())
	if err := os.WriteFile(path, append(make([]byte, size), "cut off"...), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, level := range []int{3, 5} {
		f, err := os.OpenFile(path, os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(putRunlevel(f, level), f.Close()); err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(path)
		if err != nil || len(text) != 2*size || text[size] != runLevel || text[size+4] != byte('0'+level) || text[size+5] != '#' {
			t.Errorf("level %d: %d bytes, %v; %v", level, len(text), text[size:], err)
		}
	}
}

// TestMarked: a list of marks, with ! for those that are not wanted.
func TestMarked(t *testing.T) {
	for _, c := range []struct {
		marks []string
		list  string
		want  bool
	}{
		{[]string{"a"}, "a,b", true}, {[]string{"b"}, "a", false}, {nil, "!a", true}, {[]string{"a"}, "~a", false}, {[]string{"a", "b"}, "a,!b", false},
	} {
		if got := marked(c.marks, c.list); got != c.want {
			t.Errorf("%v in %q: %t", c.marks, c.list, got)
		}
	}
}

// TestEach: which files are meant, as with ls.
func TestEach(t *testing.T) {
	dir := t.TempDir()
	for _, p := range []string{"d/e/f", "g", ".h/i"} {
		if err := os.MkdirAll(filepath.Join(dir, filepath.Dir(p)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, p), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("/etc", filepath.Join(dir, "out")); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		tags tags
		want string
	}{
		{tags{}, "d g out"},
		{tags{all: true}, ".h d g out"},
		{tags{self: true}, "."},
		{tags{recursive: true}, ". d d/e d/e/f g out"},
		{tags{recursive: true, all: true, sameFS: true}, ". .h .h/i d d/e d/e/f g out"},
	} {
		var got []string
		err := c.tags.each(dir, func(path string) {
			rel, _ := filepath.Rel(dir, path)
			got = append(got, rel)
		})
		if err != nil || strings.Join(got, " ") != c.want {
			t.Errorf("%+v: %q, want %q; %v", c.tags, got, c.want, err)
		}
	}
	if err := (&tags{}).each(filepath.Join(dir, "none"), func(string) {}); err == nil {
		t.Error("a file that is not there")
	}
}

// TestList: a line for each file, the tag in a column of 20; a link has none.
func TestList(t *testing.T) {
	dir := t.TempDir()
	if err := os.Symlink("/etc/passwd", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	var out, err bytes.Buffer
	code, _ := Main("lsxid", []string{"lsxid", dir}, guest.DefaultDirs(t.TempDir()), &out, &err)
	if want := "-" + strings.Repeat(" ", 21) + filepath.Join(dir, "link") + "\n"; code != exitDone || out.String() != want {
		t.Errorf("code %d, %q, want %q; %s", code, out.String(), want, err.String())
	}
	if code, _ := Main("chxid", []string{"chxid", "-c", "5", filepath.Join(dir, "none")}, guest.DefaultDirs(t.TempDir()), &out, &err); code != 1 {
		t.Errorf("chxid of nothing: code %d", code)
	}
}
