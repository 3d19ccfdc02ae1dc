package host

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"vserver/build"
	"vserver/fault"
	"vserver/guest"
	"vserver/internal/need"
	"vserver/stack"
)

// TestSnapshotRefused asks for what there is not, and what cannot be now; nothing is left
// of it.
func TestSnapshotRefused(t *testing.T) {
	w := newWorld(t)
	if _, err := TakeSnapshot(t.Context(), w.Host, "nobody", "s"); !errors.Is(err, guest.ErrNotFound) {
		t.Errorf("of no guest: %v", err)
	}
	if _, err := Snapshots(w.Host, "nobody"); !errors.Is(err, guest.ErrNotFound) {
		t.Errorf("list of no guest: %v", err)
	}
	if err := DeleteSnapshot(w.Host, "nobody", "s"); !errors.Is(err, guest.ErrNotFound) {
		t.Errorf("delete of no guest: %v", err)
	}
	w.guest("web1", nil)
	if _, err := Rollback(t.Context(), w.Host, "web1", ""); !errors.Is(err, ErrNoSnapshot) {
		t.Errorf("back to none: %v", err)
	}
	if err := DeleteSnapshot(w.Host, "web1", "s"); !errors.Is(err, ErrNoSnapshot) {
		t.Errorf("delete of none: %v", err)
	}
	err := w.Clone(t.Context(), "web1", "web2", nil, CloneOptions{Snapshot: "s"})
	if !errors.Is(err, ErrNoSnapshot) {
		t.Errorf("clone of none: %v", err)
	}
	if _, err := TakeSnapshot(t.Context(), w.Host, "web1", "s"); err != nil {
		t.Fatal(err)
	}
	w.start("web1")
	if _, err := Rollback(t.Context(), w.Host, "web1", "s"); !errors.Is(err, guest.ErrRunning) || fault.HintOf(err) == "" {
		t.Errorf("while it runs: %v", err)
	}
	w.stop("web1")
	if names := layersOf(t, w.Host); len(names) != 1 {
		t.Errorf("layers: %q", names)
	}
	if err := w.Delete(t.Context(), "web1", DeleteOptions{}); err != nil {
		t.Error(err)
	}
}

// TestSnapshotHoldsImage refuses to go back to what lay over another image, says how it
// can be done, and to delete an image that a snapshot lies over.
func TestSnapshotHoldsImage(t *testing.T) {
	need.Root(t)
	h := Open(need.Dirs(t))
	for _, name := range []string{"app@1", "app@2"} {
		src := tiny()
		src.Cache, src.Name = false, func(context.Context) (string, error) { return name, nil }
		if _, err := ImportImage(t.Context(), h, name, src, ImportOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	if err := h.Build(t.Context(), "web1", &guest.Spec{}, build.Image("app@1"), BuildOptions{}); err != nil {
		t.Fatal(err)
	}
	put(t, h, "web1", "etc/mine", "over 1")
	if _, err := TakeSnapshot(t.Context(), h, "web1", "old"); err != nil {
		t.Fatal(err)
	}
	if _, err := h.Rebase(t.Context(), "web1", "app@2", RebaseOptions{}); err != nil {
		t.Fatal(err)
	}
	if got := content(t, h, "web1", "etc/mine"); got != "over 1" {
		t.Errorf("rebased: %q", got)
	}
	if err := RemoveImage(h, "app@1"); !errors.Is(err, guest.ErrBusy) {
		t.Errorf("the snapshot's image: %v", err)
	}
	_, err := Rollback(t.Context(), h, "web1", "old")
	if !errors.Is(err, guest.ErrInvalid) || !strings.Contains(fault.HintOf(err), "rebase app@1") {
		t.Errorf("over another image: %v, hint %q", err, fault.HintOf(err))
	}
	if _, err := h.Rebase(t.Context(), "web1", "app@1", RebaseOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := Rollback(t.Context(), h, "web1", "old"); err != nil {
		t.Error(err)
	}
	if err := errors.Join(DeleteSnapshot(h, "web1", "old"), h.Delete(t.Context(), "web1", DeleteOptions{}), RemoveImage(h, "app@1")); err != nil {
		t.Error(err)
	}
}

// TestBrokenList leaves a guest alone whose list of layers is no list, and one whose layer
// is gone: neither starts without it.
func TestBrokenList(t *testing.T) {
	w := newWorld(t)
	for n, text := range map[guest.Name]string{"web1": "../../etc 0\n", "web2": stack.NewID() + " 0\n"} {
		w.guest(n, nil)
		if err := os.WriteFile(filepath.Join(w.Dirs.Guest(n), "layers"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Start(t.Context(), n, StartOptions{}); err == nil {
			t.Errorf("%s: started over %q", n, text)
		}
	}
	if _, err := TakeSnapshot(t.Context(), w.Host, "web1", "s"); !errors.Is(err, guest.ErrInvalid) {
		t.Errorf("a snapshot of it: %v", err)
	}
	if err := os.Remove(filepath.Join(w.Dirs.Guest("web1"), "layers")); err != nil {
		t.Fatal(err)
	}
	w.start("web1")
	w.stop("web1")
	for _, n := range []guest.Name{"web1", "web2"} {
		if err := w.Delete(t.Context(), n, DeleteOptions{}); err != nil {
			t.Errorf("%s: %v", n, err)
		}
	}
}
