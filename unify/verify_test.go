package unify

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"vserver/guest"
	"vserver/internal/need"
	"vserver/kernel/file"
)

func (w world) roots(held bool, names ...string) (out []Root) {
	for _, name := range names {
		d, err := file.OpenDir(filepath.Join(w.dir, name))
		if err != nil {
			w.Fatal(err)
		}
		w.Cleanup(func() { d.Close() })
		out = append(out, Root{name, d, held})
	}
	return out
}

// rot changes a byte of a file behind everybody's back: its times stay.
func (w world) rot(path string) {
	w.Helper()
	p := filepath.Join(w.dir, path)
	f, err := os.OpenFile(p, os.O_WRONLY, 0)
	if err != nil {
		w.Fatal(err)
	}
	_, err = f.WriteAt([]byte("X"), 3)
	if err := errors.Join(err, f.Close(), os.Chtimes(p, when, when)); err != nil {
		w.Fatal(err)
	}
}

func TestRepair(t *testing.T) {
	need.Root(t)
	for _, damage := range []string{"rot", "mode", "owner", "time"} {
		t.Run(damage, func(t *testing.T) {
			w := newWorld(t)
			for _, tree := range []string{"a", "b", "spare"} {
				w.put(tree+"/d/f", text)
			}
			s := w.open()
			w.unify(s, "a")
			w.unify(s, "b")
			p := filepath.Join(w.dir, "a/d/f")
			var err error
			switch damage {
			case "rot":
				w.rot("a/d/f")
			case "mode":
				err = os.Chmod(p, 0o666)
			case "owner":
				err = os.Chown(p, 7, 7)
			case "time":
				err = os.Chtimes(p, when, when.Add(time.Second))
			}
			if err != nil {
				t.Fatal(err)
			}
			v, err := s.Verify(t.Context(), false, nil)
			if err != nil || len(v.Found) != 1 || v.Found[0].Links != 2 {
				t.Fatalf("%+v, %v", v, err)
			}
			f, roots := v.Found[0], w.roots(true, "a", "b", "spare")
			places, err := Places(t.Context(), roots, v.Found)
			if err != nil || len(places[0]) != 2 || places[0][0] != (Place{"a", "d/f"}) {
				t.Fatalf("%+v, %v", places, err)
			}
			if err := s.Repair(t.Context(), f, places[0], w.roots(false, "a", "b", "spare")); !errors.Is(err, ErrHeld) {
				t.Errorf("trees in use: %v", err)
			}
			if err := s.Repair(t.Context(), f, places[0], roots[:2]); !errors.Is(err, ErrNoCopy) {
				t.Errorf("no copy: %v", err)
			}
			dir := w.stat("b/d")
			other := w.fresh()
			if err := errors.Join(other.share(), s.Repair(t.Context(), f, places[0], roots)); !errors.Is(err, guest.ErrBusy) {
				t.Errorf("store in use: %v", err)
			}
			other.Close()
			if err := s.Repair(t.Context(), f, places[0], roots); err != nil {
				t.Fatal(err)
			}
			if now := w.stat("b/d"); now.Mtime != dir.Mtime {
				t.Errorf("times of the directory: %d, were %d", now.Mtime, dir.Mtime)
			}
			got, err := os.ReadFile(filepath.Join(w.dir, "b/d/f"))
			if err != nil || string(got) != text || !w.one("a/d/f", "b/d/f") || w.one("a/d/f", "spare/d/f") {
				t.Errorf("%q, %v", got, err)
			}
			if v, err := s.Verify(t.Context(), false, nil); err != nil || len(v.Found) > 0 {
				t.Errorf("%+v, %v", v, err)
			}
		})
	}
}

// A damaged object of which the size or time is another gets no further links.
func TestDriftIsNotJoined(t *testing.T) {
	need.Root(t)
	w := newWorld(t)
	w.put("a/f", text)
	w.put("b/f", text)
	s := w.open()
	w.unify(s, "a")
	w.put("a/f", "written to in place, by somebody who is root")
	w.unify(s, "b")
	if got, err := os.ReadFile(filepath.Join(w.dir, "b/f")); err != nil || string(got) != text {
		t.Errorf("%q, %v", got, err)
	}
}

