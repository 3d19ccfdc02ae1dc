package rootfs

import (
	"errors"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"syscall"

	"vserver/kernel/mount"
)

// GuestAt is the directory of Tools in which the guest's root is.
const GuestAt = "/guest"

// Tools is a root with the programs of the host, read-only, beside a guest's root.
type Tools struct {
	Root   int      // a tmpfs with links and directories
	Paths  []string // where its parts are in it
	Mounts []int    // the parts, copies of the host's mounts
}

// What a root of Tools has of the host: programs and what they read, which everybody on
// the host may read too. The settings of the host, and its secrets, are not among it.
var (
	hostParts = []string{"/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/etc/alternatives", "/etc/ssl/certs"}
	hostFiles = []string{"/etc/ld.so.cache"}
	// What is the guest's.
	guestDirs = []string{"boot", "data", "dev", "home", "media", "mnt", "opt", "proc", "root", "run", "srv", "sys", "tmp", "var"}
	guestEtc  = []string{"apt", "dnf", "dpkg", "group", "gshadow", "hostname", "hosts", "localtime", "nsswitch.conf", "os-release",
		"passwd", "pki", "resolv.conf", "rpm/macros", "rpm/platform", "shadow", "yum", "yum.conf", "yum.repos.d"}
)

// rpmMacros has the host's rpm look for the notes on the guest's packages where the guest's
// own will: Debian's has them in a home directory, Fedora's in a place that older guests do
// not have. It is read before the guest's own macros.
const rpmMacros = `%_dbpath %{lua:
local root = posix.access("` + GuestAt + `") and "` + GuestAt + `" or ""
print(posix.access(root.."/usr/lib/sysimage/rpm") and "/usr/lib/sysimage/rpm" or "/var/lib/rpm")}
`

// MakeTools makes the mounts of such a root. base is the host's number of the guest's
// root, to whom it belongs.
func MakeTools(base uint32) (x *Tools, err error) {
	x = &Tools{Root: -1}
	defer func() {
		if err != nil {
			x.Close()
			x = nil
		}
	}()
	if x.Root, err = mount.New("tmpfs", mount.NoSuid|mount.NoDev, "mode=0755", "size=16m"); err != nil {
		return x, err
	}
	uid := int(base)
	for _, dir := range []string{"etc", "etc/rpm", "etc/ssl", strings.TrimPrefix(GuestAt, "/")} {
		if err := mount.Mkdir(x.Root, dir, 0o755, uid); err != nil {
			return x, err
		}
	}
	for _, p := range hostParts {
		if err := x.part(p, uid); err != nil {
			return x, err
		}
	}
	for _, p := range hostFiles {
		text, err := os.ReadFile(p)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err == nil {
			err = mount.File(x.Root, p[1:], string(text), uid)
		}
		if err != nil {
			return x, err
		}
	}
	if err := mount.File(x.Root, "etc/rpm/macros.vserver", rpmMacros, uid); err != nil {
		return x, err
	}
	for _, dir := range guestDirs {
		if err := mount.Symlink(x.Root, path.Join(GuestAt, dir), dir, uid); err != nil {
			return x, err
		}
	}
	for _, name := range guestEtc {
		if err := mount.Symlink(x.Root, path.Join(GuestAt, "etc", name), "etc/"+name, uid); err != nil {
			return x, err
		}
	}
	return x, mount.SetAttr(x.Root, mount.ReadOnly|mount.NoSuid|mount.NoDev, -1)
}

// part adds a directory of the host's; a link stays a link.
func (x *Tools) part(p string, uid int) error {
	st, err := os.Lstat(p)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case st.Mode()&fs.ModeSymlink != 0:
		to, err := os.Readlink(p)
		if err != nil {
			return err
		}
		return mount.Symlink(x.Root, to, p[1:], uid)
	case !st.IsDir():
		return nil
	}
	if err := mount.Mkdir(x.Root, p[1:], 0o755, uid); err != nil {
		return err
	}
	fd, err := mount.Clone(p)
	if err != nil {
		return err
	}
	x.Paths, x.Mounts = append(x.Paths, p), append(x.Mounts, fd)
	return mount.SetAttr(fd, mount.ReadOnly|mount.NoSuid|mount.NoDev, -1)
}

// Close closes the mounts, which are gone unless they are attached somewhere.
func (x *Tools) Close() {
	for _, fd := range slices.Concat(x.Mounts, []int{x.Root}) {
		if fd >= 0 {
			syscall.Close(fd)
		}
	}
}
