package build

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"vserver/guest"
	"vserver/internal/need"
)

func TestRsync(t *testing.T) {
	need.Root(t)
	need.Command(t, "rsync")
	src := need.TempDir(t)
	for _, d := range []string{"etc", "proc", "tmp", "mnt", "home"} {
		if err := os.Mkdir(filepath.Join(src, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for p, text := range map[string]string{"etc/fstab": "/dev/sda1 / ext4\n", "etc/ssh_host_key": "kept", "proc/x": "", "tmp/x": "", "home/f": "far"} {
		if err := os.WriteFile(filepath.Join(src, p), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	err := errors.Join(os.Chown(src+"/home/f", 12345678, 33), os.Link(src+"/etc/fstab", src+"/etc/hard"),
		syscall.Mknod(src+"/etc/null", syscall.S_IFCHR|0o666, 0x103), os.Symlink("/etc/shadow", src+"/etc/link"),
		os.Chmod(src+"/etc/ssh_host_key", os.ModeSetuid|0o755), syscall.Setxattr(src+"/home", "trusted.overlay.opaque", []byte("y"), 0),
		syscall.Mount("x", src+"/mnt", "tmpfs", 0, ""), os.WriteFile(src+"/mnt/f", nil, 0o644))
	defer syscall.Unmount(src+"/mnt", 0)
	if err != nil {
		t.Fatal(err)
	}
	dir, _, err := fill(t, Rsync(src))
	if err != nil {
		t.Fatal(err)
	}
	for _, gone := range []string{"proc/x", "tmp/x", "etc/null", "mnt/f"} {
		if _, err := os.Lstat(filepath.Join(dir, gone)); err == nil {
			t.Errorf("%s is there", gone)
		}
	}
	if b, err := os.ReadFile(dir + "/etc/fstab.before-vserver"); err != nil || string(b) != "/dev/sda1 / ext4\n" {
		t.Errorf("%q, %v", b, err)
	}
	if b, err := os.ReadFile(dir + "/etc/fstab"); err != nil || strings.Contains(string(b), "sda") {
		t.Errorf("%q, %v", b, err)
	}
	st, err := os.Stat(dir + "/home/f")
	if err != nil || st.Sys().(*syscall.Stat_t).Uid != 65534 || st.Sys().(*syscall.Stat_t).Gid != 33 {
		t.Errorf("home/f: %+v, %v", st, err)
	}
	if st, err := os.Stat(dir + "/etc/ssh_host_key"); err != nil || st.Mode() != os.ModeSetuid|0o755 {
		t.Errorf("%v, %v", st, err)
	}
	if n, err := syscall.Getxattr(dir+"/home", "trusted.overlay.opaque", make([]byte, 8)); err == nil {
		t.Errorf("an overlay's mark came along: %d bytes", n)
	}
	if st, err := os.Stat(dir + "/tmp"); err != nil || st.Mode().Perm() != 0o755 && st.Mode().Perm() != 0o777 {
		t.Errorf("tmp: %v, %v", st, err)
	}
	_, _, err = fill(t, Rsync(src+"/none"))
	if err == nil || !strings.Contains(err.Error(), "rsync") {
		t.Errorf("copy of nothing: %v", err)
	}
}

func TestRsyncFrom(t *testing.T) {
	for from, want := range map[string]string{
		"/": "/", "/srv/root": "/srv/root/", "/srv/root/": "/srv/root/", "/a b/../c": "/c/", "root@host.example:/": "root@host.example:/",
		"host:/srv/x/": "host:/srv/x/", "web_1@10.0.0.1:/x": "web_1@10.0.0.1:/x/", "/with:colon": "/with:colon/",
	} {
		if got, err := rsyncFrom(from); err != nil || got != want {
			t.Errorf("%q: %q, %v", from, got, err)
		}
	}
	for _, odd := range []string{"", "x", "relative/dir", "-e sh:/", "--rsh=x:/", "-oProxyCommand=x:/", "root@-oProxy:/", "-l@host:/", "host:", "host:x",
		"host::module", "rsync://host/x", "host://x", "a b:/x", "$(id):/", "h;id:/", "/a\nb", "/a\x00b", "host:/a\nb", "@host:/", "h@@x:/"} {
		if got, err := rsyncFrom(odd); !errors.Is(err, guest.ErrInvalid) {
			t.Errorf("%q: %q, %v", odd, got, err)
		}
	}
}

func TestSkeleton(t *testing.T) {
	need.Root(t)
	dir, _, err := fill(t, Skeleton())
	if err != nil {
		t.Fatal(err)
	}
	for p, mode := range map[string]os.FileMode{
		"usr/bin": os.ModeDir | 0o755, "tmp": os.ModeDir | os.ModeSticky | 0o777, "root": os.ModeDir | 0o700, "var/log": os.ModeDir | 0o755,
	} {
		if st, err := os.Lstat(filepath.Join(dir, p)); err != nil || st.Mode() != mode {
			t.Errorf("%s: %v, %v", p, st, err)
		}
	}
}
