package host

import (
	"os"
	"path/filepath"
	"testing"

	"vserver/guest"
	"vserver/internal/need"
)

// TestTreeOfTwo: a tree that two guests have goes with the second of them, and takes
// nothing along that a link in it leads to.
func TestTreeOfTwo(t *testing.T) {
	w := newWorld(t)
	tree := filepath.Join(need.TempDir(t), "old")
	kept := filepath.Join(need.TempDir(t), "kept")
	for _, dir := range []string{tree + "/etc", kept} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(kept, tree+"/link"); err != nil {
		t.Fatal(err)
	}
	at := func(path string) func(*guest.Spec) {
		return func(s *guest.Spec) { s.Root = guest.Root{Kind: guest.RootDir, Path: path} }
	}
	one, two := w.guest("one", at(tree)), w.guest("two", at(tree))
	for _, c := range []struct {
		name guest.Name
		left bool
	}{{one, true}, {two, false}} {
		if err := w.Delete(t.Context(), c.name, DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Lstat(tree); (err == nil) != c.left {
			t.Errorf("%s deleted, the tree: %v", c.name, err)
		}
	}
	if _, err := os.Lstat(kept); err != nil {
		t.Error(err)
	}
}
