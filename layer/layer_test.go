package layer

import (
	"encoding/binary"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"vserver/internal/need"
	"vserver/kernel/file"
)

func TestMain(m *testing.M) { need.Main(m) }

const base = 524288

// tree makes files of a small language: "d/" a directory, "f=text" a file, "l>target" a
// link, "w!" a whiteout, "d/@" an opaque directory. Each is owned by id from own on.
func tree(t *testing.T, own int, entries ...string) string {
	t.Helper()
	dir := t.TempDir()
	if err := errors.Join(os.Chown(dir, own, own), os.Chmod(dir, 0o755)); err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		name := strings.TrimRight(e[:strings.IndexAny(e+"\x00", "=>!@\x00")], "/")
		path := filepath.Join(dir, name)
		var err error
		switch {
		case strings.Contains(e, "="):
			err = os.WriteFile(path, []byte(e[strings.Index(e, "=")+1:]), 0o644)
		case strings.Contains(e, ">"):
			err = os.Symlink(e[strings.Index(e, ">")+1:], path)
		case strings.HasSuffix(e, "!"):
			err = syscall.Mknod(path, syscall.S_IFCHR, 0)
		default:
			err = os.Mkdir(path, 0o755)
			if strings.HasSuffix(e, "@") {
				d, _ := file.OpenDir(filepath.Dir(path))
				err = errors.Join(err, Hide(d, filepath.Base(path)), d.Close())
			}
		}
		if err := errors.Join(err, os.Lchown(path, own, own)); err != nil {
			t.Fatal(e, err)
		}
	}
	return dir
}

func opened(t *testing.T, upper string, lowers ...string) *Root {
	t.Helper()
	r, err := Open(upper, lowers, base)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	return r
}

func TestRead(t *testing.T) {
	need.Root(t)
	upper := tree(t, base, "etc/", "etc/mine=upper", "etc/gone!", "var/@", "var/new=new", "file=now a file", "dir/")
	mid := tree(t, 0, "etc/", "etc/mid=mid", "etc/gone=mid", "file/", "file/x=x", "dir=mid")
	low := tree(t, 0, "etc/", "etc/mine=low", "etc/low=low", "etc/link>/etc/shadow", "var/", "var/old=old", "dir/", "dir/hidden=x", "l>etc")
	r := opened(t, upper, mid, low)
	for p, want := range map[string]string{"etc/mine": "upper", "etc/mid": "mid", "etc/low": "low", "var/new": "new", "file": "now a file"} {
		if b, err := r.Read(p, 100); err != nil || string(b) != want {
			t.Errorf("%s: %q, %v", p, b, err)
		}
	}
	for _, p := range []string{"etc/gone", "var/old", "none", "none/x", "dir/hidden"} {
		if b, err := r.Read(p, 100); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: %q, %v", p, b, err)
		}
	}
	for _, p := range []string{"etc/link", "l/low", "file/x", "etc"} {
		if b, err := r.Read(p, 100); !errors.Is(err, ErrOdd) {
			t.Errorf("%s: %q, %v", p, b, err)
		}
	}
	if names, err := r.Names("etc"); err != nil || !slices.Equal(names, []string{"link", "low", "mid", "mine"}) {
		t.Errorf("%v, %v", names, err)
	}
	if names, err := r.Names("var"); err != nil || !slices.Equal(names, []string{"new"}) {
		t.Errorf("%v, %v", names, err)
	}
	if names, err := r.Names("none"); err != nil || names != nil {
		t.Errorf("%v, %v", names, err)
	}
	for p, uid := range map[string]uint32{"etc/mine": 0, "etc/low": 0} {
		if st, err := r.Stat(p); err != nil || st.UID != uid {
			t.Errorf("%s: %+v, %v", p, st, err)
		}
	}
}

