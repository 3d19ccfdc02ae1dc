package spawn

import (
	"strings"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Private keeps mounts of the process's namespace from spreading to others.
func (t *Table) Private() {
	t.call("make mounts private", unix.SYS_MOUNT, t.str(""), t.str("/"), none, num(unix.MS_REC|unix.MS_PRIVATE), none)
}

// Shared makes all mounts peers of those in mount namespaces that the guest makes of
// its own, and of no other's: what a process mounts in a namespace born of the guest's
// appears in the guest. So a container's manager hands it to systemd, which else makes
// it so itself, and whose units get their credentials in this way.
func (t *Table) Shared() {
	t.Private()
	t.call("make mounts shared", unix.SYS_MOUNT, t.str(""), t.str("/"), none, num(unix.MS_REC|unix.MS_SHARED), none)
}

// NewFS makes a file system of the given type, belonging to the namespaces the
// process is in, and a detached mount of it. options are "key" or "key=value".
func (t *Table) NewFS(fstype string, attr int, options ...string) Reg {
	fs := t.saved("open file system "+fstype, unix.SYS_FSOPEN, t.str(fstype), num(unix.FSOPEN_CLOEXEC))
	for _, o := range append([]string{"source=" + fstype}, options...) {
		key, value, has := strings.Cut(o, "=")
		if has {
			t.call("set "+fstype+" "+o, unix.SYS_FSCONFIG, fs.arg(), num(unix.FSCONFIG_SET_STRING), t.str(key), t.str(value))
		} else {
			t.call("set "+fstype+" "+o, unix.SYS_FSCONFIG, fs.arg(), num(unix.FSCONFIG_SET_FLAG), t.str(key), none)
		}
	}
	t.call("make file system "+fstype, unix.SYS_FSCONFIG, fs.arg(), num(unix.FSCONFIG_CMD_CREATE))
	m := t.saved("make mount of "+fstype, unix.SYS_FSMOUNT, fs.arg(), num(unix.FSMOUNT_CLOEXEC), num(attr))
	t.call("close file system "+fstype, unix.SYS_CLOSE, fs.arg())
	return m
}

// Clone makes a detached mount of the tree at path; with attr, such as
// MOUNT_ATTR_RDONLY, set on it.
func (t *Table) Clone(path string, attr uint64) Reg {
	m := t.saved("clone mount "+path, unix.SYS_OPEN_TREE, num(unix.AT_FDCWD), t.str(path), num(unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC))
	if attr != 0 {
		set := put(t, unix.MountAttr{Attr_set: attr})
		t.call("set mount attributes of "+path, unix.SYS_MOUNT_SETATTR, m.arg(), t.str(""), num(unix.AT_EMPTY_PATH), at(set), num(unsafe.Sizeof(*set)))
	}
	return m
}

// CloneAll is Clone with what is mounted below.
func (t *Table) CloneAll(path string) Reg {
	return t.saved("clone mounts "+path, unix.SYS_OPEN_TREE, num(unix.AT_FDCWD), t.str(path), num(unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_RECURSIVE))
}

// Root makes the detached mount the root and detaches all that was there before.
func (t *Table) Root(m Reg) {
	// Any directory serves to attach it for a moment. /proc is on every host and can be
	// reached by every id.
	const at = "/proc"
	t.call("mount root", unix.SYS_MOVE_MOUNT, m.arg(), t.str(""), num(unix.AT_FDCWD), t.str(at), num(unix.MOVE_MOUNT_F_EMPTY_PATH))
	// A mount cloned from a shared one, as all are on hosts with systemd, is a peer of
	// it still, and pivot_root refuses that.
	t.call("make root private", unix.SYS_MOUNT, t.str(""), t.str(at), none, num(unix.MS_REC|unix.MS_PRIVATE), none)
	t.call("chdir to root", unix.SYS_CHDIR, t.str(at))
	t.call("pivot_root", unix.SYS_PIVOT_ROOT, t.str("."), t.str("."))
	t.call("unmount the host's root", unix.SYS_UMOUNT2, t.str("."), num(unix.MNT_DETACH))
	t.call("chdir /", unix.SYS_CHDIR, t.str("/"))
}

// RootOver makes the detached mount the root, and what was the root before a directory of
// it.
func (t *Table) RootOver(m Reg, before string) {
	const at = "/proc" // as in Root
	t.call("mount root", unix.SYS_MOVE_MOUNT, m.arg(), t.str(""), num(unix.AT_FDCWD), t.str(at), num(unix.MOVE_MOUNT_F_EMPTY_PATH))
	t.call("make root private", unix.SYS_MOUNT, t.str(""), t.str(at), none, num(unix.MS_REC|unix.MS_PRIVATE), none)
	t.call("chdir to root", unix.SYS_CHDIR, t.str(at))
	t.call("pivot_root", unix.SYS_PIVOT_ROOT, t.str("."), t.str(before))
	t.call("chdir /", unix.SYS_CHDIR, t.str("/"))
}

// Mkdir makes a directory when it is missing. A root that cannot be written to must
// have it already.
func (t *Table) Mkdir(path string, mode uint32) {
	t.call("mkdir "+path, unix.SYS_MKDIRAT, num(unix.AT_FDCWD), t.str(path), num(mode)).passing(syscall.EEXIST, syscall.EROFS)
}

// Touch makes an empty file when it is missing, as Mkdir does with a directory.
func (t *Table) Touch(path string, mode uint32) {
	t.call("touch "+path, unix.SYS_MKNODAT, num(unix.AT_FDCWD), t.str(path), num(unix.S_IFREG|mode), num(0)).passing(syscall.EEXIST, syscall.EROFS)
}

// AttachAt is Attach to a directory that is made with this mode when it is missing, as
// Mkdir does. Most often it is there, and an overlay takes 10 µs to say so to mkdir.
func (t *Table) AttachAt(m Reg, path string, mode uint32) {
	at := t.find(path)
	t.last().passing(unix.ENOENT)
	t.Mkdir(path, mode)
	t.last().lacks = at
	t.lookup(path, at).lacks = at
	t.attach(m, path, at)
}

// Attach attaches the detached mount at path. No symbolic link is followed: a root
// whose /proc is a link elsewhere is refused with ELOOP.
func (t *Table) Attach(m Reg, path string) { t.attach(m, path, t.find(path)) }

func (t *Table) find(path string) Reg {
	at := t.reg()
	t.lookup(path, at)
	return at
}

func (t *Table) lookup(path string, place Reg) *op {
	how := put(t, unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: unix.RESOLVE_NO_SYMLINKS})
	o := t.call("find "+path, unix.SYS_OPENAT2, num(unix.AT_FDCWD), t.str(path), at(how), num(unsafe.Sizeof(*how)))
	o.save = int16(place)
	return o
}

