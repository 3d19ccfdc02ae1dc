package unification

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"vserver/guest"
	"vserver/host/state"
	"vserver/internal/need"
	"vserver/kernel/mount"
	"vserver/pool"
	"vserver/stack"
	"vserver/unify"
)

func TestMain(m *testing.M) { need.Main(m) }

// made gives a world with images of one equal file each.
func made(t *testing.T, names ...string) (guest.Dirs, *pool.Pool) {
	t.Helper()
	d := guest.DefaultDirs(t.TempDir())
	if err := os.MkdirAll(d.Config, 0o755); err != nil {
		t.Fatal(err)
	}
	p := pool.Open(d.Pool())
	for _, name := range names {
		err := p.Add(t.Context(), name, pool.Meta{}, func(_ context.Context, dir string) error {
			f, when := filepath.Join(dir, "f"), time.Unix(1700000000, 0)
			return errors.Join(os.WriteFile(f, []byte("content of all images"), 0o644), os.Chtimes(f, when, when))
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return d, p
}

// An image in use is neither unified nor repaired, and one being unified is not taken
// into use.
func TestInUse(t *testing.T) {
	need.Root(t)
	d, p := made(t, "a", "b", "c")
	release, err := p.Use("b")
	if err != nil {
		t.Fatal(err)
	}
	all, err := Images(t.Context(), d, nil, Options{})
	if err != nil || len(all) != 3 || all[0].Busy || !all[1].Busy || all[2].Report.Joined != 1 {
		t.Errorf("%+v, %v", all, err)
	}
	if dry, err := Images(t.Context(), d, []string{"b", "b"}, Options{DryRun: true}); err != nil || len(dry) != 1 || dry[0].Report.Joined != 1 {
		t.Errorf("dry: %+v, %v", dry, err)
	}
	release()
	if release, err = p.Hold("a"); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Use("a"); err == nil {
		t.Error("taken into use meanwhile")
	}
	release()
	if release, err = p.Use("c"); err != nil {
		t.Fatal(err)
	}
	tree, err := p.Tree("a")
	if err == nil {
		err = os.Chmod(filepath.Join(tree, "f"), 0o666)
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, bad, err := Verify(t.Context(), d, VerifyOptions{}); err != nil || len(bad) != 1 || !errors.Is(bad[0].Err, unify.ErrHeld) || len(bad[0].Places) != 2 {
		t.Errorf("in use: %+v, %v", bad, err)
	}
	release()
	// b was not unified: it has the copy.
	if _, bad, err := Verify(t.Context(), d, VerifyOptions{}); err != nil || len(bad) != 1 || !bad[0].Repaired {
		t.Errorf("%+v, %v", bad, err)
	}
	if st, err := os.Stat(filepath.Join(tree, "f")); err != nil || st.Mode().Perm() != 0o644 {
		t.Errorf("%v, %v", st, err)
	}
	if _, bad, err := Verify(t.Context(), d, VerifyOptions{}); err != nil || len(bad) != 0 {
		t.Errorf("again: %+v, %v", bad, err)
	}
}

// overlaid makes the overlay of a guest over a layer, until end is called.
func overlaid(t *testing.T, own, lower string) (end func()) {
	t.Helper()
	below, err := mount.Clone(lower)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(below)
	up, err := os.Open(filepath.Join(own, "upper"))
	if err != nil {
		t.Fatal(err)
	}
	defer up.Close()
	work, err := os.Open(filepath.Join(own, "work"))
	if err != nil {
		t.Fatal(err)
	}
	defer work.Close()
	fd, err := mount.Overlay([]int{below}, up, work)
	if err != nil {
		t.Fatal(err)
	}
	return func() { unix.Close(fd) }
}

// An object damaged beneath a guest is repaired there too, unless somebody works on the guest
// or has its overlay.
func TestBeneathGuests(t *testing.T) {
	need.Root(t)
	need.Overlay(t)
	d, p := made(t, "a", "spare")
	at, err := p.Tree("a")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Images(t.Context(), d, []string{"a"}, Options{}); err != nil {
		t.Fatal(err)
	}
	own := d.Guest("web")
	for _, dir := range []string{"upper", "work", "root"} {
		if err := os.MkdirAll(filepath.Join(own, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	l, err := stack.Lay(d, "web", []string{"upper"})
	if err != nil {
		t.Fatal(err)
	}
	name := "layers/" + l.ID + "/upper"
	linked := filepath.Join(l.Dir(d), "upper", "f")
	if err := errors.Join(os.Link(filepath.Join(at, "f"), linked), os.Chmod(linked, 0o666)); err != nil {
		t.Fatal(err)
	}
	verify := func(o VerifyOptions) Damaged {
		t.Helper()
		_, bad, err := Verify(t.Context(), d, o)
		if err != nil || len(bad) != 1 {
			t.Fatalf("%+v, %v", bad, err)
		}
		return bad[0]
	}
	bad := verify(VerifyOptions{DryRun: true})
	if bad.Repaired || !slices.Equal(bad.Guests, []guest.Name{"web"}) || !slices.Contains(bad.Places, unify.Place{Tree: name, Path: "f"}) {
		t.Errorf("dry: %+v", bad)
	}
	unlock, err := state.Lock(d, "web")
	if err != nil {
		t.Fatal(err)
	}
	if bad := verify(VerifyOptions{}); !errors.Is(bad.Err, unify.ErrHeld) {
		t.Errorf("locked: %+v", bad)
	}
	unlock()
	end := overlaid(t, own, filepath.Dir(linked))
	if bad := verify(VerifyOptions{}); !errors.Is(bad.Err, unify.ErrHeld) {
		t.Errorf("overlay held: %+v", bad)
	}
	end()
	if st, err := os.Stat(linked); err != nil || st.Mode().Perm() != 0o666 {
		t.Errorf("touched: %v, %v", st, err)
	}
	if bad := verify(VerifyOptions{}); !bad.Repaired {
		t.Errorf("%+v", bad)
	}
	if st, err := os.Stat(linked); err != nil || st.Mode().Perm() != 0o644 {
		t.Errorf("%v, %v", st, err)
	}
}

// An image that a guest has beneath its overlay, or whose guest somebody works on, is neither
// unified nor repaired; and while it is, none of its guests can be started.
func TestImageBeneathGuest(t *testing.T) {
	need.Root(t)
	need.Overlay(t)
	d, p := made(t, "a", "spare")
	at, err := p.Tree("a")
	if err != nil {
		t.Fatal(err)
	}
	own := d.Guest("web")
	for _, dir := range []string{"upper", "work", "root"} {
		if err := os.MkdirAll(filepath.Join(own, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(d.Spec("web"), []byte("xid: 8\nroot: {kind: overlay, lower: [a]}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	united := func(want bool) {
		t.Helper()
		all, err := Images(t.Context(), d, []string{"a"}, Options{})
		if err != nil || len(all) != 1 || all[0].Busy != want {
			t.Errorf("%+v, %v; want busy: %v", all, err, want)
		}
	}
	unlock, err := state.Lock(d, "web")
	if err != nil {
		t.Fatal(err)
	}
	united(true)
	unlock()
	united(false)
	if err := os.Chmod(filepath.Join(at, "f"), 0o666); err != nil {
		t.Fatal(err)
	}
	end := overlaid(t, own, at)
	if _, bad, err := Verify(t.Context(), d, VerifyOptions{}); err != nil || len(bad) != 1 || !errors.Is(bad[0].Err, unify.ErrHeld) {
		t.Errorf("beneath an overlay: %+v, %v", bad, err)
	}
	end()
	if _, bad, err := Verify(t.Context(), d, VerifyOptions{}); err != nil || len(bad) != 1 || !bad[0].Repaired {
		t.Errorf("%+v, %v", bad, err)
	}
}