func TestWrite(t *testing.T) {
	need.Root(t)
	outside := t.TempDir()
	if err := os.WriteFile(filepath.Join(outside, "f"), []byte("outside"), 0o644); err != nil {
		t.Fatal(err)
	}
	upper := tree(t, base, "gone!", "link>"+outside, "evil/", "evil/f>"+filepath.Join(outside, "f"))
	low := tree(t, 0, "etc/", "etc/ssh/", "gone/", "gone/old=x", "etc/l>"+outside)
	if err := errors.Join(os.Chmod(low+"/etc/ssh", 0o710), os.Chown(low+"/etc/ssh", 0, 42)); err != nil {
		t.Fatal(err)
	}
	r := opened(t, upper, low)
	for _, p := range []string{"etc/ssh/key", "gone/new", "a/b/c", "evil/f"} {
		if err := r.Write(p, []byte(p), 0o640, 3, 4); err != nil {
			t.Error(err)
			continue
		}
		if b, err := r.Read(p, 100); err != nil || string(b) != p {
			t.Errorf("%s: %q, %v", p, b, err)
		}
		st, err := os.Lstat(filepath.Join(upper, p))
		if err != nil {
			t.Fatal(err)
		}
		if sys := st.Sys().(*syscall.Stat_t); sys.Uid != base+3 || sys.Gid != base+4 || st.Mode() != 0o640 {
			t.Errorf("%s: %v %d:%d", p, st.Mode(), sys.Uid, sys.Gid)
		}
	}
	st, err := os.Lstat(upper + "/etc/ssh")
	if err != nil {
		t.Fatal(err)
	}
	if sys := st.Sys().(*syscall.Stat_t); sys.Uid != base || sys.Gid != base+42 || st.Mode().Perm() != 0o710 {
		t.Errorf("etc/ssh: %v %d:%d, not as below", st.Mode(), sys.Uid, sys.Gid)
	}
	if _, err := r.Read("gone/old", 100); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("what was removed came back: %v", err)
	}
	for _, p := range []string{"link/f", "etc/l/f"} {
		if err := r.Write(p, nil, 0o644, 0, 0); !errors.Is(err, ErrOdd) {
			t.Errorf("%s: %v", p, err)
		}
	}
	entries, err := os.ReadDir(outside)
	if err != nil || len(entries) != 1 {
		t.Errorf("outside: %v, %v", entries, err)
	}
	if b, _ := os.ReadFile(outside + "/f"); string(b) != "outside" {
		t.Errorf("outside: %q", b)
	}
}

func TestRemove(t *testing.T) {
	need.Root(t)
	upper := tree(t, base, "etc/", "etc/both=x", "etc/mine=x")
	low := tree(t, 0, "etc/", "etc/both=x", "etc/low=x", "var/", "var/lib/", "var/lib/f=x")
	r := opened(t, upper, low)
	for _, p := range []string{"etc/both", "etc/mine", "etc/low", "var/lib", "none", "none/x"} {
		for range 2 {
			if err := r.Remove(p); err != nil {
				t.Errorf("%s: %v", p, err)
			}
		}
		if _, err := r.Stat(p); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s is still seen: %v", p, err)
		}
	}
	if _, err := os.Lstat(upper + "/etc/mine"); err == nil {
		t.Error("a whiteout of nothing")
	}
	if err := r.Mkdir("var/lib", 0o700, 1, 1); err != nil {
		t.Fatal(err)
	}
	if names, err := r.Names("var/lib"); err != nil || len(names) > 0 {
		t.Errorf("what was removed came back: %v, %v", names, err)
	}
	if st, err := r.Stat("var/lib"); err != nil || st.Perm() != 0o700 || st.UID != 1 {
		t.Errorf("%+v, %v", st, err)
	}
}

func capability(revision3 bool, root uint32) []byte {
	v := make([]byte, capSize2)
	binary.LittleEndian.PutUint32(v, capRevision2|1)
	v[4] = 0x20
	if revision3 {
		binary.LittleEndian.PutUint32(v, capRevision3|1)
		v = binary.LittleEndian.AppendUint32(v, root)
	}
	return v
}

