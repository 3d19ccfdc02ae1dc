package archive

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"vserver/internal/need"
	"vserver/kernel/file"
	"vserver/layer"
)

// whole unpacks an archive as the tree of a guest, with ids from base.
func whole(t *testing.T, text []byte, base uint32, devices bool) (ground, Report, error) {
	t.Helper()
	g := newGround(t)
	root, err := file.OpenDir(g.out)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	u := New(root)
	u.Limits, u.Whole, u.Base, u.Devices = limits(), true, base, devices
	u.Limits.Bytes = 1 << 40
	err = u.Tar(t.Context(), bytes.NewReader(text))
	g.check(t)
	return g, u.Report(), err
}

// TestWhole packs what only one guest's own tree has, and unpacks it for other ids.
func TestWhole(t *testing.T) {
	need.Root(t)
	const from, to = 1 << 20, 3 << 20
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	do := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	do(syscall.Mknod(at("gone"), syscall.S_IFCHR, 0))
	do(os.Link(at("gone"), at("gone2")))
	do(syscall.Mknod(at("null"), syscall.S_IFCHR|0o666, 1<<8|3))
	do(os.Link(at("null"), at("null2")))
	do(syscall.Mknod(at("sock"), syscall.S_IFSOCK|0o711, 0))
	do(os.Mkdir(at("d"), 0o750))
	f, err := os.Create(at("sparse"))
	do(err)
	const size = 300 << 30
	_, err = f.WriteAt([]byte("end"), size-3)
	do(err)
	_, err = f.WriteAt([]byte("begin"), 0)
	do(err)
	do(f.Close())
	do(os.WriteFile(at("hole"), nil, 0o600))
	do(os.Truncate(at("hole"), 12345))
	root, err := file.OpenDir(dir)
	do(err)
	defer root.Close()
	e, err := root.Entry("d")
	do(err)
	do(e.SetXattr("trusted.overlay.opaque", []byte("y")))
	do(e.SetXattr("trusted.overlay.origin", []byte("this very inode")))
	do(e.SetXattr("user.overlay.opaque", []byte("y")))
	do(e.Close())
	do(layer.Shift{To: from}.Run(t.Context(), root))
	do(root.SetTimes("d", 0, -5))
	var text bytes.Buffer
	do((&Packer{Shift: layer.Shift{From: from}, Whole: true}).Run(t.Context(), &text, root))
	if text.Len() > 1<<20 {
		t.Errorf("%d bytes", text.Len())
	}

	for _, devices := range []bool{false, true} {
		g, report, err := whole(t, text.Bytes(), to, devices)
		do(err)
		for name, mode := range map[string]uint32{"gone": syscall.S_IFCHR, "sock": syscall.S_IFSOCK | 0o711, "d": syscall.S_IFDIR | 0o750, "sparse": syscall.S_IFREG | 0o644} {
			if st := g.stat(t, name); st.Mode != mode || st.Uid != to || st.Gid != to {
				t.Errorf("%s: %o of %d:%d", name, st.Mode, st.Uid, st.Gid)
			}
		}
		if a, b := g.stat(t, "gone"), g.stat(t, "gone2"); a.Ino != b.Ino || a.Rdev != 0 {
			t.Errorf("whiteouts: %+v, %+v", a, b)
		}
		if st := g.stat(t, "sparse"); st.Size != size || st.Blocks > 64 {
			t.Errorf("sparse: %d bytes in %d blocks", st.Size, st.Blocks)
		}
		if st := g.stat(t, "hole"); st.Size != 12345 || st.Blocks > 0 {
			t.Errorf("hole: %d bytes in %d blocks", st.Size, st.Blocks)
		}
		if st := g.stat(t, "d"); st.Mtim.Nano() != -5 {
			t.Errorf("d: %v", st.Mtim)
		}
		if devices {
			if a, b := g.stat(t, "null"), g.stat(t, "null2"); a.Rdev != 1<<8|3 || a.Ino != b.Ino || report.Devices != 0 {
				t.Errorf("device %x, %+v", a.Rdev, report)
			}
		} else if g.missing(t, "null", "null2"); report.Devices != 2 {
			t.Errorf("%+v", report)
		}
		out, err := file.OpenDir(g.out)
		do(err)
		e, err := out.Entry("d")
		do(err)
		xs, err := e.Xattrs()
		if err != nil || len(xs) != 2 || report.Xattrs != 0 {
			t.Errorf("attributes: %q, %v, %+v", xs, err, report)
		}
		do(e.Close())
		do(out.Close())
	}
}

