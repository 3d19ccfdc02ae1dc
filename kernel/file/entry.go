package file

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"
)

// The types of a file, as in Stat.Mode.
const (
	TypeMask  = unix.S_IFMT
	TypeDir   = unix.S_IFDIR
	TypeFile  = unix.S_IFREG
	TypeLink  = unix.S_IFLNK
	TypeFIFO  = unix.S_IFIFO
	TypeSock  = unix.S_IFSOCK
	TypeChar  = unix.S_IFCHR
	TypeBlock = unix.S_IFBLK
)

// Stat is what the kernel says of a file.
type Stat struct {
	Mode      uint32 // type and permission bits, as in stat(2)
	UID, GID  uint32 // of the host
	Size      int64
	Links     uint32
	Dev, Ino  uint64
	Rdev      uint64 // of a device
	Disk      int64  // bytes that it takes of the disk
	Atime     int64  // nanoseconds since 1970
	Mtime     int64
	Ctime     int64
	MountRoot bool // something is mounted here
}

// Sparse tells whether a large file is holes for the most part. It costs its owner next to
// nothing, and may take days to read.
func (s Stat) Sparse() bool {
	const large = 1 << 20
	return s.Type() == TypeFile && s.Size > large && s.Disk < s.Size/2
}

// Type is the file's type, one of the Type constants.
func (s Stat) Type() uint32 { return s.Mode & TypeMask }

// Perm is the permission bits with set-uid, set-gid and sticky.
func (s Stat) Perm() uint32 { return s.Mode & 0o7777 }

// Whiteout says whether the file is an overlay's mark for "removed": a character
// device 0:0.
func (s Stat) Whiteout() bool { return s.Type() == TypeChar && s.Rdev == 0 }

// Stat looks at an entry, not following it.
func (d *Dir) Stat(name string) (Stat, error) {
	if err := d.check("stat", name); err != nil {
		return Stat{}, err
	}
	st, err := statx(d.fd, name, 0)
	return st, d.fault("stat", name, err)
}

// Self looks at the directory itself.
func (d *Dir) Self() (Stat, error) {
	st, err := statx(d.fd, "", unix.AT_EMPTY_PATH)
	return st, d.fault("stat", "", err)
}

func statx(fd int, name string, flags int) (Stat, error) {
	var x unix.Statx_t
	err := retry(func() error {
		return unix.Statx(fd, name, unix.AT_SYMLINK_NOFOLLOW|unix.AT_NO_AUTOMOUNT|flags, unix.STATX_BASIC_STATS, &x)
	})
	ns := func(t unix.StatxTimestamp) int64 { return t.Sec*1e9 + int64(t.Nsec) }
	return Stat{
		Mode: uint32(x.Mode), UID: x.Uid, GID: x.Gid, Size: int64(x.Size), Links: x.Nlink,
		Dev: unix.Mkdev(x.Dev_major, x.Dev_minor), Ino: x.Ino, Rdev: unix.Mkdev(x.Rdev_major, x.Rdev_minor), Disk: int64(x.Blocks) * 512,
		Atime: ns(x.Atime), Mtime: ns(x.Mtime), Ctime: ns(x.Ctime),
		MountRoot: x.Attributes&unix.STATX_ATTR_MOUNT_ROOT != 0,
	}, err
}

// Entry is a handle on one file of any type, neither opened nor followed (O_PATH):
// what is done by it is done to the very file that was looked at.
type Entry struct {
	fd   int
	path string
	read bool // it is open for reading
}

// Entry gives a handle on an entry.
func (d *Dir) Entry(name string) (*Entry, error) {
	if err := d.check("open", name); err != nil {
		return nil, err
	}
	fd, err := open(d.fd, name, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, d.fault("open", name, err)
	}
	return &Entry{fd: fd, path: filepath.Join(d.path, name)}, nil
}

// Readable gives a handle on a file that is opened for reading, which saves the way by its
// name for each thing that is asked of it. Its time of access stays. It does not wait for a
// fifo's other end; whether it is a regular file is for the caller to see.
func Readable(d *Dir, name string) (*Entry, error) {
	if err := d.check("open", name); err != nil {
		return nil, err
	}
	fd, err := quiet(d.fd, name, unix.O_NOFOLLOW|unix.O_CLOEXEC|unix.O_NONBLOCK|unix.O_NOCTTY)
	if err != nil {
		return nil, d.fault("open", name, err)
	}
	return &Entry{fd: fd, path: filepath.Join(d.path, name), read: true}, nil
}

// Read reads on in a file of Readable; 0 bytes are its end.
func (e *Entry) Read(p []byte) (n int, err error) {
	err = e.do("read", func() error {
		n, err = unix.Read(e.fd, p)
		return err
	})
	return max(n, 0), err
}

// Fd is the descriptor of a file of Readable, for calls that take one.
func (e *Entry) Fd() uintptr { return uintptr(e.fd) }

// Name is Path, as files of package os have it.
func (e *Entry) Name() string { return e.path }

// SelfEntry gives a handle on the directory itself.
func (d *Dir) SelfEntry() (*Entry, error) {
	fd, err := open(d.fd, ".", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, d.fault("open", "", err)
	}
	return &Entry{fd: fd, path: d.path}, nil
}

