package unify

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"vserver/internal/need"
)

// several gives trees a file of three names.
func (w world) several(trees ...string) {
	w.Helper()
	for _, tree := range trees {
		first := w.put(tree+"/d/one", text)
		if err := errors.Join(os.MkdirAll(filepath.Join(w.dir, tree, "e"), 0o755), os.Link(first, filepath.Join(w.dir, tree, "d/two")),
			os.Link(first, filepath.Join(w.dir, tree, "e/three"))); err != nil {
			w.Fatal(err)
		}
	}
}

// A file of several names becomes one with others by all of them, and stays one in its tree.
func TestSeveral(t *testing.T) {
	need.Root(t)
	w := newWorld(t)
	w.several("a", "b", "c")
	w.put("a/equal", text)
	w.put("b/equal", text)
	if err := os.Link(filepath.Join(w.dir, "c/d/one"), filepath.Join(w.dir, "outside")); err != nil {
		t.Fatal(err)
	}
	before, dir := w.digest("b"), w.stat("b/e")
	s := w.open()
	w.unify(s, "a")
	if r := w.unify(s, "b"); r.Joined != 2 || r.Linked != 0 {
		t.Errorf("%+v", r)
	}
	if w.digest("b") != before || w.stat("b/e").Mtime != dir.Mtime {
		t.Error("the tree is another")
	}
	for _, name := range []string{"d/two", "e/three"} {
		if !w.one("b/d/one", "b/"+name) || !w.one("a/"+name, "b/"+name) || w.one("b/"+name, "b/equal") {
			t.Errorf("%s is not what it was with the others", name)
		}
	}
	if r := w.unify(s, "c"); r.Linked != 3 || w.one("a/d/one", "c/d/one") || !w.one("c/d/one", "outside") {
		t.Errorf("with a name outside: %+v", r)
	}
	if r := w.unify(s, "b"); r.Read != 0 || r.Same != 4 {
		t.Errorf("again: %+v", r)
	}
	if left, err := os.ReadDir(filepath.Join(w.dir, "pool/objects/.new")); err != nil || len(left) > 0 {
		t.Errorf("left on the way: %v, %v", left, err)
	}
}

// What was killed between two names of a file is gone on with.
func TestSeveralHalf(t *testing.T) {
	need.Root(t)
	for names := 1; names < 3; names++ {
		w := newWorld(t)
		w.several("a", "b")
		before := w.digest("b")
		w.unify(w.open(), "a")
		st := w.stat("b/d/one")
		object := filepath.Join(w.dir, "a/d/one")
		if err := os.Link(object, filepath.Join(w.dir, "pool/objects/.new", noteOf(inodeOf(st)))); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"b/d/one", "b/e/three"}[:names] {
			at, on := filepath.Join(w.dir, name), filepath.Join(w.dir, "on")
			if err := errors.Join(os.Link(object, on), os.Rename(on, at)); err != nil {
				t.Fatal(err)
			}
		}
		s := w.open()
		w.unify(s, "b")
		if w.digest("b") != before || !w.one("a/d/one", "b/d/two") || !w.one("a/d/one", "b/e/three") {
			t.Errorf("%d names: the tree is another", names)
		}
	}
}

// The count of links ends for files of several names as for others.
func TestSeveralKept(t *testing.T) {
	need.Root(t)
	w := newWorld(t)
	s := w.open()
	s.max = 7
	for i := range 3 {
		w.several(fmt.Sprint("t", i))
		w.unify(s, fmt.Sprint("t", i))
	}
	if !w.one("t0/d/one", "t1/e/three") || w.one("t1/d/one", "t2/d/one") || !w.one("t2/d/one", "t2/d/two") {
		t.Error("links are not as bounded")
	}
}