// TestParts refuses parts of files that no Packer writes.
func TestParts(t *testing.T) {
	need.Root(t)
	for _, parts := range []string{
		"", "x", "-1", "10 0", "10 0 11", "10 11 0", "10 -1 4", "10 0 3", "10 0 2 1 2", "10 5 2 0 2", "4 0 4 4",
		"9223372036854775807 9223372036854775807 4", "10 0 2 2 2 4 9223372036854775807",
		"100000 " + strings.Repeat("0 0 ", 40000) + "0 4",
	} {
		text := archiveOf(t, func(m maker) {
			m.put(tar.Header{Name: "f", PAXRecords: map[string]string{partsRecord: parts}}, "text")
		})
		if _, _, err := whole(t, text, 0, false); parts != "" && err == nil {
			t.Errorf("%.60q: taken", parts)
		}
	}
	good := archiveOf(t, func(m maker) {
		m.put(tar.Header{Name: "f", PAXRecords: map[string]string{partsRecord: "10 0 1 5 3"}}, "text")
	})
	if g, _, err := whole(t, good, 0, false); err != nil || g.content(t, "f") != "t\x00\x00\x00\x00ext\x00\x00" {
		t.Errorf("%q, %v", g.content(t, "f"), err)
	}
	// Others know nothing of them.
	if g, _ := unpacked(t, func(m maker) {
		m.put(tar.Header{Name: "f", PAXRecords: map[string]string{partsRecord: "10 0 1 5 3", socketRecord: "1"}}, "text")
	}); g.content(t, "f") != "text" {
		t.Error(g.content(t, "f"))
	}
}

// TestWholeHostile is TestHostile for the tree of a guest.
// A guest's file of more parts than are told apart is packed with its smallest holes, and
// one that would be zeros for days is refused.
func TestManyParts(t *testing.T) {
	need.Root(t)
	dir := t.TempDir()
	f, err := os.Create(filepath.Join(dir, "f"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	write := func(apart int64) {
		for i := range int64(maxParts + 100) {
			if _, err := f.WriteAt([]byte("x"), i*apart); err != nil {
				t.Fatal(err)
			}
		}
	}
	root, err := file.OpenDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	pack := func() (n int64, err error) {
		c := &counting{}
		err = (&Packer{Whole: true}).Run(t.Context(), c, root)
		return c.n, err
	}
	write(8 << 10)
	const far = 8 << 40 // a hole that takes hours to write
	if _, err := f.WriteAt([]byte("x"), far); err != nil {
		t.Fatal(err)
	}
	if n, err := pack(); err != nil || n > 1<<30 {
		t.Errorf("%d bytes, %v", n, err)
	}
	write(64 << 20)
	if _, err := pack(); !errors.Is(err, errors.ErrUnsupported) {
		t.Error(err)
	}
}

// counting counts what is written.
type counting struct{ n int64 }

func (c *counting) Write(p []byte) (int, error) {
	c.n += int64(len(p))
	return len(p), nil
}

func TestWholeHostile(t *testing.T) {
	need.Root(t)
	for name, make := range hostileArchives() {
		t.Run(name, func(t *testing.T) {
			g := newGround(t)
			root, err := file.OpenDir(g.out)
			if err != nil {
				t.Fatal(err)
			}
			defer root.Close()
			u := New(root)
			u.Limits, u.Whole, u.Devices = limits(), true, true
			if err := u.Tar(t.Context(), bytes.NewReader(archiveOf(t, make))); err == nil {
				t.Error("was taken")
			}
			g.check(t)
		})
	}
}

// A directory that only the paths of others name is the archive's root's, and nobody else's.
func TestImplied(t *testing.T) {
	need.Root(t)
	const base = 1 << 20
	g, _, err := whole(t, archiveOf(t, func(m maker) { m.file("a/b/file", "text") }), base, false)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range []string{"a", "a/b", "a/b/file"} {
		st, err := os.Lstat(filepath.Join(g.out, p))
		if err != nil {
			t.Fatal(err)
		}
		if is := st.Sys().(*syscall.Stat_t); is.Uid != base || is.Gid != base {
			t.Errorf("%s: of %d:%d, want %d", p, is.Uid, is.Gid, base)
		}
	}
}

// TestWholeRatio weighs what takes disk, and no holes.
func TestWholeRatio(t *testing.T) {
	need.Root(t)
	for what, take := range map[string]bool{"x": false, "\x00": true} {
		g := newGround(t)
		root, err := file.OpenDir(g.out)
		if err != nil {
			t.Fatal(err)
		}
		u := New(root)
		u.Limits.Free, u.Limits.Ratio, u.Whole = 1<<20, 100, true
		u.Packed = func() int64 { return 1000 }
		bomb := archiveOf(t, func(m maker) { m.file("f", strings.Repeat(what, 4<<20)) })
		if err := u.Tar(t.Context(), bytes.NewReader(bomb)); (err == nil) != take {
			t.Errorf("%q: %v", what, err)
		}
		root.Close()
	}
	text := archiveOf(t, func(m maker) {
		m.put(tar.Header{Name: "f", PAXRecords: map[string]string{partsRecord: fmt.Sprint(int64(1)<<50, " 0 4")}}, "text")
	})
	if _, _, err := whole(t, text, 0, false); err == nil {
		t.Error("a file of a petabyte was taken")
	}
}
