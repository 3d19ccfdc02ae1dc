// Package mount makes detached mounts: file systems and trees that hang nowhere
// until somebody attaches them, and vanish with their last file descriptor. Nothing
// made here is ever seen in the host's mount table, and a killed tool leaves no
// mount behind.
package mount

import (
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
)

// Attributes of a mount, as in mount_setattr(2).
const (
	ReadOnly = unix.MOUNT_ATTR_RDONLY
	NoSuid   = unix.MOUNT_ATTR_NOSUID
	NoDev    = unix.MOUNT_ATTR_NODEV
	NoExec   = unix.MOUNT_ATTR_NOEXEC
	NoAtime  = unix.MOUNT_ATTR_NOATIME
)

// New makes a file system of the type fstype, owned by the caller's user namespace,
// and a detached mount of it. options are "key" or "key=value".
func New(fstype string, attr int, options ...string) (fd int, err error) {
	return made(fstype, attr, append([]string{source}, options...))
}

// Disk makes a detached mount of the file system on a block device.
func Disk(fstype, device string, attr int, options ...string) (fd int, err error) {
	return made(fstype, attr, append([]string{"source=" + device}, options...))
}

func made(fstype string, attr int, options []string) (fd int, err error) {
	fs, err := open(fstype, options)
	if err != nil {
		return -1, err
	}
	defer unix.Close(fs)
	if fd, err = unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, attr); err != nil {
		return -1, explain(fs, "mount "+fstype, err)
	}
	return fd, nil
}

func open(fstype string, options []string) (fs int, err error) {
	if fs, err = unix.Fsopen(fstype, unix.FSOPEN_CLOEXEC); err != nil {
		return -1, fmt.Errorf("file system %s: %w", fstype, err)
	}
	for _, o := range options {
		key, value, has := strings.Cut(o, "=")
		if has {
			err = unix.FsconfigSetString(fs, key, value)
		} else {
			err = unix.FsconfigSetFlag(fs, key)
		}
		if err != nil {
			err = explain(fs, fmt.Sprintf("%s option %s", fstype, o), err)
			unix.Close(fs)
			return -1, err
		}
	}
	if err = unix.FsconfigCreate(fs); err != nil {
		err = explain(fs, "file system "+fstype, err)
		unix.Close(fs)
		return -1, err
	}
	return fs, nil
}

// explain adds what the kernel left in the context's message log, such as
// "e overlay: No changes allowed in reconfigure".
func explain(fs int, what string, err error) error {
	buf := make([]byte, 512)
	n, readErr := unix.Read(fs, buf)
	if readErr != nil || n <= 2 {
		return fmt.Errorf("%s: %w", what, err)
	}
	return fmt.Errorf("%s: %w (%s)", what, err, strings.TrimSpace(string(buf[2:n])))
}

// Clone makes a detached mount of the directory or file at path, without what is
// mounted below it. It is nobody's peer: what a guest mounts on a clone of a shared mount,
// as all are on a host with systemd, would appear on the host as well.
func Clone(path string) (fd int, err error) { return clone(path, 0) }

// CloneAll is Clone with what is mounted below.
func CloneAll(path string) (fd int, err error) { return clone(path, unix.AT_RECURSIVE) }

func clone(path string, recursive uint) (fd int, err error) {
	fd, err = unix.OpenTree(unix.AT_FDCWD, path, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|recursive)
	if err != nil {
		return -1, fmt.Errorf("clone mount %s: %w", path, err)
	}
	alone := unix.MountAttr{Propagation: unix.MS_PRIVATE}
	if err := unix.MountSetattr(fd, "", unix.AT_EMPTY_PATH|recursive, &alone); err != nil {
		unix.Close(fd)
		return -1, fmt.Errorf("clone mount %s: private: %w", path, err)
	}
	return fd, nil
}

// SetAttr sets attributes on a detached mount. With userns at or above 0 its files
// also show the ids that the user namespace gives them (5.12; as a layer of an
// overlay 5.19).
func SetAttr(fd int, attr uint64, userns int) error { return setAttr(fd, attr, userns, 0) }

// SetAttrAll is SetAttr for a detached mount and all mounted below it.
func SetAttrAll(fd int, attr uint64, userns int) error {
	return setAttr(fd, attr, userns, unix.AT_RECURSIVE)
}

