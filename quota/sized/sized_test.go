package sized

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"vserver/guest"
	"vserver/internal/need"
)

func TestMain(m *testing.M) { need.Main(m) }

func made(t *testing.T, space guest.Bytes, inodes guest.Count) string {
	t.Helper()
	need.Loop(t)
	need.Filesystem(t, kind)
	need.Command(t, "mkfs."+kind)
	dir := need.TempDir(t)
	if err := Make(t.Context(), dir, space, inodes, nil); err != nil {
		t.Fatal(err)
	}
	return dir
}

// However many come at once, all see one file system by one device.
func TestOneDevice(t *testing.T) {
	dir := made(t, 64<<20, 0)
	var all sync.WaitGroup
	names := make([]string, 16)
	disks := make([]*Disk, len(names))
	for i := range names {
		all.Go(func() {
			d, err := Open(dir)
			if err != nil {
				t.Error(err)
				return
			}
			disks[i], names[i] = d, d.dev.Name()
		})
	}
	all.Wait()
	for i, d := range disks {
		if d == nil {
			continue
		}
		if names[i] != names[0] {
			t.Errorf("%s and %s show one image", names[i], names[0])
		}
		if i == 0 {
			if err := os.WriteFile(filepath.Join(d.Path(), "x"), []byte("y"), 0o600); err != nil {
				t.Error(err)
			}
		}
		if text, err := os.ReadFile(filepath.Join(d.Path(), "x")); err != nil || string(text) != "y" {
			t.Errorf("%d: %q %v", i, text, err)
		}
	}
	for _, d := range disks {
		if d != nil {
			d.Close()
		}
	}
}

// A fill that fails leaves nothing, and what one that was killed left is swept.
func TestMake(t *testing.T) {
	need.Loop(t)
	need.Command(t, "mkfs."+kind)
	dir := need.TempDir(t)
	boom := errors.New("boom")
	if err := Make(t.Context(), dir, 64<<20, 0, func(string) error { return boom }); !errors.Is(err, boom) {
		t.Errorf("fill: %v", err)
	}
	if err := Make(t.Context(), dir, Least-1, 0, nil); !errors.Is(err, guest.ErrInvalid) {
		t.Errorf("too small: %v", err)
	}
	if names, err := os.ReadDir(dir); err != nil || len(names) > 0 {
		t.Errorf("left: %v %v", names, err)
	}
	for _, name := range []string{making(dir), filepath.Join(dir, "upper")} {
		if err := os.WriteFile(name, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := Sweep(dir); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(making(dir)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("half an image is left: %v", err)
	}
	if _, err := os.Stat(filepath.Join(dir, "upper")); err != nil {
		t.Errorf("files swept, though there is no image: %v", err)
	}
	if _, err := Open(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no image: %v", err)
	}
}

// Trees become others whole, or stay; who was killed over it is finished by Sweep.
func TestRenew(t *testing.T) {
	dir := made(t, 64<<20, 0)
	at := func(do func(root string) error) {
		t.Helper()
		d, err := Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(do(d.Path()), d.Close()); err != nil {
			t.Fatal(err)
		}
	}
	fill := func(text string) func(string) error {
		return func(root string) error {
			var errs []error
			for _, tree := range trees {
				errs = append(errs, os.MkdirAll(filepath.Join(root, tree), 0o755), os.WriteFile(filepath.Join(root, tree, "x"), []byte(text), 0o644))
			}
			return errors.Join(errs...)
		}
	}
	has := func(want string) {
		t.Helper()
		if text, err := os.ReadFile(filepath.Join(dir, "layers")); string(text) != want {
			t.Errorf("layers: %q, not %q: %v", text, want, err)
		}
		at(func(root string) error {
			for _, tree := range trees {
				if text, err := os.ReadFile(filepath.Join(root, tree, "x")); string(text) != want {
					t.Errorf("%s: %q, not %q: %v", tree, text, want, err)
				}
			}
			if names, err := os.ReadDir(root); len(names) != len(trees)+1 { // and lost+found
				t.Errorf("left: %v %v", names, err)
			}
			return nil
		})
		if _, err := os.Stat(renewal(dir)); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("the mark: %v", err)
		}
	}
	at(fill("first"))
	if err := os.WriteFile(filepath.Join(dir, "layers"), []byte("first"), 0o600); err != nil {
		t.Fatal(err)
	}
	boom := errors.New("boom")
	err := Renew(dir, []byte("half"), func(at string) error { return errors.Join(fill("half")(at), boom) })
	if !errors.Is(err, boom) || Sweep(dir) != nil {
		t.Errorf("a fill that fails: %v", err)
	}
	has("first")
	if err := Renew(dir, []byte("second"), fill("second")); err != nil {
		t.Error(err)
	}
	has("second")
	killed := func(text string, left func(root string) error) {
		t.Helper()
		at(left)
		if err := errors.Join(note(dir, []byte(text)), Sweep(dir)); err != nil {
			t.Error(err)
		}
	}
	killed("half", func(root string) error { return nil })
	has("second")
	killed("half", func(root string) error { return fill("half")(filepath.Join(root, fresh)) })
	has("second")
	killed("third", func(root string) error { return fill("third")(filepath.Join(root, coming)) })
	has("third")
	killed("fourth", func(root string) error {
		err := fill("fourth")(filepath.Join(root, coming))
		return errors.Join(err, os.RemoveAll(filepath.Join(root, "upper")), os.Rename(filepath.Join(root, coming, "upper"), filepath.Join(root, "upper")))
	})
	has("fourth")
}
