package archive

import (
	"archive/tar"
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"vserver/internal/need"
	"vserver/kernel/file"
)

// unpacked unpacks archives as layers over each other, or the only one as plain tar.
func unpacked(t *testing.T, archives ...func(maker)) (ground, Report) {
	t.Helper()
	g := newGround(t)
	root, err := file.OpenDir(g.out)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	u := New(root)
	for _, make := range archives {
		if err := u.unpack(t.Context(), bytes.NewReader(archiveOf(t, make)), len(archives) > 1); err != nil {
			t.Fatal(err)
		}
	}
	g.check(t)
	return g, u.Report()
}

func (g ground) content(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(g.out, name))
	if err != nil {
		t.Error(err)
	}
	return string(b)
}

func (g ground) stat(t *testing.T, name string) *syscall.Stat_t {
	t.Helper()
	st, err := os.Lstat(filepath.Join(g.out, name))
	if err != nil {
		t.Fatal(err)
	}
	return st.Sys().(*syscall.Stat_t)
}

func (g ground) missing(t *testing.T, names ...string) {
	t.Helper()
	for _, n := range names {
		if _, err := os.Lstat(filepath.Join(g.out, n)); err == nil {
			t.Errorf("%s is there", n)
		}
	}
}

func TestHonest(t *testing.T) {
	need.Root(t)
	when := time.Date(2020, 1, 2, 3, 4, 5, 600, time.UTC)
	g, report := unpacked(t, func(m maker) {
		m.put(tar.Header{Name: "./", Typeflag: tar.TypeDir, Mode: 0o700, Uid: 5})
		m.put(tar.Header{Name: "./d/", Typeflag: tar.TypeDir, Mode: 0o1777, ModTime: when, Format: tar.FormatPAX})
		m.put(tar.Header{Name: "./d/su", Mode: 0o4755, Uid: 12, Gid: 34, ModTime: when, Format: tar.FormatPAX}, "text")
		m.hard("again", "./d/su")
		m.link("absolute", "/etc/passwd")
		m.put(tar.Header{Name: "pipe", Typeflag: tar.TypeFifo, Mode: 0o622})
		m.file("implied/way/f", "x")
		m.put(tar.Header{Name: "dev/null", Typeflag: tar.TypeChar, Devmajor: 1, Devminor: 3})
		m.put(tar.Header{Name: "dev/sda", Typeflag: tar.TypeBlock, Devmajor: 8})
		m.put(tar.Header{Name: "far", Uid: 70000, Gid: 4})
		m.file("odd\n\\\xff name", "x")
		m.put(tar.Header{Name: "old", ModTime: time.Date(1901, 1, 1, 0, 0, 0, 0, time.UTC), Format: tar.FormatPAX})
		m.file("zeros", strings.Repeat("\x00", 300<<10))
		m.file("tail", strings.Repeat("\x00", 128<<10)+"end")
	})
	if st := g.stat(t, "."); st.Mode&0o7777 != 0o700 || st.Uid != 5 {
		t.Errorf("root: %o of %d", st.Mode, st.Uid)
	}
	if st := g.stat(t, "d"); st.Mode&0o7777 != 0o1777 || st.Mtim.Sec != when.Unix() {
		t.Errorf("d: %o, %v", st.Mode, st.Mtim)
	}
	su := g.stat(t, "d/su")
	if su.Mode&0o7777 != 0o4755 || su.Uid != 12 || su.Gid != 34 || su.Nlink != 2 || su.Mtim.Nano() != when.UnixNano() {
		t.Errorf("su: %+v", su)
	}
	if g.stat(t, "again").Ino != su.Ino {
		t.Error("again: another file")
	}
	if g.stat(t, "pipe").Mode != syscall.S_IFIFO|0o622 {
		t.Errorf("pipe: %o", g.stat(t, "pipe").Mode)
	}
	if to, err := os.Readlink(filepath.Join(g.out, "absolute")); err != nil || to != "/etc/passwd" {
		t.Errorf("absolute: %q, %v", to, err)
	}
	g.missing(t, "dev/null", "dev/sda")
	if st := g.stat(t, "far"); st.Uid != nobody || st.Gid != 4 {
		t.Errorf("far: %d:%d", st.Uid, st.Gid)
	}
	if st := g.stat(t, "zeros"); st.Size != 300<<10 || st.Blocks > 8 {
		t.Errorf("zeros: %d bytes in %d blocks", st.Size, st.Blocks)
	}
	if got := g.content(t, "tail"); len(got) != 128<<10+3 || !strings.HasSuffix(got, "\x00end") {
		t.Errorf("tail: %d bytes", len(got))
	}
	if report.Devices != 2 || report.IDs != 1 || !strings.Contains(report.String(), "2 device nodes left out") {
		t.Errorf("report: %v", report)
	}
}