func setAttr(fd int, attr uint64, userns int, recursive uint) error {
	set := unix.MountAttr{Attr_set: attr}
	if attr&NoAtime != 0 {
		set.Attr_clr = unix.MOUNT_ATTR__ATIME // else it is no valid choice of one of these
	}
	if userns >= 0 {
		set.Attr_set |= unix.MOUNT_ATTR_IDMAP
		set.Userns_fd = uint64(userns)
	}
	if err := unix.MountSetattr(fd, "", unix.AT_EMPTY_PATH|recursive, &set); err != nil {
		return fmt.Errorf("mount attributes: %w", err)
	}
	return nil
}

// Attach attaches a detached mount at a directory.
func Attach(fd int, path string) error {
	if err := unix.MoveMount(fd, "", unix.AT_FDCWD, path, unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
		return fmt.Errorf("mount %s: %w", path, err)
	}
	return nil
}

// source is what the first column of /proc/mounts shows: nothing of the host.
const source = "source=vserver"

func procFD(fd int) string { return fmt.Sprintf("/proc/self/fd/%d", fd) }

// Reconfigure gives the file system of the mount that fd is in other options: all that it
// has, for some take those that are not named for their defaults.
func Reconfigure(fd int, fstype string, options ...string) error {
	fs, err := unix.Fspick(fd, "", unix.FSPICK_CLOEXEC|unix.FSPICK_EMPTY_PATH)
	if err != nil {
		return fmt.Errorf("file system %s: %w", fstype, err)
	}
	defer unix.Close(fs)
	for _, o := range options {
		key, value, _ := strings.Cut(o, "=")
		if err := unix.FsconfigSetString(fs, key, value); err != nil {
			return explain(fs, fmt.Sprintf("%s option %s", fstype, o), err)
		}
	}
	if err := unix.FsconfigReconfigure(fs); err != nil {
		return explain(fs, "options of "+fstype, err)
	}
	return nil
}

// CharDevice makes a character device that everybody may use in the directory that fd
// is, owned by uid.
func CharDevice(fd int, name string, major, minor uint32, uid int) error {
	const mode = 0o666
	if err := unix.Mknodat(fd, name, unix.S_IFCHR|mode, int(unix.Mkdev(major, minor))); err != nil {
		return fmt.Errorf("mknod %s: %w", name, err)
	}
	// The mask of the caller must not narrow what the guest gets.
	if err := unix.Fchmodat(fd, name, mode, 0); err != nil {
		return fmt.Errorf("chmod %s: %w", name, err)
	}
	return chown(fd, name, uid)
}

// Mkdir makes a directory in the directory that fd is, owned by uid.
func Mkdir(fd int, name string, mode uint32, uid int) error {
	if err := unix.Mkdirat(fd, name, mode); err != nil {
		return fmt.Errorf("mkdir %s: %w", name, err)
	}
	if err := unix.Fchmodat(fd, name, mode, 0); err != nil {
		return fmt.Errorf("chmod %s: %w", name, err)
	}
	return chown(fd, name, uid)
}

// File makes a file with this text, for all to read, in the directory that fd is,
// owned by uid.
func File(fd int, name, text string, uid int) error {
	const mode = 0o444
	f, err := unix.Openat(fd, name, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_CLOEXEC, mode)
	if err != nil {
		return fmt.Errorf("create %s: %w", name, err)
	}
	defer unix.Close(f)
	if _, err := unix.Write(f, []byte(text)); err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	if err := unix.Fchmod(f, mode); err != nil {
		return fmt.Errorf("chmod %s: %w", name, err)
	}
	return chown(fd, name, uid)
}

// Symlink makes a symbolic link in the directory that fd is, owned by uid.
func Symlink(fd int, target, name string, uid int) error {
	if err := unix.Symlinkat(target, fd, name); err != nil {
		return fmt.Errorf("symlink %s: %w", name, err)
	}
	return chown(fd, name, uid)
}

func chown(fd int, name string, uid int) error {
	if err := unix.Fchownat(fd, name, uid, uid, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return fmt.Errorf("chown %s: %w", name, err)
	}
	return nil
}
