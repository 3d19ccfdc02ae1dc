// Package file is the door to the kernel for files: handles on directories and their
// entries that no hostile tree can lead astray, extended attributes, locks.
//
//house:allow handles on files, one way each to look at them, write and share them
package file

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// Dir is an open directory whose content may be hostile. Its methods take the name
// of one entry, never a path, and follow no symbolic link; so whatever a guest does
// with its tree meanwhile, they stay in this directory. Paths of the host's own are
// opened by OpenDir, all below by Dir.Dir.
type Dir struct {
	fd   int
	path string // for messages alone
}

// OpenDir opens a directory of the host's, following symbolic links.
func OpenDir(path string) (*Dir, error) {
	fd, err := quiet(unix.AT_FDCWD, path, unix.O_DIRECTORY|unix.O_CLOEXEC)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	return &Dir{fd, path}, nil
}

// DirOf makes a Dir of an open directory, which it closes. name is for messages alone.
func DirOf(fd int, name string) *Dir { return &Dir{fd, name} }

// Again opens the same directory once more.
func (d *Dir) Again() (*Dir, error) {
	fd, err := quiet(d.fd, ".", unix.O_DIRECTORY|unix.O_CLOEXEC)
	if err != nil {
		return nil, d.fault("open", "", err)
	}
	return &Dir{fd, d.path}, nil
}

// File opens the same directory as a file of package os, for calls that take one.
func (d *Dir) File() (*os.File, error) {
	again, err := d.Again()
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(again.fd), d.path), nil
}

// Path is the path by which the directory was opened, for messages.
func (d *Dir) Path() string { return d.path }

// Close closes the descriptor.
func (d *Dir) Close() error { return unix.Close(d.fd) }

// check refuses what is not the name of an entry.
func (d *Dir) check(op, name string) error {
	if name == "" || name == "." || name == ".." || strings.ContainsAny(name, "/\x00") {
		return d.fault(op, name, unix.EINVAL)
	}
	return nil
}

func (d *Dir) fault(op, name string, err error) error {
	if err == nil {
		return nil
	}
	return &os.PathError{Op: op, Path: filepath.Join(d.path, name), Err: err}
}

// at runs one system call on an entry, again when a signal came between.
func (d *Dir) at(op, name string, call func() error) error {
	if err := d.check(op, name); err != nil {
		return err
	}
	return d.fault(op, name, retry(call))
}

