package stack

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"vserver/guest"
	"vserver/internal/need"
)

func TestMain(m *testing.M) { need.Main(m) }

// TestList writes and reads a guest's layers, and refuses what is none.
func TestList(t *testing.T) {
	dir := t.TempDir()
	if got, err := Read(dir); err != nil || got != nil {
		t.Errorf("none: %v, %v", got, err)
	}
	want := []Layer{{NewID(), 524288}, {NewID(), 0}}
	if err := Write(dir, want); err != nil {
		t.Fatal(err)
	}
	if got, err := Read(dir); err != nil || !slices.Equal(got, want) {
		t.Errorf("%v, %v, want %v", got, err, want)
	}
	for _, bad := range []string{"", "x", "../../../etc 0", want[0].ID, want[0].ID + " -1", want[0].ID + " 4294967296", want[0].ID + "0 1", want[0].ID + " 1 2"} {
		if l, err := ParseLayer(bad); !errors.Is(err, guest.ErrInvalid) {
			t.Errorf("%q: %v, %v", bad, l, err)
		}
		if err := os.WriteFile(filepath.Join(dir, "layers"), []byte(bad+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Read(dir); !errors.Is(err, guest.ErrInvalid) {
			t.Errorf("list of %q: %v", bad, err)
		}
	}
}

// TestSnapshotFiles keeps two, one of them replaced, and one half written.
func TestSnapshotFiles(t *testing.T) {
	dir := t.TempDir()
	now := time.Now().UTC()
	line := Layer{NewID(), 7 << 16}.Text()
	for _, s := range []Snapshot{{Name: "b", Made: now}, {Name: "a", Made: now.Add(time.Hour), Stack: []string{line}}} {
		if err := Add(dir, s); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "snapshots/.new"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	list, err := Snapshots(dir)
	if err != nil || len(list) != 2 || list[0].Name != "b" || list[1].Name != "a" {
		t.Fatalf("%+v, %v", list, err)
	}
	if layers, err := list[1].Layers(); err != nil || len(layers) != 1 || layers[0].Base != 7<<16 {
		t.Errorf("%v, %v", layers, err)
	}
	if _, err := Find(dir, "c"); !errors.Is(err, ErrNoSnapshot) {
		t.Error(err)
	}
	if _, err := Find(dir, "../layers"); !errors.Is(err, guest.ErrInvalid) {
		t.Error(err)
	}
	if err := Drop(dir, "b"); err != nil {
		t.Error(err)
	}
}

// TestSweep leaves what is listed, what is held, and removes the rest with its marks.
func TestSweep(t *testing.T) {
	need.Root(t)
	d := guest.DefaultDirs(t.TempDir())
	kept, shot, lost := Layer{ID: NewID()}, Layer{ID: NewID()}, Layer{ID: NewID()}
	release, err := Hold(d)
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range []Layer{kept, shot, lost} {
		err := errors.Join(Mark(d, l), os.MkdirAll(filepath.Join(l.Dir(d), "upper/x"), 0o700), os.Mkdir(filepath.Join(l.Dir(d), "work"), 0o700))
		if err != nil {
			t.Fatal(err)
		}
	}
	err = errors.Join(os.MkdirAll(d.Guest("web1"), 0o700), os.MkdirAll(d.Guest("web2"), 0o700),
		Write(d.Guest("web1"), []Layer{kept}), Add(d.Guest("web2"), Snapshot{Name: "s", Stack: []string{shot.Text()}}))
	if err != nil {
		t.Fatal(err)
	}
	if err := Settle(d); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(lost.Dir(d)); err != nil {
		t.Errorf("swept while it was held: %v", err)
	}
	if _, err := os.Stat(filepath.Join(d.Layers(), wanted)); err != nil {
		t.Errorf("nothing says that a sweep was kept away: %v", err)
	}
	release()
	if err := Settle(d); err != nil {
		t.Error(err)
	}
	entries, err := os.ReadDir(d.Layers())
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	want := []string{kept.ID, shot.ID}
	slices.Sort(want)
	if err != nil || !slices.Equal(names, want) {
		t.Errorf("%q, %v, want %q", names, err, want)
	}
	if _, err := os.Stat(filepath.Join(kept.Dir(d), "work")); !os.IsNotExist(err) {
		t.Errorf("not stripped: %v", err)
	}
}

// TestSweepTogether has many take their snapshots away at once: no layer stays.
func TestSweepTogether(t *testing.T) {
	need.Root(t)
	d := guest.DefaultDirs(t.TempDir())
	const many = 24
	var guests []string
	for i := range many {
		l, dir := Layer{ID: NewID()}, d.Guest(guest.Name("web"+strconv.Itoa(i)))
		err := errors.Join(os.MkdirAll(filepath.Join(l.Dir(d), "upper/x"), 0o700), os.MkdirAll(dir, 0o700),
			Add(dir, Snapshot{Name: "s", Stack: []string{l.Text()}}))
		if err != nil {
			t.Fatal(err)
		}
		guests = append(guests, dir)
	}
	var wait sync.WaitGroup
	for _, dir := range guests {
		wait.Go(func() {
			if err := errors.Join(Drop(dir, "s"), Sweep(d)); err != nil {
				t.Error(err)
			}
		})
	}
	wait.Wait()
	if left, err := os.ReadDir(d.Layers()); err != nil || len(left) > 0 {
		t.Errorf("%d of %d layers stay: %v, %v", len(left), many, left, err)
	}
}
