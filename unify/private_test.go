package unify

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"vserver/internal/need"
	"vserver/kernel/file"
)

func every(string) bool { return true }

// private gives the tree of a guest whose ids begin at base.
func (w world) private(tree string, base uint32) Private {
	w.Helper()
	d, err := file.OpenDir(filepath.Join(w.dir, tree))
	if err != nil {
		w.Fatal(err)
	}
	w.Cleanup(func() { d.Close() })
	return Private{Dir: d, Base: base, Wanted: every}
}

// own writes a file with a guest's id.
func (w world) own(path, text string, id int) {
	w.Helper()
	p := w.put(path, text)
	if err := errors.Join(os.Lchown(p, id, id), os.Chtimes(p, when, when)); err != nil {
		w.Fatal(err)
	}
}

// A survey tells what is equal across images and guests, and leaves all as it was.
func TestSurvey(t *testing.T) {
	need.Root(t)
	w := newWorld(t)
	s := w.open()
	w.put("image/f", text)
	w.unify(s, "image")
	w.own("a/f", text, 1<<20)
	w.own("a/g", text+"another", 1<<20)
	w.own("a/nobody's", text, 7)
	w.own("b/g", text+"another", 2<<20)
	w.own("b/h", text, (2<<20)+5)
	r, err := s.Survey(t.Context(), w.private("a", 1<<20), nil)
	if err != nil || r.Files != 3 || r.Joined != 1 || r.New != 1 || r.Left != 1 || r.Saved != int64(len(text)) {
		t.Errorf("a: %+v, %v", r, err)
	}
	if r, err = s.Survey(t.Context(), w.private("b", 2<<20), nil); err != nil || r.Joined != 1 || r.New != 1 {
		t.Errorf("b: %+v, %v", r, err)
	}
	if w.stat("a/f").Links != 1 {
		t.Error("linked")
	}
}

// Reflinks give equal files the same blocks; what a guest has and sees stays. What is as it
// was is not read again, and what has no blocks in common with others is collected.
func TestDedupe(t *testing.T) {
	for _, kind := range []string{"xfs", "btrfs"} {
		t.Run(kind, func(t *testing.T) { testDedupe(t, kind) })
	}
}

// reflinking is a world on a file system with reflinks.
func reflinking(t *testing.T, kind string) world {
	t.Helper()
	dir := need.Disk(t, kind, 512<<20, "")
	root, err := file.OpenDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { root.Close() })
	return world{t, dir, root}
}

func testDedupe(t *testing.T, kind string) {
	w := reflinking(t, kind)
	s := w.fresh()
	long := string(bytes.Repeat([]byte(text), 40_000))
	for i, tree := range []string{"a", "b"} {
		w.own(tree+"/f", long, (i+1)<<20)
		w.own(tree+"/own", long+tree, (i+1)<<20)
	}
	a, b := w.private("a", 1<<20), w.private("b", 2<<20)
	if r, _, err := s.Dedupe(t.Context(), a, nil); err != nil || r.New != 2 || r.Joined != 0 {
		t.Fatalf("%+v, %v", r, err)
	}
	before := w.stat("b/f")
	r, seen, err := s.Dedupe(t.Context(), b, nil)
	if err != nil || r.Joined != 1 || r.Saved != int64(len(long)) || len(seen) != 2 {
		t.Fatalf("%+v, %v", r, err)
	}
	if !unchanged(before, w.stat("b/f"), false) {
		t.Errorf("%+v was %+v", w.stat("b/f"), before)
	}
	if !reflinked(b.Dir, "f") {
		t.Error("has blocks of its own")
	}
	b.Seen = seen
	if r, _, err := s.Dedupe(t.Context(), b, nil); err != nil || r.Read != 0 || r.Same != 2 {
		t.Errorf("again: %+v, %v", r, err)
	}
	if err := errors.Join(s.Close(), os.RemoveAll(filepath.Join(w.dir, "a")), os.Remove(filepath.Join(w.dir, "b/own"))); err != nil {
		t.Fatal(err)
	}
	s = w.fresh()
	defer s.Close()
	collected := int64(0)
	for end := time.Now().Add(10 * time.Second); collected < 2 && time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		c, err := s.Collect(t.Context(), false) // XFS gives blocks back in its own time
		if err != nil {
			t.Fatal(err)
		}
		collected += c.Objects
	}
	if v, err := s.Verify(t.Context(), true, nil); err != nil || collected != 2 || v.Objects != 1 {
		t.Errorf("%d collected, %+v, %v", collected, v, err)
	}
}

// A guest that rewrites its files in a loop loses nothing, and no object changes.
func TestDedupeRewritten(t *testing.T) {
	w := reflinking(t, "xfs")
	s := w.open()
	states := []string{string(bytes.Repeat([]byte("A"), 300_000)), string(bytes.Repeat([]byte("B"), 300_000))}
	for i := range 8 {
		w.own(fmt.Sprintf("g/%d", i), states[i%2], 1<<20)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- rewrite(ctx, filepath.Join(w.dir, "g"), states) }()
	for end := time.Now().Add(2 * time.Second); time.Now().Before(end); {
		if _, _, err := s.Dedupe(t.Context(), w.private("g", 1<<20), nil); err != nil {
			t.Error(err)
			break
		}
	}
	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if v, err := s.Verify(t.Context(), true, nil); err != nil || len(v.Found) > 0 {
		t.Errorf("%+v, %v", v, err)
	}
}

// rewrite writes one state over another in place, and reads back what it wrote: no
// one else may have changed it.
func rewrite(ctx context.Context, dir string, states []string) error {
	for ctx.Err() == nil {
		p := filepath.Join(dir, fmt.Sprint(rand.IntN(8)))
		f, err := os.OpenFile(p, os.O_RDWR, 0)
		if err != nil {
			return err
		}
		want := states[rand.IntN(len(states))]
		for at := 0; at < len(want) && err == nil; at += 50_000 {
			_, err = f.WriteAt([]byte(want[at:at+50_000]), int64(at))
		}
		err = errors.Join(err, os.Chtimes(p, when, when), f.Close()) // so that keys come again
		got, rerr := os.ReadFile(p)
		if err = errors.Join(err, rerr); err == nil && string(got) != want {
			err = errors.New("a write was lost")
		}
		if err != nil {
			return err
		}
	}
	return nil
}
