package layer

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"vserver/internal/need"
	"vserver/kernel/file"
)

func dirOf(t *testing.T, path string) *file.Dir {
	t.Helper()
	d, err := file.OpenDir(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

// shown gives what is in a tree, sorted: "d/", "f=text", "l>target".
func shown(t *testing.T, dir string) string {
	t.Helper()
	var out []string
	err := filepath.WalkDir(dir, func(p string, e fs.DirEntry, err error) error {
		name, _ := filepath.Rel(dir, p)
		switch {
		case err != nil || name == ".":
			return err
		case e.IsDir():
			name += "/"
		case e.Type() == fs.ModeSymlink:
			to, _ := os.Readlink(p)
			name += ">" + to
		case e.Type().IsRegular():
			text, _ := os.ReadFile(p)
			name += "=" + string(text)
		default:
			name += "?"
		}
		out = append(out, name)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(out, " ")
}

func digestOf(t *testing.T, dir string) Sum {
	t.Helper()
	s, err := Digest(t.Context(), dirOf(t, dir), nil)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestOver(t *testing.T) {
	need.Root(t)
	low := tree(t, 0, "a=1", "b=2", "d/", "d/x=3", "d/y=4", "o/", "o/x=5", "s/", "s/x=6", "l>a", "f=7")
	up := tree(t, base, "b=new", "a!", "d/", "d/x!", "d/z=8", "o/@", "o/new=9", "s=file", "l/", "l/x=10", "f>a", "e!")
	if err := os.Link(filepath.Join(up, "b"), filepath.Join(up, "d/same")); err != nil {
		t.Fatal(err)
	}
	to := t.TempDir()
	for _, l := range []struct {
		dir  string
		from uint32
	}{{low, 0}, {up, base}} {
		c := Copy{Shift: Shift{From: l.from}, Over: true}
		if err := c.Run(t.Context(), dirOf(t, l.dir), dirOf(t, to)); err != nil {
			t.Fatal(err)
		}
	}
	want := "b=new d/ d/same=new d/y=4 d/z=8 f>a l/ l/x=10 o/ o/new=9 s=file"
	if got := shown(t, to); got != want {
		t.Errorf("%s\nwant %s", got, want)
	}
	a, _ := os.Stat(filepath.Join(to, "b"))
	b, _ := os.Stat(filepath.Join(to, "d/same"))
	if !os.SameFile(a, b) {
		t.Error("the two names are two files")
	}
	if got := xattr(t, to, "o", opaque); got != "" {
		t.Errorf("the overlay's mark was copied: %q", got)
	}
	flat := tree(t, 0, "b=new", "d/", "d/same=new", "d/y=4", "d/z=8", "f>a", "l/", "l/x=10", "o/", "o/new=9", "s=file")
	if err := os.Chmod(to, 0o755); err != nil {
		t.Fatal(err)
	}
	if got, want := digestOf(t, to), digestOf(t, flat); got != want {
		t.Errorf("owners or modes differ: %v %v", got, want)
	}
}

// A file that would take days to read keeps nobody from giving up.
func TestDigestInterrupted(t *testing.T) {
	need.Root(t)
	dir := tree(t, 0, "a=1")
	if err := os.Truncate(filepath.Join(dir, "a"), 8<<40); err != nil {
		t.Fatal(err)
	}
	ctx, end := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer end()
	if _, err := Digest(ctx, dirOf(t, dir), nil); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
}

func TestDigest(t *testing.T) {
	need.Root(t)
	made := func() string { return tree(t, 0, "a=1", "d/", "d/x=3", "l>a") }
	first := digestOf(t, made())
	if first.Files != 4 || first.Bytes != 2 || !strings.HasPrefix(first.Digest, "sha256:") {
		t.Errorf("%+v", first)
	}
	if again := digestOf(t, made()); again != first {
		t.Errorf("the same tree: %v %v", first, again)
	}
	for name, change := range map[string]func(dir string) error{
		"content": func(dir string) error { return os.WriteFile(filepath.Join(dir, "a"), []byte("2"), 0) },
		"mode":    func(dir string) error { return os.Chmod(filepath.Join(dir, "a"), 0o600) },
		"owner":   func(dir string) error { return os.Chown(filepath.Join(dir, "d"), 7, 0) },
		"root":    func(dir string) error { return os.Chmod(dir, 0o700) },
		"name":    func(dir string) error { return os.Rename(filepath.Join(dir, "a"), filepath.Join(dir, "b")) },
		"place":   func(dir string) error { return os.Rename(filepath.Join(dir, "d/x"), filepath.Join(dir, "x")) },
		"new":     func(dir string) error { return os.WriteFile(filepath.Join(dir, "e"), nil, 0o644) },
		"link": func(dir string) error {
			return errors.Join(os.Remove(filepath.Join(dir, "l")), os.Symlink("b", filepath.Join(dir, "l")))
		},
		"attribute": func(dir string) error {
			e, err := dirOf(t, dir).Entry("a")
			return errors.Join(err, e.SetXattr("user.x", []byte("y")), e.Close())
		},
	} {
		dir := made()
		if err := change(dir); err != nil {
			t.Fatal(err)
		}
		if digestOf(t, dir).Digest == first.Digest {
			t.Errorf("another %s, the same digest", name)
		}
	}
}

func TestFind(t *testing.T) {
	dir := tree(t, os.Getuid(), "usr/", "usr/bin/", "usr/bin/dash=#!", "usr/bin/sh>dash", "bin>usr/bin", "out>../../../etc", "abs>/usr/bin/sh",
		"etc/", "etc/passwd=mine", "loop>loop", "file=x", "up>..")
	root := dirOf(t, dir)
	for p, want := range map[string]string{
		"/bin/sh": "usr/bin/dash", "bin/../file": "usr/file?", "abs": "usr/bin/dash", "out/passwd": "etc/passwd",
		"up/up/etc": "etc", "/": ".", "loop": "?", "file/x": "?", "nope/x": "?", "": ".",
	} {
		got, err := Find(root, p)
		if bad := strings.HasSuffix(want, "?"); bad && err == nil || !bad && (err != nil || got != want) {
			t.Errorf("%s: %q, %v; want %q", p, got, err, want)
		}
	}
	if text, err := Content(root, "out/passwd", 3); err != nil || string(text) != "min" {
		t.Errorf("%q, %v", text, err)
	}
	for _, none := range []string{"loop", "nope", "usr", "/", "file/x"} {
		if text, err := Content(root, none, 3); err != nil || text != nil {
			t.Errorf("%s: %q, %v", none, text, err)
		}
	}
}
