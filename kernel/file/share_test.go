package file

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"vserver/internal/need"
)

func dirAt(t *testing.T, path string) *Dir {
	t.Helper()
	d, err := OpenDir(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

// A list has all there is, however long it is.
func TestItems(t *testing.T) {
	dir := t.TempDir()
	want := map[string]uint32{"dir": TypeDir, "link": TypeLink}
	err := errors.Join(os.Mkdir(filepath.Join(dir, "dir"), 0o755), os.Symlink("x", filepath.Join(dir, "link")))
	for i := range 3000 {
		name := fmt.Sprintf("a file whose name is somewhat long %d", i)
		want[name] = TypeFile
		err = errors.Join(err, os.WriteFile(filepath.Join(dir, name), nil, 0o644))
	}
	if err != nil {
		t.Fatal(err)
	}
	d := dirAt(t, dir)
	list, err := Items(d)
	if err != nil || len(list) != len(want) {
		t.Fatalf("%d entries, %v", len(list), err)
	}
	for _, it := range list {
		st, err := d.Stat(it.Name)
		if err != nil || st.Ino != it.Ino || it.Type != 0 && it.Type != st.Type() || st.Type() != want[it.Name] {
			t.Fatalf("%+v, %+v, %v", it, st, err)
		}
	}
}

func FuzzItems(f *testing.F) {
	f.Add(slices.Concat(make([]byte, 16), []byte{24, 0, 8}, []byte("name\x00")))
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, it := range items(nil, b) {
			if len(it.Name) > len(b) {
				t.Errorf("%+v", it)
			}
		}
	})
}

// Files get the blocks of equal ones, and of no others; where they cannot, it is known.
func TestDedupe(t *testing.T) {
	d := dirAt(t, need.Disk(t, "xfs", 512<<20, ""))
	var open []*os.File
	for name, text := range map[string]byte{"a": 'x', "b": 'x', "c": 'y'} {
		err := os.WriteFile(filepath.Join(d.Path(), name), slices.Repeat([]byte{text}, 100_001), 0o644)
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"a", "b", "c"} {
		f, err := d.Open(name, os.O_RDONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		open = append(open, f)
	}
	if shares, err := Shares(open[0]); err != nil || shares {
		t.Errorf("before: %v, %v", shares, err)
	}
	if err := Dedupe(open[0], open[1], 100_001); err != nil {
		t.Error(err)
	}
	if err := Dedupe(open[0], open[2], 100_001); !errors.Is(err, ErrUnlike) {
		t.Errorf("unlike: %v", err)
	}
	for i, want := range []bool{true, true, false} {
		if shares, err := Shares(open[i]); err != nil || shares != want {
			t.Errorf("%s: %v, %v", open[i].Name(), shares, err)
		}
	}
	other, err := os.Create(filepath.Join(t.TempDir(), "f"))
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	if err := Reflink(other, open[0]); !Unshared(err) {
		t.Errorf("elsewhere: %v", err)
	}
}
