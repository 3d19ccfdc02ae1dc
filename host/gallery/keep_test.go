package gallery

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"vserver/guest"
	"vserver/host/files"
	"vserver/internal/need"
	"vserver/kernel/file"
	"vserver/layer"
	"vserver/stack"
	"vserver/store"
)

// seen lists what a guest sees: paths, modes, owners, contents.
func seen(t *testing.T, d guest.Dirs, n guest.Name) (out []string) {
	t.Helper()
	spec, err := load(d, n)
	if err != nil {
		t.Fatal(err)
	}
	trees, err := files.Trees(d, spec, d.Guest(n))
	if err != nil {
		t.Fatal(err)
	}
	root, err := layer.Stack(trees)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	empty, err := layer.Stack([]layer.Tree{{Dir: t.TempDir()}})
	if err != nil {
		t.Fatal(err)
	}
	defer empty.Close()
	all, err := layer.Diff(t.Context(), empty, root, "", func(string) bool { return false })
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range all {
		p, st := strings.TrimPrefix(c.Path, "/"), c.After
		line := fmt.Sprintf("%s %o %d", p, st.Mode, st.UID)
		switch st.Type() {
		case file.TypeFile:
			text, err := root.Read(p, 100)
			line += fmt.Sprint(" ", string(text), err)
		case file.TypeLink:
			to, err := root.Readlink(p)
			line += fmt.Sprint(" ", to, err)
		}
		out = append(out, line)
	}
	return out
}

// A guest that is laid over another image with what it saw kept sees the same, before the
// spec is written as well as after; only what differs is kept.
func TestKeep(t *testing.T) {
	need.Root(t)
	d := dirs(t)
	imported(t, d, "i@1", "same=1", "other=1", "gone=1", "dir/", "dir/same=1", "dir/gone=1", "all/", "all/in/", "all/in/it=1",
		"was-dir/", "was-dir/f=1", "was-file=1", "link>a", "own=1")
	imported(t, d, "i@2", "same=1", "other=2", "new=2", "dir/", "dir/same=1", "dir/new=2", "fresh/", "fresh/f=2",
		"was-dir=2", "was-file/", "was-file/f=2", "link>b", "own=2")
	spec := upon(t, d, "web1", "i@2", "own=mine", "new!")
	before := seen(t, d, "web1")
	if len(before) < 10 {
		t.Fatalf("it sees %q", before)
	}
	r, err := Rebase(t.Context(), d, "web1", "i@1", RebaseOptions{Keep: true, Dry: true})
	if layers, _ := stack.Read(d.Guest("web1")); err != nil || r.Kept == 0 || len(layers) != 0 {
		t.Fatalf("dry: %+v, %v, %v", r, layers, err)
	}
	full := spec.WithDefaults("web1")
	if _, err := keep(t.Context(), d, "web1", &full, "i@2", "i@1", false); err != nil {
		t.Fatal(err)
	}
	if now := seen(t, d, "web1"); !slices.Equal(now, before) {
		t.Errorf("killed half way it sees\n%s\nand not\n%s", strings.Join(now, "\n"), strings.Join(before, "\n"))
	}
	if r, err = Rebase(t.Context(), d, "web1", "i@1", RebaseOptions{Keep: true}); err != nil {
		t.Fatal(err)
	}
	if now := seen(t, d, "web1"); !slices.Equal(now, before) {
		t.Errorf("it sees\n%s\nand not\n%s", strings.Join(now, "\n"), strings.Join(before, "\n"))
	}
	after, err := store.Load(d.Spec("web1"))
	if err != nil || !slices.Equal(after.Root.Lower, []string{"i@1"}) {
		t.Errorf("%+v, %v", after, err)
	}
	layers, err := stack.Read(d.Guest("web1"))
	if err != nil || len(layers) != 2 {
		t.Fatalf("%v, %v", layers, err)
	}
	if there, err := file.Exists(filepath.Join(layers[1].Dir(d), "upper/same")); there || err != nil {
		t.Errorf("what is the same was copied: %v", err)
	}
	if after.Root.Lower = append(after.Root.Lower, "i@2"); err != nil {
		t.Fatal(err)
	}
	if _, err := keep(t.Context(), d, "web1", after, "i@1", "i@2", false); err == nil {
		t.Error("kept over two images")
	}
}
