package layer

import (
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"vserver/internal/need"
	"vserver/kernel/file"
)

// laden makes a tree with everything that a copy or a shift must not lose.
func laden(t *testing.T, own int) string {
	t.Helper()
	dir := tree(t, own, "d/", "d/f=text", "d/su=x", "l>../../etc/shadow", "w!", "far=x", "o/@", "big=")
	d, err := file.OpenDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	sub, err := d.Dir("d")
	if err != nil {
		t.Fatal(err)
	}
	defer sub.Close()
	su, err := sub.Entry("su")
	if err != nil {
		t.Fatal(err)
	}
	defer su.Close()
	far, err := d.Entry("far")
	if err != nil {
		t.Fatal(err)
	}
	defer far.Close()
	err = errors.Join(
		su.SetXattr("security.capability", capability(own != 0, uint32(own))),
		su.SetXattr("system.posix_acl_access", acl(uint32(own)+1000)),
		su.SetXattr("user.mine", []byte("yes")), su.SetXattr("trusted.overlay.origin", []byte("x")), su.Chmod(0o6755),
		sub.Link("f", d, "hard"), d.Mknod("fifo", file.TypeFIFO|0o600, 0), far.Chown(9999999, uint32(own)+7),
		sub.SetTimes("f", 1e18, 1e18+7), os.Truncate(dir+"/big", 1<<40), os.Lchown(dir+"/fifo", own, own),
		d.SetTimes("d", 2e18, 2e18),
	)
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// checkLaden looks whether a laden tree has its ids from own on.
func checkLaden(t *testing.T, dir string, own uint32, copied bool) {
	t.Helper()
	stat := func(name string) *syscall.Stat_t {
		st, err := os.Lstat(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		return st.Sys().(*syscall.Stat_t)
	}
	for _, name := range []string{".", "d", "d/f", "d/su", "l", "w", "fifo", "o"} {
		if st := stat(name); st.Uid != own || st.Gid != own {
			t.Errorf("%s: %d:%d", name, st.Uid, st.Gid)
		}
	}
	if st := stat("far"); st.Uid != own+nobody || st.Gid != own+7 {
		t.Errorf("far: %d:%d", st.Uid, st.Gid)
	}
	if st := stat("d/su"); st.Mode&0o7777 != 0o6755 {
		t.Errorf("su: %o", st.Mode)
	}
	if got := xattr(t, dir+"/d", "su", "security.capability"); got != string(capability(own != 0, own)) {
		t.Errorf("capability: %x", got)
	}
	if got := xattr(t, dir+"/d", "su", "system.posix_acl_access"); binary.LittleEndian.Uint32([]byte(got)[aclHead+aclEntry+4:]) != own+1000 {
		t.Errorf("acl: %x", got)
	}
	if got := xattr(t, dir+"/d", "su", "user.mine"); got != "yes" {
		t.Errorf("user.mine: %q", got)
	}
	if got := xattr(t, dir, "o", opaque); got != "y" {
		t.Errorf("opaque: %q", got)
	}
	if a, b := stat("d/f"), stat("hard"); a.Ino != b.Ino || a.Nlink != 2 || a.Mtim.Nano() != 1e18+7 {
		t.Errorf("hard link: %+v %+v", a, b)
	}
	if st := stat("w"); st.Mode&syscall.S_IFMT != syscall.S_IFCHR || st.Rdev != 0 {
		t.Errorf("whiteout: %+v", st)
	}
	if st := stat("big"); st.Size != 1<<40 || st.Blocks > 100 {
		t.Errorf("big: %d bytes, %d blocks", st.Size, st.Blocks)
	}
	if copied {
		if got := xattr(t, dir+"/d", "su", "trusted.overlay.origin"); got != "" {
			t.Errorf("origin: %q", got)
		}
		if st := stat("d"); st.Mtim.Nano() != 2e18 {
			t.Errorf("d: %v", st.Mtim)
		}
	}
}

func TestCopy(t *testing.T) {
	need.Root(t)
	for _, s := range []Shift{{base, 2 * base}, {0, base}, {base, 0}, {0, 0}} {
		from := laden(t, int(s.From))
		to := t.TempDir()
		a, err := file.OpenDir(from)
		if err != nil {
			t.Fatal(err)
		}
		b, err := file.OpenDir(to)
		if err != nil {
			t.Fatal(err)
		}
		if err := (&Copy{Shift: s}).Run(t.Context(), a, b); err != nil {
			t.Fatal(err)
		}
		a.Close()
		b.Close()
		checkLaden(t, to, s.To, true)
		checkLaden2(t, from, to)
	}
}

// checkLaden2 checks that a copy shares no file with the original.
func checkLaden2(t *testing.T, from, to string) {
	t.Helper()
	for _, name := range []string{"d/f", "d/su", "w", "l"} {
		a, err1 := os.Lstat(filepath.Join(from, name))
		b, err2 := os.Lstat(filepath.Join(to, name))
		if err1 != nil || err2 != nil || os.SameFile(a, b) {
			t.Errorf("%s: the same file: %v, %v", name, err1, err2)
		}
	}
}

func TestCopyDevices(t *testing.T) {
	need.Root(t)
	from := t.TempDir()
	if err := syscall.Mknod(from+"/null", syscall.S_IFCHR|0o666, 0x103); err != nil {
		t.Fatal(err)
	}
	for _, devices := range []bool{false, true} {
		to := t.TempDir()
		a, _ := file.OpenDir(from)
		b, _ := file.OpenDir(to)
		if err := (&Copy{Devices: devices}).Run(t.Context(), a, b); err != nil {
			t.Error(err)
		}
		a.Close()
		b.Close()
		if _, err := os.Lstat(to + "/null"); (err == nil) != devices {
			t.Errorf("devices %t: %v", devices, err)
		}
	}
}

func BenchmarkCopySmall(b *testing.B) {
	need.Root(b)
	from := b.TempDir()
	os.MkdirAll(from+"/etc/ssh", 0o755)
	for _, f := range strings.Fields("hostname hosts resolv.conf machine-id shadow ssh/a ssh/b ssh/c") {
		os.WriteFile(from+"/etc/"+f, make([]byte, 500), 0o644)
	}
	src, err := file.OpenDir(from)
	if err != nil {
		b.Fatal(err)
	}
	defer src.Close()
	for b.Loop() {
		to := b.TempDir()
		dst, err := file.OpenDir(to)
		if err != nil {
			b.Fatal(err)
		}
		if err := (&Copy{Shift: Shift{0, base}}).Run(b.Context(), src, dst); err != nil {
			b.Fatal(err)
		}
		dst.Close()
	}
}