// KeepTimes calls do, which changes what is in a directory, whose times stay what they
// were.
func KeepTimes(d *Dir, do func(self *Entry) error) error {
	self, err := d.SelfEntry()
	if err != nil {
		return err
	}
	defer self.Close()
	was, err := self.Stat()
	if err == nil {
		err = do(self)
	}
	if err != nil {
		return err
	}
	return self.SetTimes(was.Atime, was.Mtime)
}

// Path is the path by which the file was found, for messages.
func (e *Entry) Path() string { return e.path }

// Close closes the handle.
func (e *Entry) Close() error { return unix.Close(e.fd) }

func (e *Entry) do(op string, call func() error) error {
	if err := retry(call); err != nil {
		return &os.PathError{Op: op, Path: e.path, Err: err}
	}
	return nil
}

// proc is a name of the file for calls that take no O_PATH descriptor.
func (e *Entry) proc() string { return "/proc/self/fd/" + strconv.Itoa(e.fd) }

// Stat looks at the file.
func (e *Entry) Stat() (st Stat, err error) {
	err = e.do("stat", func() error {
		st, err = statx(e.fd, "", unix.AT_EMPTY_PATH)
		return err
	})
	return st, err
}

// Chown gives the file to host ids. The kernel takes set-uid bits and file
// capabilities away; they must be set again.
func (e *Entry) Chown(uid, gid uint32) error {
	return e.do("chown", func() error {
		return unix.Fchownat(e.fd, "", int(uid), int(gid), unix.AT_EMPTY_PATH)
	})
}

// Chmod sets the permission bits. A symbolic link has none.
func (e *Entry) Chmod(perm uint32) error {
	return e.do("chmod", func() error { return unix.Fchmodat(unix.AT_FDCWD, e.proc(), perm&0o7777, 0) })
}

// SetTimes sets the times of access and change, in nanoseconds since 1970.
func (e *Entry) SetTimes(atime, mtime int64) error {
	ts := []unix.Timespec{unix.NsecToTimespec(atime), unix.NsecToTimespec(mtime)}
	return e.do("utimensat", func() error { return unix.UtimesNanoAt(unix.AT_FDCWD, e.proc(), ts, 0) })
}

// Give gives an open file to host ids, with these permission bits.
func Give(f *os.File, uid, gid, perm uint32) error {
	err := retry(func() error { return unix.Fchown(int(f.Fd()), int(uid), int(gid)) })
	if err == nil {
		err = retry(func() error { return unix.Fchmod(int(f.Fd()), perm&0o7777) })
	}
	if err != nil {
		return &os.PathError{Op: "chown", Path: f.Name(), Err: err}
	}
	return nil
}

// Xattr is one extended attribute.
type Xattr struct {
	Name  string
	Value []byte
}

// Xattrs gives all extended attributes; none where the file system has none.
func (e *Entry) Xattrs() ([]Xattr, error) {
	var list []byte
	err := e.do("listxattr", func() (err error) {
		list, err = grow(func(b []byte) (int, error) {
			if e.read {
				return unix.Flistxattr(e.fd, b)
			}
			return unix.Listxattr(e.proc(), b)
		})
		return err
	})
	if errors.Is(err, unix.ENOTSUP) {
		return nil, nil
	}
	var out []Xattr
	for name := range bytes.SplitSeq(bytes.TrimRight(list, "\x00"), []byte{0}) {
		if len(name) == 0 || err != nil {
			continue
		}
		var v []byte
		v, err = e.Xattr(string(name))
		if errors.Is(err, unix.ENODATA) { // taken away meanwhile
			err = nil
			continue
		}
		out = append(out, Xattr{string(name), v})
	}
	return out, err
}

// Xattr gives one extended attribute, or ENODATA.
func (e *Entry) Xattr(name string) (v []byte, err error) {
	err = e.do("getxattr "+name, func() error {
		v, err = grow(func(b []byte) (int, error) {
			if e.read {
				return unix.Fgetxattr(e.fd, name, b)
			}
			return unix.Getxattr(e.proc(), name, b)
		})
		return err
	})
	return v, err
}

// XattrOf is Entry.Xattr of a directory that is open.
func XattrOf(d *Dir, name string) (v []byte, err error) {
	err = retry(func() error {
		v, err = grow(func(b []byte) (int, error) { return unix.Fgetxattr(d.fd, name, b) })
		return err
	})
	return v, d.fault("getxattr "+name, "", err)
}

// SetXattr sets one extended attribute.
func (e *Entry) SetXattr(name string, value []byte) error {
	return e.do("setxattr "+name, func() error { return unix.Setxattr(e.proc(), name, value, 0) })
}

// RemoveXattr takes an attribute away; one that is not there is no error.
func (e *Entry) RemoveXattr(name string) error {
	return e.do("removexattr "+name, func() error {
		if err := unix.Removexattr(e.proc(), name); !errors.Is(err, unix.ENODATA) {
			return err
		}
		return nil
	})
}

// grow calls with a buffer that is large enough: attributes can grow between the
// asking for the size and the reading.
func grow(call func([]byte) (int, error)) ([]byte, error) {
	for size := 256; ; size *= 4 {
		b := make([]byte, size)
		n, err := call(b)
		if errors.Is(err, unix.ERANGE) && size < 1<<20 {
			continue
		}
		return b[:max(n, 0)], err
	}
}
