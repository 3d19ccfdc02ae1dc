package file

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"vserver/internal/need"
)

// must fails the test at an error.
func must(t *testing.T, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

// TestRoot goes by every way out that a path can have, and stays.
func TestRoot(t *testing.T) {
	out := need.TempDir(t)
	in := filepath.Join(out, "in")
	must(t, os.MkdirAll(filepath.Join(in, "d"), 0o755), os.WriteFile(filepath.Join(out, "secret"), []byte("out"), 0o644),
		os.WriteFile(filepath.Join(in, "secret"), []byte("in"), 0o644), os.Symlink("../../secret", filepath.Join(in, "d/up")),
		os.Symlink("/secret", filepath.Join(in, "d/top")), os.Symlink("/proc/self/root/"+out, filepath.Join(in, "d/magic")), os.Symlink(out, filepath.Join(in, "d/out")))
	r, err := OpenRoot(in)
	must(t, err)
	defer r.Close()
	for _, p := range []string{"/secret", "secret", "../secret", "/d/../../secret", "d/up", "/d/top", "d/../d/up"} {
		e, err := r.Entry(p)
		must(t, err)
		f, err := e.Open()
		must(t, err)
		text := make([]byte, 8)
		n, _ := f.Read(text)
		if string(text[:n]) != "in" {
			t.Errorf("%s: %q", p, text[:n])
		}
		must(t, f.Close(), e.Close())
	}
	for _, p := range []string{"d/magic", "d/out", "d/out/secret"} {
		if _, err := r.Entry(p); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: %v", p, err)
		}
	}
	for p, want := range map[string]string{"d/new": "new", "/d/up": "up", "d/": "d", "/": "", "d/.": "", "..": ""} {
		d, name, err := r.Parent(p)
		if err != nil || name != want {
			t.Errorf("%s: %q %v", p, name, err)
			continue
		}
		d.Close()
	}
}

// TestEntryOpen opens regular files and nothing else.
func TestEntryOpen(t *testing.T) {
	at := need.TempDir(t)
	must(t, syscall.Mkfifo(filepath.Join(at, "fifo"), 0o644), os.Symlink("nowhere", filepath.Join(at, "link")), os.Mkdir(filepath.Join(at, "dir"), 0o755))
	d, err := OpenDir(at)
	must(t, err)
	defer d.Close()
	for _, name := range []string{"fifo", "link", "dir"} {
		e, err := d.Entry(name)
		must(t, err)
		if _, err := e.Open(); !errors.Is(err, unix.EINVAL) {
			t.Errorf("%s: %v", name, err)
		}
		must(t, e.Close())
	}
}

// TestDraft writes files that are there whole or not, on file systems that can have files
// without a name and as on one that cannot.
func TestDraft(t *testing.T) {
	at := need.TempDir(t)
	must(t, os.Mkdir(filepath.Join(at, "dir"), 0o755), os.Symlink("/etc/passwd", filepath.Join(at, "link")))
	d, err := OpenDir(at)
	must(t, err)
	defer d.Close()
	named := func() (*Draft, error) {
		f, err := os.OpenFile(filepath.Join(at, passage+"1"), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
		return &Draft{f, d, passage + "1"}, err
	}
	for _, begin := range []func() (*Draft, error){func() (*Draft, error) { return Begin(d, func(string) error { return nil }) }, named} {
		for _, name := range []string{"new", "new", "link", "dir", ""} {
			f, err := begin()
			must(t, err)
			_, err = f.Write([]byte("text"))
			must(t, err)
			switch name {
			case "":
				err = f.Discard()
			case "dir":
				if err := f.Place(name); err == nil {
					t.Error("a directory was replaced")
				}
			default:
				if err = f.Place(name); err == nil {
					err = f.Discard() // does nothing
				}
				if text, rerr := os.ReadFile(filepath.Join(at, name)); rerr != nil || !bytes.Equal(text, []byte("text")) {
					t.Errorf("%s: %q %v", name, text, rerr)
				}
			}
			must(t, err)
		}
		names, err := d.Names()
		slices.Sort(names)
		if err != nil || !slices.Equal(names, []string{"dir", "link", "new"}) {
			t.Errorf("left: %q %v", names, err)
		}
	}
	if err := Put(d, "dir", func(temp string) error { return d.Symlink("x", temp) }); err == nil {
		t.Error("a link in the place of a directory")
	}
	must(t, Put(d, "link", func(temp string) error { return d.Symlink("x", temp) }))
	if to, err := d.Readlink("link"); err != nil || to != "x" {
		t.Errorf("%q %v", to, err)
	}
	if names, err := d.Names(); err != nil || len(names) != 3 || slices.ContainsFunc(names, Passing) {
		t.Errorf("left: %q %v", names, err)
	}
}

func TestMay(t *testing.T) {
	const base, ids = 1 << 16, 1 << 16
	for _, c := range []struct {
		uid, gid, mode, bits uint32
		want                 bool
	}{
		{base, base, 0, 7, true}, {base + 5, base + ids - 1, 0, 2, true}, {base - 1, base, 0o600, 4, false},
		{base, base + ids, 0o770, 4, false}, {0, 0, 0o644, 4, true}, {0, 0, 0o644, 2, false}, {0, 0, 0o757, 7, true},
	} {
		if got := (Stat{UID: c.uid, GID: c.gid, Mode: c.mode}).May(base, ids, c.bits); got != c.want {
			t.Errorf("%+v: %v", c, got)
		}
	}
}

// TestCopyDataTold counts what is copied, not holes, and ends when it is told to.
func TestCopyDataTold(t *testing.T) {
	at := need.TempDir(t)
	src, err := os.Create(filepath.Join(at, "src"))
	must(t, err)
	defer src.Close()
	const end = 64 << 20
	_, err = src.WriteAt(bytes.Repeat([]byte("x"), part+1), end-part-1)
	must(t, err)
	for _, stop := range []bool{false, true} {
		dst, err := os.Create(filepath.Join(at, "dst"))
		must(t, err)
		var told int64
		err = CopyDataTold(dst, src, func(n int64) error {
			told += n
			if stop {
				return os.ErrDeadlineExceeded
			}
			return nil
		})
		if stop && !errors.Is(err, os.ErrDeadlineExceeded) || !stop && err != nil {
			t.Error(err)
		}
		if st, err := dst.Stat(); !stop && (err != nil || st.Size() != end || told < part+1) {
			t.Errorf("%v, %d told", err, told)
		}
		must(t, dst.Close())
	}
}