func TestShiftCapability(t *testing.T) {
	for _, c := range []struct {
		s    Shift
		in   []byte
		want []byte
	}{
		{Shift{0, base}, capability(false, 0), capability(true, base)},
		{Shift{base, 2 * base}, capability(true, base), capability(true, 2*base)},
		{Shift{base, 0}, capability(true, base), capability(false, 0)},
		{Shift{}, capability(false, 0), capability(false, 0)},
	} {
		x, ok, err := c.s.Xattr(file.Xattr{Name: "security.capability", Value: c.in})
		if !ok || err != nil || string(x.Value) != string(c.want) {
			t.Errorf("%v of %x: %x, %v", c.s, c.in, x.Value, err)
		}
	}
	for _, bad := range [][]byte{nil, make([]byte, 20), capability(true, 0)[:23], append(capability(true, 0), 0)} {
		if _, _, err := (Shift{}).Xattr(file.Xattr{Name: "security.capability", Value: bad}); err == nil {
			t.Errorf("%x was taken", bad)
		}
	}
}

func acl(user uint32) []byte {
	v := binary.LittleEndian.AppendUint32(nil, aclVersion)
	for _, e := range []struct {
		tag, perm uint16
		id        uint32
	}{{1, 6, ^uint32(0)}, {aclUser, 4, user}, {4, 4, ^uint32(0)}, {0x10, 4, ^uint32(0)}, {0x20, 4, ^uint32(0)}} {
		v = binary.LittleEndian.AppendUint16(v, e.tag)
		v = binary.LittleEndian.AppendUint16(v, e.perm)
		v = binary.LittleEndian.AppendUint32(v, e.id)
	}
	return v
}

func xattr(t *testing.T, dir, name, key string) string {
	t.Helper()
	d, err := file.OpenDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	e, err := d.Entry(name)
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	v, err := e.Xattr(key)
	if err != nil && !errors.Is(err, syscall.ENODATA) {
		t.Error(err)
	}
	return string(v)
}

func TestShiftRun(t *testing.T) {
	need.Root(t)
	dir := laden(t, 0)
	d, err := file.OpenDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	for range 2 { // again changes nothing
		if err := (Shift{0, base}).Run(t.Context(), d); err != nil {
			t.Fatal(err)
		}
		checkLaden(t, dir, base, false)
	}
	if err := (Shift{base, 3 * base}).Run(t.Context(), d); err != nil {
		t.Fatal(err)
	}
	// What was nobody's of the first range is nobody's of the next.
	checkLaden(t, dir, 3*base, false)
}

func TestMountsNotEntered(t *testing.T) {
	need.Root(t)
	dir := need.TempDir(t)
	for _, p := range []string{"host", "tree/mnt", "copy"} {
		if err := os.MkdirAll(filepath.Join(dir, p), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(dir+"/host/f", nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount(dir+"/host", dir+"/tree/mnt", "", syscall.MS_BIND, ""); err != nil {
		t.Fatal(err)
	}
	defer syscall.Unmount(dir+"/tree/mnt", 0)
	a, err := file.OpenDir(dir + "/tree")
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	b, err := file.OpenDir(dir + "/copy")
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	if err := (&Copy{}).Run(t.Context(), a, b); err != nil {
		t.Fatal(err)
	}
	if entries, err := os.ReadDir(dir + "/copy/mnt"); err != nil || len(entries) > 0 {
		t.Errorf("%v, %v", entries, err)
	}
	if err := (Shift{0, base}).Run(t.Context(), a); err != nil {
		t.Fatal(err)
	}
	st, err := os.Stat(dir + "/host/f")
	if err != nil || st.Sys().(*syscall.Stat_t).Uid != 0 {
		t.Errorf("the host's file was given away: %v", err)
	}
}

func FuzzXattr(f *testing.F) {
	f.Add("security.capability", capability(true, base))
	f.Add("system.posix_acl_access", acl(1000))
	f.Fuzz(func(t *testing.T, name string, value []byte) {
		x, ok, err := Shift{base, 2 * base}.Xattr(file.Xattr{Name: name, Value: value})
		if ok && err == nil && strings.HasPrefix(x.Name, "trusted.") && !strings.HasPrefix(x.Name, "trusted.overlay.") {
			t.Errorf("%s passed", x.Name)
		}
	})
}
