package unify

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"vserver/guest"
	"vserver/internal/need"
	"vserver/kernel/file"
)

// A file that is replaced by its owner while it is unified is never another afterwards
// than its owner made it: the trees may not be written to, but nothing that was whole
// is taken for another.
func TestReplacedMeanwhile(t *testing.T) {
	need.Root(t)
	w := newWorld(t)
	s := w.open()
	d, err := file.OpenDir(filepath.Dir(w.put("a/f", text)))
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	k, st, err := sum(t.Context(), d, "f", nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	all := func(file.Stat) bool { return true }
	w.put("a/new", text+"of another")
	if err := os.Rename(filepath.Join(w.dir, "a/new"), filepath.Join(w.dir, "a/f")); err != nil {
		t.Fatal(err)
	}
	for _, there := range []bool{false, true} { // adopted, swapped
		if there {
			w.put("b/f", text)
			w.unify(s, "b")
		}
		if _, err := s.put(t.Context(), d, "f", k, st, all); !errors.Is(err, errChanged) {
			t.Errorf("object there %v: %v", there, err)
		}
		if got, err := os.ReadFile(filepath.Join(w.dir, "a/f")); err != nil || string(got) != text+"of another" {
			t.Errorf("%q, %v", got, err)
		}
	}
	if v, err := s.Verify(t.Context(), true, nil); err != nil || len(v.Found) > 0 || v.Objects != 1 {
		t.Errorf("%+v, %v", v, err)
	}
}

// One object is made of a file that many want to make it of, and of each tree's own.
func TestPutAtOnce(t *testing.T) {
	need.Root(t)
	w := newWorld(t)
	var all sync.WaitGroup
	const trees = 8
	for i := range trees {
		w.put(fmt.Sprintf("t%d/f", i), text)
	}
	for i := range trees {
		s := w.open()
		all.Go(func() {
			if _, err := s.Tree(t.Context(), w.root, fmt.Sprintf("t%d", i), false, nil); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if st := w.stat("t0/f"); st.Links != trees+1 {
		t.Errorf("%d links", st.Links)
	}
}

// What a killed process of our number left on its way is no obstacle, and an object in
// the middle of its key's that was collected is made anew.
func TestLeftovers(t *testing.T) {
	need.Root(t)
	w := newWorld(t)
	s := w.open()
	for _, tree := range []string{"a", "b"} {
		w.put(tree+"/f", text)
		w.put(tree+"/g", text)
	}
	w.unify(s, "a")
	d, err := file.OpenDir(filepath.Join(w.dir, "b"))
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	k, st, err := sum(t.Context(), d, "f", nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	on := fmt.Sprintf("%d-%d-%d-%s-%x", os.Getpid(), st.Dev, st.Ino, k[2:10], nameSum(d.Path(), "f"))
	w.put("pool/objects/.new/"+on, "of somebody who was killed")
	claimed := false
	joined, err := s.put(t.Context(), d, "f", k, st, func(file.Stat) bool { claimed = true; return true })
	if err != nil || !joined || !claimed {
		t.Errorf("%v, %v", joined, err)
	}
	if err := os.Remove(filepath.Join(w.dir, "pool/objects", string(k[:2]), generation(k, 0))); err != nil {
		t.Fatal(err)
	}
	w.put("c/f", text)
	if r := w.unify(s, "c"); r.New != 1 {
		t.Errorf("%+v", r)
	}
}

// What only one overlay can have is left alone, and so is a tree that is too deep.
func TestLeftAlone(t *testing.T) {
	need.Root(t)
	w := newWorld(t)
	s := w.open()
	if err := syscall.Setxattr(w.put("a/f", text), "trusted.overlay.origin", []byte("x"), 0); err != nil {
		t.Fatal(err)
	}
	if r := w.unify(s, "a"); r.Left != 1 || r.New != 0 || w.stat("a/f").Links != 1 {
		t.Errorf("%+v", r)
	}
	if err := os.Truncate(w.put("sparse/f", text), 8<<40); err != nil {
		t.Fatal(err)
	}
	if r := w.unify(s, "sparse"); r.Left != 1 || r.New != 0 || r.Read != 0 { // it would take hours
		t.Errorf("%+v", r)
	}
	w.put("deep/"+strings.Repeat("d/", deepest+1)+"f", text)
	if _, err := s.Tree(t.Context(), w.root, "deep", false, nil); err == nil || !strings.Contains(err.Error(), "directories deep") {
		t.Errorf("deep: %v", err)
	}
	if err := Search(t.Context(), w.roots(false, "deep")[0].Dir, func(_ *file.Dir, at string, _ file.Stat) { t.Error("found", at) }); err != nil {
		t.Error(err)
	}
	if _, err := s.Tree(t.Context(), w.root, "none", false, nil); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("none: %v", err)
	}
	other := w.fresh()
	if err := other.share(); err != nil {
		t.Fatal(err)
	}
	if _, err := w.open().Collect(t.Context(), true); !errors.Is(err, guest.ErrBusy) {
		t.Errorf("collect beside another: %v", err)
	}
	other.Close()
}
