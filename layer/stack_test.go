package layer

import (
	"os"
	"path/filepath"
	"testing"

	"vserver/internal/need"
	"vserver/kernel/file"
)

// TestStack sees files through layers whose ids begin elsewhere, and takes a directory of
// the middle one up.
func TestStack(t *testing.T) {
	need.Root(t)
	const own, other = 524288, 589824
	top, mid, low := t.TempDir(), t.TempDir(), t.TempDir()
	for dir, base := range map[string]int{mid: other, low: 0} {
		sub := filepath.Join(dir, filepath.Base(dir))
		if err := os.Mkdir(sub, 0o750); err != nil {
			t.Fatal(err)
		}
		if err := os.Chown(sub, base+33, base+44); err != nil {
			t.Fatal(err)
		}
	}
	r, err := Stack([]Tree{{top, own}, {mid, other}, {low, 0}})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for _, dir := range []string{mid, low} {
		name := filepath.Base(dir)
		if st, err := r.Stat(name); err != nil || st.UID != 33 || st.GID != 44 {
			t.Errorf("%s: %d:%d, %v", dir, st.UID, st.GID, err)
		}
		if err := r.Write(name+"/f", []byte("x"), 0o600, 1, 2); err != nil {
			t.Fatal(err)
		}
		d, err := file.OpenDir(filepath.Join(top, name))
		if err != nil {
			t.Fatal(err)
		}
		st, err := d.Self()
		d.Close()
		if err != nil || st.UID != own+33 || st.GID != own+44 || st.Perm() != 0o750 {
			t.Errorf("taken up: %d:%d %o, %v", st.UID, st.GID, st.Perm(), err)
		}
	}
	if _, err := Stack([]Tree{{top, own}, {filepath.Join(top, "none"), 0}}); !os.IsNotExist(err) {
		t.Errorf("of nothing: %v", err)
	}
}

// TestAlike gives a directory what another has but the overlay's marks.
func TestAlike(t *testing.T) {
	need.Root(t)
	a, b := t.TempDir(), t.TempDir()
	if err := os.Chown(a, 1000+7, 1000+8); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(a, os.ModeSetgid|0o751); err != nil {
		t.Fatal(err)
	}
	from, err := file.OpenDir(a)
	if err != nil {
		t.Fatal(err)
	}
	defer from.Close()
	to, err := file.OpenDir(b)
	if err != nil {
		t.Fatal(err)
	}
	defer to.Close()
	e, err := from.SelfEntry()
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	for name, value := range map[string]string{"user.kept": "v", opaque: "y"} {
		if err := e.SetXattr(name, []byte(value)); err != nil {
			t.Fatal(err)
		}
	}
	if err := Alike(from, to, Shift{From: 1000, To: 200000}); err != nil {
		t.Fatal(err)
	}
	n, err := to.SelfEntry()
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	st, err := n.Stat()
	if err != nil || st.UID != 200007 || st.GID != 200008 || st.Perm() != 0o2751 {
		t.Errorf("%d:%d %o, %v", st.UID, st.GID, st.Perm(), err)
	}
	if v, err := n.Xattr("user.kept"); err != nil || string(v) != "v" {
		t.Errorf("%q, %v", v, err)
	}
	if _, err := n.Xattr(opaque); err == nil {
		t.Error("the overlay's mark came along")
	}
}
