package carry

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"vserver/guest"
	"vserver/internal/need"
)

func TestMain(m *testing.M) { need.Main(m) }

func dirs(t *testing.T) guest.Dirs {
	t.Helper()
	d := guest.DefaultDirs(t.TempDir())
	if err := os.MkdirAll(d.Config, 0o755); err != nil {
		t.Fatal(err)
	}
	return d
}

// TestVolumes makes, counts and deletes a volume whose files are hostile.
func TestVolumes(t *testing.T) {
	d := dirs(t)
	if all, err := Volumes(t.Context(), d, true); err != nil || len(all) > 0 {
		t.Errorf("none yet: %v, %v", all, err)
	}
	if err := CreateVolume(d, "data"); err != nil {
		t.Fatal(err)
	}
	if err := CreateVolume(d, "data"); !errors.Is(err, guest.ErrExists) {
		t.Errorf("twice: %v", err)
	}
	outside := filepath.Join(d.Data, "outside")
	at := filepath.Join(d.Volumes(), "data")
	err := errors.Join(
		os.MkdirAll(filepath.Join(outside, "sub"), 0o755),
		os.WriteFile(filepath.Join(outside, "kept"), make([]byte, 5000), 0o644),
		os.Mkdir(filepath.Join(at, "d"), 0o755),
		os.WriteFile(filepath.Join(at, "d/a"), make([]byte, 100), 0o644),
		os.Link(filepath.Join(at, "d/a"), filepath.Join(at, "again")),
		os.Symlink(outside, filepath.Join(at, "out")),
		os.Symlink(outside, filepath.Join(d.Volumes(), "linked")),
		os.Mkdir(filepath.Join(d.Volumes(), dying+"old"), 0o755), // a killed deletion
	)
	if err != nil {
		t.Fatal(err)
	}
	all, err := Volumes(t.Context(), d, true)
	if err != nil || len(all) != 2 || all[0].Name != "data" || all[0].Bytes != 100 || all[0].Files != 3 || all[1].Bytes != 0 {
		t.Errorf("%+v, %v", all, err)
	}
	for _, name := range []string{"data", "linked"} {
		if err := DeleteVolume(d, name); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := os.Stat(filepath.Join(outside, "kept")); err != nil {
		t.Error(err)
	}
	if left, err := os.ReadDir(d.Volumes()); err != nil || len(left) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}
	for _, name := range []string{"", ".", "..", "a/b", "../guests", dying + "x", "nope"} {
		want := guest.ErrInvalid
		if name == "nope" {
			want = guest.ErrNotFound
		}
		if err := DeleteVolume(d, name); !errors.Is(err, want) {
			t.Errorf("delete %q: %v", name, err)
		}
		if _, err := ShowVolume(t.Context(), d, name); !errors.Is(err, want) {
			t.Errorf("show %q: %v", name, err)
		}
	}
}

// TestVolumeInUse: what a spec names stays, and what any spec might name that nobody can
// read.
func TestVolumeInUse(t *testing.T) {
	d := dirs(t)
	if err := CreateVolume(d, "data"); err != nil {
		t.Fatal(err)
	}
	spec := "xid: 1000\nmounts:\n  - data /srv volume\n"
	if err := os.WriteFile(d.Spec("web1"), []byte(spec), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := DeleteVolume(d, "data"); !errors.Is(err, guest.ErrBusy) {
		t.Errorf("named: %v", err)
	}
	if v, err := ShowVolume(t.Context(), d, "data"); err != nil || len(v.Guests) != 1 || v.Guests[0] != "web1" {
		t.Errorf("%+v, %v", v, err)
	}
	if err := os.WriteFile(d.Spec("web1"), []byte("xid: [\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := DeleteVolume(d, "data"); err == nil {
		t.Error("deleted under a spec that cannot be read")
	}
	if _, err := os.Stat(filepath.Join(d.Volumes(), "data")); err != nil {
		t.Error(err)
	}
}