func TestResumed(t *testing.T) {
	need.Root(t)
	w := newWorld(t)
	for _, c := range "abcdefghijklmnop" {
		w.put("a/"+string(c), text+string(c))
	}
	s := w.open()
	w.unify(s, "a")
	ctx, stop := context.WithCancel(t.Context())
	v, err := s.Verify(ctx, false, func(v Verified) {
		if v.Objects == 8 {
			stop()
		}
	})
	if !errors.Is(err, context.Canceled) || err.Error() != context.Canceled.Error() || v.Objects >= 16 {
		t.Fatalf("%+v, %v", v, err)
	}
	begun := v.Percent
	if begun < 8*100/16-20 || begun >= 100 { // two may be on one shelf
		t.Errorf("8 of 16: %d %%", begun)
	}
	last := 0
	rest, err := s.Verify(t.Context(), false, func(v Verified) {
		if v.Percent < begun || v.Percent < last {
			t.Errorf("%d %% after %d and %d", v.Percent, begun, last)
		}
		last = v.Percent
	})
	if err != nil || rest.Resumed == "" || rest.Objects >= 16 || rest.Objects+v.Objects < 16 {
		t.Errorf("%+v after %+v, %v", rest, v, err)
	}
	if v, err := s.Verify(t.Context(), false, nil); err != nil || v.Objects != 16 {
		t.Errorf("after the end: %+v, %v", v, err)
	}
}

func TestCollect(t *testing.T) {
	need.Root(t)
	w := newWorld(t)
	w.put("a/f", text)
	w.put("a/g", text+"g")
	w.put("b/f", text)
	s := w.fresh()
	w.unify(s, "a")
	w.unify(s, "b")
	s.Close()
	if err := os.RemoveAll(filepath.Join(w.dir, "a")); err != nil {
		t.Fatal(err)
	}
	// What a killed one left on its way is no user.
	g, err := filepath.Glob(filepath.Join(w.dir, "pool/objects/??/*"))
	if err != nil || len(g) != 2 {
		t.Fatal(g, err)
	}
	for i, p := range g {
		if err := os.Link(p, filepath.Join(w.dir, "pool/objects/.new", string(rune('a'+i)))); err != nil {
			t.Fatal(err)
		}
	}
	for _, dry := range []bool{true, false} {
		s := w.fresh()
		c, err := s.Collect(t.Context(), dry)
		s.Close()
		if err != nil || c.Objects != 1 || c.Bytes != int64(len(text))+1 {
			t.Errorf("dry %v: %+v, %v", dry, c, err)
		}
	}
	if st := w.stat("b/f"); st.Links != 2 {
		t.Errorf("%d links", st.Links)
	}
}

func FuzzKeyOf(f *testing.F) {
	f.Add("aa", "00")
	f.Add("ab", "cdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789-1")
	f.Fuzz(func(t *testing.T, shelf, name string) {
		k, ok := keyOf(shelf, name)
		if ok && (len(k) != 64 || string(k[:2]) != shelf || name[:62] != string(k[2:])) {
			t.Errorf("%q/%q: %q", shelf, name, k)
		}
	})
}

// A file that equals an object that has rotted does not become one with it, and is what that
// is repaired from.
func TestRotten(t *testing.T) {
	need.Root(t)
	w := newWorld(t)
	w.put("a/f", text)
	first := w.fresh()
	w.unify(first, "a")
	w.rot("a/f")
	w.put("b/f", text)
	w.put("c/f", text)
	s := w.open()
	if r := w.unify(s, "b"); r.New != 1 || r.Joined != 0 || r.Rotten != 1 {
		t.Errorf("%+v", r)
	}
	if r := w.unify(s, "c"); r.Joined != 1 || r.Rotten != 0 {
		t.Errorf("%+v", r)
	}
	for _, tree := range []string{"b", "c"} {
		if got, err := os.ReadFile(filepath.Join(w.dir, tree, "f")); err != nil || string(got) != text {
			t.Errorf("%s: %q, %v", tree, got, err)
		}
	}
	v, err := s.Verify(t.Context(), false, nil)
	if err != nil || len(v.Found) != 1 {
		t.Fatalf("%+v, %v", v, err)
	}
	roots := w.roots(true, "a")
	places, err := Places(t.Context(), roots, v.Found)
	if err == nil {
		err = first.Close() // nobody else adds to it while it is repaired
	}
	if err == nil {
		err = s.Repair(t.Context(), v.Found[0], places[0], roots)
	}
	if got, rerr := os.ReadFile(filepath.Join(w.dir, "a/f")); err != nil || rerr != nil || string(got) != text {
		t.Errorf("%q, %v, %v", got, rerr, err)
	}
}
