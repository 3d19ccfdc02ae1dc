package archive

import (
	"bytes"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"vserver/internal/need"
	"vserver/kernel/file"
	"vserver/layer"
)

// TestPack packs a tree and unpacks it again: the two have one digest.
func TestPack(t *testing.T) {
	need.Root(t)
	const base = 1 << 20
	dir := t.TempDir()
	do := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	at := func(name string) string { return filepath.Join(dir, name) }
	do(os.Chmod(dir, 0o755))
	do(os.MkdirAll(at(strings.Repeat("long-name/", 20)), 0o755))
	do(os.WriteFile(at("f"), []byte("text"), 0o644))
	do(os.Chmod(at("f"), 0o4750))
	do(os.Link(at("f"), at("same")))
	do(os.Symlink("/etc/../f", at("l")))
	do(syscall.Mkfifo(at("fifo"), 0o600))
	do(os.WriteFile(at("böse\nname"), nil, 0o600))
	do(os.Chown(at("long-name"), 1000, 70))
	root, err := file.OpenDir(dir)
	do(err)
	defer root.Close()
	e, err := root.Entry("f")
	do(err)
	do(e.SetXattr("user.k", []byte("v\x00w")))
	do(e.Close())
	do(root.SetTimes("f", 1_000_000_001, 1_234_567_890_123_456_789))

	for _, from := range []uint32{0, base} {
		do(layer.Shift{To: from}.Run(t.Context(), root))
		var text bytes.Buffer
		told := 0
		p := Packer{Shift: layer.Shift{From: from}, Tell: func(int64, int64) { told++ }}
		do(p.Run(t.Context(), &text, root))
		out, err := file.OpenDir(t.TempDir())
		do(err)
		defer out.Close()
		do(New(out).Tar(t.Context(), bytes.NewReader(text.Bytes())))
		do(layer.Shift{To: from}.Run(t.Context(), out))
		a, err := layer.Digest(t.Context(), root, nil)
		do(err)
		b, err := layer.Digest(t.Context(), out, nil)
		do(err)
		if a != b || told == 0 {
			t.Errorf("from %d: %+v came back as %+v; told %d times", from, a, b, told)
		}
		f, err := out.Stat("f")
		do(err)
		if same, err := out.Stat("same"); err != nil || same.Ino != f.Ino || f.Mtime != 1_234_567_890_123_456_789 {
			t.Errorf("%+v %+v, %v", f, same, err)
		}
		c := exec.Command(need.Command(t, "tar"), "-t")
		c.Stdin = &text
		list, err := c.Output()
		if err != nil || !strings.Contains(string(list), "./same\n") {
			t.Errorf("tar: %s, %v", list, err)
		}
	}
}

// TestPackFull ends with the error of who takes the archive.
func TestPackFull(t *testing.T) {
	root, err := file.OpenDir(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	r, w := io.Pipe()
	r.CloseWithError(syscall.ENOSPC)
	if err := (&Packer{}).Run(t.Context(), w, root); err == nil {
		t.Error("no error")
	}
}
