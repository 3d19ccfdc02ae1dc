package host

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"vserver/guest"
	"vserver/host/files"
	"vserver/internal/need"
	"vserver/stack"
	"vserver/store"
)

// deepen makes what a guest, which is stopped, has of its own a layer, as a host would do
// that lets more of them be than this one.
func deepen(t *testing.T, h *Host, n guest.Name) {
	t.Helper()
	spec, err := store.Load(h.Dirs.Spec(n))
	if err != nil {
		t.Fatal(err)
	}
	full := spec.WithDefaults(n)
	dir, l := h.Dirs.Guest(n), stack.Layer{ID: stack.NewID(), Base: full.FirstID()}
	layers, err := stack.Read(dir)
	for _, own := range files.Own(full.Root) {
		to := filepath.Join(l.Dir(h.Dirs), own)
		err = errors.Join(err, os.MkdirAll(filepath.Dir(to), 0o700), os.Rename(filepath.Join(dir, own), to), os.RemoveAll(filepath.Join(dir, filepath.Dir(own), "work")))
	}
	if err := errors.Join(err, files.MakeOwn(dir, full.FirstID(), full.Root.Shared, nil), stack.Write(dir, append([]stack.Layer{l}, layers...))); err != nil {
		t.Fatal(err)
	}
}

// TestDeepImport takes in a guest that lies on more layers than guests get here, then what
// has changed of it: it is what it was, and the next snapshot makes it as deep as others.
func TestDeepImport(t *testing.T) {
	need.Swift(t)
	need.Root(t)
	need.Overlay(t)
	disk := need.Disk(t, "ext4", 128<<20, "")
	a, b := filepath.Join(disk, "a"), filepath.Join(disk, "b")
	from, to := Open(guest.DefaultDirs(a)), Open(guest.DefaultDirs(b))
	mustBuild(t, from, "web1", guest.Spec{})
	const deep = 3 * stack.Deepest
	for i := range deep {
		change(t, from, "web1", i)
		deepen(t, from, "web1")
	}
	bring := func(want int, args ...string) {
		t.Helper()
		text, err := vserver(t, a, nil, append([]string{"web1", "export"}, args...)...)
		if err == nil {
			_, err = vserver(t, b, text, "import", "web1", "-", "--replace")
		}
		layers, rerr := stack.Read(to.Dirs.Guest("web1"))
		if err := errors.Join(err, rerr); err != nil || len(layers) != want {
			t.Fatalf("%d layers, not %d: %v", len(layers), want, err)
		}
		if was, is := shows(t, from, "web1"), shows(t, to, "web1"); was != is {
			t.Fatalf("%q: is\n%s\ninstead of\n%s", args, is, was)
		}
	}
	// A record of what it is, which no snapshot here would make without merging layers.
	record := func(name string) {
		t.Helper()
		layers, err := stack.Read(from.Dirs.Guest("web1"))
		spec, serr := store.Load(from.Dirs.Spec("web1"))
		s := stack.Snapshot{Name: name, ID: layers[0].ID, Kind: guest.RootOverlay, Lower: spec.Root.Lower, Shared: spec.Root.Shared}
		for _, l := range layers {
			s.Stack = append(s.Stack, l.Text())
		}
		if err := errors.Join(err, serr, stack.Add(from.Dirs.Guest("web1"), s)); err != nil {
			t.Fatal(err)
		}
	}
	record("deep")
	bring(deep, "--snapshot", "deep")
	change(t, from, "web1", 100)
	bring(deep+1, "--since", "deep")
	if _, err := TakeSnapshot(t.Context(), to, "web1", "mine"); err != nil {
		t.Fatal(err)
	}
	if layers, err := stack.Read(to.Dirs.Guest("web1")); err != nil || len(layers) > stack.Deepest {
		t.Errorf("%d layers after a snapshot, %v", len(layers), err)
	}
	if was, is := shows(t, from, "web1"), shows(t, to, "web1"); was != is {
		t.Errorf("after a snapshot\n%s\ninstead of\n%s", is, was)
	}
}