func (t *Table) attach(m Reg, path string, at Reg) {
	t.call("mount "+path, unix.SYS_MOVE_MOUNT, m.arg(), t.str(""), at.arg(), t.str(""),
		num(unix.MOVE_MOUNT_F_EMPTY_PATH|unix.MOVE_MOUNT_T_EMPTY_PATH))
	t.call("close "+path, unix.SYS_CLOSE, at.arg())
}

// Bind shows the file or directory at from also at path, with attr as in Clone.
func (t *Table) Bind(from, path string, attr uint64) { t.Attach(t.Clone(from, attr), path) }

// Unmount takes away what was mounted last at path. What was bound from it elsewhere
// stays.
func (t *Table) Unmount(path string) {
	t.call("unmount "+path, unix.SYS_UMOUNT2, t.str(path), num(unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW))
}

// List reads a directory, once: a file system that somebody serves is asked for the
// names in it together.
func (t *Table) List(path string) {
	fd := t.saved("open "+path, unix.SYS_OPENAT, num(unix.AT_FDCWD), t.str(path), num(unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC))
	buf := put(t, [2048]byte{})
	t.call("list "+path, unix.SYS_GETDENTS64, fd.arg(), at(buf), num(len(buf)))
	t.call("close "+path, unix.SYS_CLOSE, fd.arg())
}

// BindIfThere is Bind for paths that this kernel may not have, and for what is served by
// a program that may be older than this one. Nothing is cloned where the path is missing: to
// drop a detached mount again takes a grace period of the kernel's (50 to 100 µs).
func (t *Table) BindIfThere(from, path string, attr uint64) {
	at := t.find(path)
	t.last().passing(unix.ENOENT)
	begin := len(t.ops)
	m := t.Clone(from, attr)
	t.ops[begin].passing(unix.ENOENT)
	t.attach(m, path, at)
	for i := range t.ops[begin:] {
		t.ops[begin+i].needs = m
	}
	t.ops[begin].needs, t.last().needs = at, at
}

// Cover shows the file or directory from in place of those of paths that this kernel
// has. Paths must be of file systems that the kernel fills, /proc and /sys: links on the
// way are followed. It takes one call for each, where BindIfThere takes four.
func (t *Table) Cover(from string, paths ...string) {
	at := t.find(from) // that it is there, at least
	for _, path := range paths {
		t.call("cover "+path, unix.SYS_MOUNT, t.str(from), t.str(path), none, num(unix.MS_BIND), none).passing(unix.ENOENT)
	}
	t.call("close "+from, unix.SYS_CLOSE, at.arg())
}