func retry(call func() error) error {
	for {
		if err := call(); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

func open(dirfd int, name string, flags int, perm uint32) (fd int, err error) {
	err = retry(func() (err error) {
		fd, err = unix.Openat(dirfd, name, flags, perm)
		return err
	})
	return fd, err
}

// quiet is open for reading; the time of the last access stays, where the kernel lets us
// say so.
func quiet(dirfd int, name string, flags int) (fd int, err error) {
	fd, err = open(dirfd, name, flags|unix.O_RDONLY|unix.O_NOATIME, 0)
	if errors.Is(err, unix.EPERM) { // of somebody else's file, and we are not root
		fd, err = open(dirfd, name, flags|unix.O_RDONLY, 0)
	}
	return fd, err
}

// Dir opens a directory in d.
func (d *Dir) Dir(name string) (*Dir, error) {
	if err := d.check("open", name); err != nil {
		return nil, err
	}
	fd, err := quiet(d.fd, name, unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC)
	if err != nil {
		return nil, d.fault("open", name, err)
	}
	return &Dir{fd, filepath.Join(d.path, name)}, nil
}

// Parent opens the directory of a path below d, and gives the path's last name. It goes
// through directories alone.
func (d *Dir) Parent(p string) (*Dir, string, error) {
	at, err := d.Again()
	if err != nil {
		return nil, "", err
	}
	names := strings.Split(strings.Trim(p, "/"), "/")
	for _, n := range names[:len(names)-1] {
		next, err := at.Dir(n)
		at.Close()
		if err != nil {
			return nil, "", err
		}
		at = next
	}
	return at, names[len(names)-1], nil
}

// Open opens a regular file in d; flags are those of package os. Opening does not
// wait for a fifo's other end, and anything that is no regular file is refused with
// EINVAL. Reading alone leaves the time of the last access.
func (d *Dir) Open(name string, flags int, perm os.FileMode) (*os.File, error) {
	if err := d.check("open", name); err != nil {
		return nil, err
	}
	const how = unix.O_NOFOLLOW | unix.O_CLOEXEC | unix.O_NONBLOCK | unix.O_NOCTTY
	fd, err := -1, error(nil)
	if flags == os.O_RDONLY {
		fd, err = quiet(d.fd, name, how)
	} else {
		fd, err = open(d.fd, name, flags|how, uint32(perm.Perm()))
	}
	if err != nil {
		return nil, d.fault("open", name, err)
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil || st.Mode&unix.S_IFMT != unix.S_IFREG {
		unix.Close(fd)
		return nil, d.fault("open", name, errors.Join(err, fmt.Errorf("not a regular file: %w", unix.EINVAL)))
	}
	return os.NewFile(uintptr(fd), filepath.Join(d.path, name)), nil
}

// Read gives the content of a regular file of at most max bytes; a larger one gives
// EFBIG.
func (d *Dir) Read(name string, max int64) ([]byte, error) {
	f, err := d.Open(name, os.O_RDONLY, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, max+1))
	if err == nil && int64(len(b)) > max {
		err = d.fault("read", name, unix.EFBIG)
	}
	return b, err
}

// Names lists the entries, in the directory's own order.
func (d *Dir) Names() ([]string, error) {
	again, err := d.Again() // with a position of its own
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(again.fd), d.path)
	defer f.Close()
	return f.Readdirnames(-1)
}

// Mkdir makes a directory with exactly these permission bits, whatever the umask.
func (d *Dir) Mkdir(name string, perm uint32) error {
	return d.at("mkdir", name, func() error {
		if err := unix.Mkdirat(d.fd, name, perm&0o7777); err != nil {
			return err
		}
		return unix.Fchmodat(d.fd, name, perm&0o7777, 0)
	})
}

// Symlink makes a symbolic link.
func (d *Dir) Symlink(target, name string) error {
	return d.at("symlink", name, func() error { return unix.Symlinkat(target, d.fd, name) })
}

// Readlink reads a symbolic link.
func (d *Dir) Readlink(name string) (string, error) {
	buf := make([]byte, unix.PathMax)
	n := 0
	err := d.at("readlink", name, func() (err error) {
		n, err = unix.Readlinkat(d.fd, name, buf)
		return err
	})
	return string(buf[:max(n, 0)]), err
}

// Link makes toName in to another name of the entry, a symbolic link being linked
// itself.
func (d *Dir) Link(name string, to *Dir, toName string) error {
	if err := to.check("link", toName); err != nil {
		return err
	}
	return d.at("link", name, func() error { return unix.Linkat(d.fd, name, to.fd, toName, 0) })
}

// Mknod makes a fifo, socket or device; mode has the type (S_IFIFO, S_IFCHR …) and
// the permission bits, which the umask lessens. An overlay's whiteout is a character
// device 0:0.
func (d *Dir) Mknod(name string, mode uint32, dev uint64) error {
	return d.at("mknod", name, func() error { return unix.Mknodat(d.fd, name, mode, int(dev)) })
}

// Unlink removes an entry that is no directory.
func (d *Dir) Unlink(name string) error {
	return d.at("unlink", name, func() error { return unix.Unlinkat(d.fd, name, 0) })
}

// Rmdir removes an empty directory.
func (d *Dir) Rmdir(name string) error {
	return d.at("rmdir", name, func() error { return unix.Unlinkat(d.fd, name, unix.AT_REMOVEDIR) })
}

// Rename moves an entry, replacing what is there as rename(2) does.
func (d *Dir) Rename(name string, to *Dir, toName string) error {
	if err := to.check("rename", toName); err != nil {
		return err
	}
	return d.at("rename", name, func() error { return unix.Renameat(d.fd, name, to.fd, toName) })
}

// SetTimes sets the times of access and change, in nanoseconds since 1970.
func (d *Dir) SetTimes(name string, atime, mtime int64) error {
	ts := []unix.Timespec{unix.NsecToTimespec(atime), unix.NsecToTimespec(mtime)}
	return d.at("utimensat", name, func() error {
		return unix.UtimesNanoAt(d.fd, name, ts, unix.AT_SYMLINK_NOFOLLOW)
	})
}

// Exists tells whether there is something at path; a link counts, wherever it leads.
func Exists(path string) (bool, error) {
	_, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// Descend makes the directory at path the working directory of this process, with the
// working directory as the root of that path: no link and no ".." leads out of it.
func Descend(path string) error {
	fd, err := inside(path, unix.O_DIRECTORY)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return os.NewSyscallError("chdir "+path, unix.Fchdir(fd))
}

// Inside opens what is at path, for no use but as a place, with the working directory as
// the root of that path.
func Inside(path string) (*os.File, error) {
	fd, err := inside(path, 0)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), path), nil
}

func inside(path string, flags uint64) (fd int, err error) {
	how := &unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC | flags, Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS}
	err = retry(func() error {
		fd, err = unix.Openat2(unix.AT_FDCWD, path, how)
		return err
	})
	return fd, os.NewSyscallError("open "+path, err)
}
