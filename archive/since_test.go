package archive

import (
	"archive/tar"
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"vserver/internal/need"
	"vserver/internal/tree"
	"vserver/kernel/file"
	"vserver/layer"
)

// opened opens directories for a test.
func opened(t *testing.T, paths ...string) (out []*file.Dir) {
	t.Helper()
	for _, p := range paths {
		d, err := file.OpenDir(p)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { d.Close() })
		out = append(out, d)
	}
	return out
}

// copied copies a tree, its ids moved.
func copied(t *testing.T, from, to string, s layer.Shift) {
	t.Helper()
	d := opened(t, from, to)
	c := layer.Copy{Shift: s, Devices: true}
	if err := c.Run(t.Context(), d[0], d[1]); err != nil {
		t.Fatal(err)
	}
}

// changed is what may happen to a tree that tree.Fill filled.
func changed(t *testing.T, at func(string) string) {
	t.Helper()
	err := errors.Join(
		os.WriteFile(at("new"), []byte("new"), 0o600),
		os.MkdirAll(at("newdir/below"), 0o711),
		os.Link(at("all/su"), at("newdir/su")),                     // one more name of what stays
		os.Remove(at("all/pipe")), os.Mkdir(at("all/pipe"), 0o755), // now a directory
		os.RemoveAll(at("all/opaque")), os.Symlink("f", at("all/opaque")), // no directory any more
		os.Remove(at("all/deep/same")), os.WriteFile(at("all/deep/same"), []byte("text"), 0o640), // a file of its own
		os.Rename(at("links/b"), at("links/z")),                         // the same file
		os.Remove(at("links/c")), os.Link(at("links/d"), at("links/c")), // another one
		os.RemoveAll(at("old")),
		os.Chmod(at("moded"), 0o4711), os.Truncate(at("all/sparse"), 65<<20),
		os.Remove(at("dressed/f")), // the directory's attributes go too
		os.WriteFile(at("content"), []byte("twice"), 0o644),
		syscall.Mknod(at("gone"), syscall.S_IFCHR, 0), os.Remove(at("all/gone")),
	)
	if err != nil {
		t.Fatal(err)
	}
	d := opened(t, at("."))[0]
	for _, name := range []string{"dressed", "content"} {
		e, err := d.Entry(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(e.RemoveXattr("user.k"), e.Close()); err != nil {
			t.Error(err)
		}
	}
	if err := d.SetTimes("content", 0, 7); err != nil { // as it was: only what it has differs
		t.Error(err)
	}
}

// TestSince makes one tree of another by what changed.
func TestSince(t *testing.T) {
	need.Root(t)
	const from, was, to = 1 << 20, 2 << 20, 0
	old, now, here := t.TempDir(), t.TempDir(), t.TempDir()
	tree.Fill(t, old, was)
	at := func(name string) string { return filepath.Join(old, name) }
	err := errors.Join(os.MkdirAll(at("old/deep"), 0o755), os.WriteFile(at("old/deep/f"), nil, 0o600), os.WriteFile(at("moded"), nil, 0o711),
		os.Mkdir(at("links"), 0o755), os.WriteFile(at("links/a"), []byte("l"), 0o600), os.WriteFile(at("links/d"), []byte("l"), 0o600),
		os.Link(at("links/a"), at("links/b")), os.Link(at("links/a"), at("links/c")),
		os.Mkdir(at("dressed"), 0o755), os.WriteFile(at("dressed/f"), nil, 0o600), os.WriteFile(at("content"), []byte("once "), 0o644))
	if err != nil {
		t.Fatal(err)
	}
	dirs := opened(t, old, now, here)
	for _, name := range []string{"dressed", "content"} {
		e, err := dirs[0].Entry(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(e.SetXattr("user.k", []byte("v")), e.Close()); err != nil {
			t.Fatal(err)
		}
	}
	if err := dirs[0].SetTimes("content", 0, 7); err != nil {
		t.Fatal(err)
	}
	if err := (layer.Shift{To: was}).Run(t.Context(), dirs[0]); err != nil {
		t.Fatal(err)
	}
	copied(t, old, now, layer.Shift{From: was, To: from})
	copied(t, old, here, layer.Shift{From: was, To: to})

	since := func(entries int) []byte {
		t.Helper()
		var text bytes.Buffer
		p := Packer{Shift: layer.Shift{From: from}, Whole: true}
		if err := p.Since(t.Context(), &text, dirs[1], dirs[0], layer.Shift{From: was}); err != nil {
			t.Fatal(err)
		}
		if p.entries > int64(entries) || p.bytes > 10_000 {
			t.Errorf("%d entries, %d bytes", p.entries, p.bytes)
		}
		return text.Bytes()
	}
	since(1) // nothing but the root
	changed(t, func(name string) string { return filepath.Join(now, name) })
	if err := (layer.Shift{To: from}).Run(t.Context(), dirs[1]); err != nil {
		t.Fatal(err)
	}
	text := since(26)
	u := New(dirs[2])
	u.Whole, u.Devices, u.Over, u.Base = true, true, true, to
	if err := u.Tar(t.Context(), bytes.NewReader(text)); err != nil {
		t.Fatal(err)
	}
	tree.Same(t, "now", tree.Told(t, here, to), tree.Told(t, now, from))
	if u := New(opened(t, t.TempDir())[0]); true {
		u.Whole = true
		if err := u.Tar(t.Context(), bytes.NewReader(text)); !errors.Is(err, ErrHostile) {
			t.Errorf("over nothing: %v", err)
		}
	}
	odd := archiveOf(t, func(m maker) {
		m.file("f", "x")
		m.put(tar.Header{Name: "f", PAXRecords: map[string]string{goneRecord: "1"}})
	})
	if err := u.Tar(t.Context(), bytes.NewReader(odd)); !errors.Is(err, ErrHostile) {
		t.Errorf("comes and goes: %v", err)
	}
}