func TestTwice(t *testing.T) {
	need.Root(t)
	g, _ := unpacked(t, func(m maker) {
		m.file("f", "first")
		m.hard("h", "f")
		m.file("h", "second") // must not be written through the link
		m.file("kept", "kept")
		m.link("l", "kept")
		m.file("l", "third")
		m.dir("d")
		m.file("d/x", "x")
		m.dir("d")
		m.hard("d/x", "d/x") // to itself
	})
	for name, want := range map[string]string{"f": "first", "h": "second", "kept": "kept", "l": "third", "d/x": "x"} {
		if got := g.content(t, name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}

func TestXattrs(t *testing.T) {
	need.Root(t)
	capability := binary.LittleEndian.AppendUint32(nil, 0x02000001)
	capability = append(capability, make([]byte, 16)...)
	g, report := unpacked(t, func(m maker) {
		m.put(tar.Header{Name: "f", PAXRecords: map[string]string{
			"SCHILY.xattr.user.mine": "yes", "SCHILY.xattr.security.capability": string(capability),
			"SCHILY.xattr.trusted.overlay.opaque": "y", "SCHILY.xattr.security.selinux": "x", "SCHILY.xattr.security.ima": "x",
		}})
		m.put(tar.Header{Name: "d", Typeflag: tar.TypeDir, Mode: 0o755, PAXRecords: map[string]string{"SCHILY.xattr.trusted.overlay.opaque": "y"}})
	})
	if report.Xattrs != 4 {
		t.Errorf("report: %v", report)
	}
	d, err := file.OpenDir(g.out)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	for name, want := range map[string]int{"f": 2, "d": 0} {
		e, err := d.Entry(name)
		if err != nil {
			t.Fatal(err)
		}
		xs, err := e.Xattrs()
		if err != nil || len(xs) != want {
			t.Errorf("%s: %v, %v", name, xs, err)
		}
		e.Close()
	}
}

func TestLayers(t *testing.T) {
	need.Root(t)
	g, _ := unpacked(t,
		func(m maker) {
			m.dir("usr/bin")
			m.link("bin", "usr/bin")
			m.link("abs", "/usr/bin")
			m.file("usr/bin/old", "old")
			m.file("gone/x", "")
			m.file("emptied/x", "")
			m.file("emptied/sub/y", "")
			m.file("was-dir/x", "")
			m.file("was-file", "")
		},
		func(m maker) {
			m.file("bin/new", "new") // through the first layer's link
			m.file("abs/newer", "newer")
			m.file(".wh.gone", "")
			m.file("emptied/sub/mine", "mine")
			m.file("emptied/.wh..wh..opq", "")
			m.file("was-dir", "now a file")
			m.dir("was-file")
			m.file(".wh.was-file", "") // its own
			m.file("usr/bin/.wh.nothing", "")
		})
	for name, want := range map[string]string{
		"usr/bin/old": "old", "usr/bin/new": "new", "usr/bin/newer": "newer",
		"emptied/sub/mine": "mine", "was-dir": "now a file",
	} {
		if got := g.content(t, name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	g.missing(t, "gone", "emptied/x", "emptied/sub/y", ".wh.gone", "emptied/.wh..wh..opq")
	if g.stat(t, "was-file").Mode&syscall.S_IFMT != syscall.S_IFDIR {
		t.Error("was-file is no directory")
	}
}

// TestLayerEscapes has a second layer go through links of the first: they end at the
// root of the image, as in a guest.
func TestLayerEscapes(t *testing.T) {
	need.Root(t)
	g, _ := unpacked(t,
		func(m maker) { m.link("up", "../../.."); m.link("abs", "/") },
		func(m maker) {
			m.file("up/canary", "inside")
			m.file("abs/canary2", "inside")
			m.file("up/.wh.nothing", "")
		})
	for _, name := range []string{"canary", "canary2"} {
		if got := g.content(t, name); got != "inside" {
			t.Errorf("%s: %q", name, got)
		}
	}
	for name, second := range map[string]func(maker){
		"whiteout of nothing": func(m maker) { m.file(".wh.", "") },
		"whiteout of itself":  func(m maker) { m.file(".wh..", "") },
		"whiteout of above":   func(m maker) { m.file(".wh...", "") },
		"loop":                func(m maker) { m.file("loop/x", "") },
		"hard link out":       func(m maker) { m.hard("h", "nowhere/etc/passwd") },
	} {
		g := newGround(t)
		root, err := file.OpenDir(g.out)
		if err != nil {
			t.Fatal(err)
		}
		u := New(root)
		first := archiveOf(t, func(m maker) { m.link("loop", "loop2"); m.link("loop2", "loop"); m.link("nowhere", "/..") })
		if err := u.Layer(t.Context(), bytes.NewReader(first)); err != nil {
			t.Fatal(err)
		}
		if err := u.Layer(t.Context(), bytes.NewReader(archiveOf(t, second))); err == nil {
			t.Errorf("%s: was taken", name)
		}
		g.check(t)
		root.Close()
	}
}

func BenchmarkTar(b *testing.B) {
	need.Root(b)
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	for _, d := range strings.Fields("a b c d e f g h") {
		for _, f := range strings.Fields("1 2 3 4 5 6 7 8 9 10 11 12") {
			w.WriteHeader(&tar.Header{Name: d + "/" + f, Mode: 0o644, Size: 4096, Typeflag: tar.TypeReg})
			w.Write(make([]byte, 4096))
		}
	}
	w.Close()
	for b.Loop() {
		dir := b.TempDir()
		root, err := file.OpenDir(dir)
		if err != nil {
			b.Fatal(err)
		}
		if err := New(root).Tar(b.Context(), bytes.NewReader(buf.Bytes())); err != nil {
			b.Fatal(err)
		}
		root.Close()
	}
}
