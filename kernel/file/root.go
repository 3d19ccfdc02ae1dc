package file

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"os"
	"path"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Root is a directory as the root of paths: no link and no ".." in one leads out of it,
// whatever is renamed meanwhile, and no link of /proc's to a process's files is followed
// (openat2(2), RESOLVE_IN_ROOT). What is mounted below is gone into.
type Root struct {
	fd   int
	path string // for messages alone
}

// OpenRoot opens a root by a path of the host's.
func OpenRoot(p string) (*Root, error) {
	d, err := OpenDir(p)
	if err != nil {
		return nil, err
	}
	return &Root{d.fd, d.path}, nil
}

// RootOf makes a root of an open directory or detached mount, which it closes.
func RootOf(fd int, name string) *Root { return &Root{fd, name} }

// Close closes the root.
func (r *Root) Close() error { return unix.Close(r.fd) }

// patience is how often a path is looked up anew that somebody renames parts of, which the
// kernel refuses with EAGAIN.
const patience = 256

func (r *Root) open(p string, flags uint64) (fd int, err error) {
	how := &unix.OpenHow{Flags: flags | unix.O_CLOEXEC, Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS}
	for range patience {
		err = retry(func() error {
			fd, err = unix.Openat2(r.fd, p, how)
			return err
		})
		if !errors.Is(err, unix.EAGAIN) {
			break
		}
	}
	if err != nil {
		return -1, &os.PathError{Op: "open", Path: p, Err: err}
	}
	return fd, nil
}

// Dir opens the directory that a path leads to.
func (r *Root) Dir(p string) (*Dir, error) {
	fd, err := r.open(p, unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return nil, err
	}
	return &Dir{fd, p}, nil
}

// Entry gives a handle on what a path leads to.
func (r *Root) Entry(p string) (*Entry, error) {
	fd, err := r.open(p, unix.O_PATH)
	if err != nil {
		return nil, err
	}
	return &Entry{fd: fd, path: p}, nil
}

// Parent opens the directory that a path's last name is in, and gives that name, which is
// not followed. A path that ends in no name, as /, . or .., gives "" and the directory that
// it leads to.
func (r *Root) Parent(p string) (*Dir, string, error) {
	p = strings.TrimRight(p, "/")
	switch name := path.Base(p); name {
	case ".", "..", "/":
		d, err := r.Dir(p + "/.")
		return d, "", err
	default:
		d, err := r.Dir(path.Dir(p))
		return d, name, err
	}
}

// Open opens the file for reading if it is a regular one, else it is EINVAL. A device or
// fifo is not even opened.
func (e *Entry) Open() (*os.File, error) {
	st, err := e.Stat()
	if err == nil && st.Type() != TypeFile {
		err = &os.PathError{Op: "open", Path: e.path, Err: unix.EINVAL}
	}
	if err != nil {
		return nil, err
	}
	fd, err := open(unix.AT_FDCWD, e.proc(), unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: e.path, Err: err}
	}
	return os.NewFile(uintptr(fd), e.path), nil
}

// EntryOf gives a handle on an open file, which is not closed with it.
func EntryOf(f *os.File) (*Entry, error) {
	fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "dup", Path: f.Name(), Err: err}
	}
	return &Entry{fd: fd, path: f.Name()}, nil
}

// May tells whether somebody whose all ids from base on are, and who may do anything with
// the files of those ids, may read or write (4, 2 and 1 as in permission bits) a file.
func (s Stat) May(base, ids, bits uint32) bool {
	return s.UID-base < ids && s.GID-base < ids || s.Mode&bits == bits
}

// Draft is a regular file that is being written and has no name yet.
type Draft struct {
	*os.File
	in   *Dir
	name string // where the file system has no files without a name
}

// Begin begins a file in a directory. Where the file system can, it has no name before
// Place gives it one, and goes with who is killed. Else (some overlays, a
// network's) note is called with the name that it is about to get meanwhile.
func Begin(d *Dir, note func(name string) error) (*Draft, error) {
	fd, err := open(d.fd, ".", unix.O_TMPFILE|unix.O_RDWR|unix.O_CLOEXEC, 0o600)
	if err == nil {
		return &Draft{os.NewFile(uintptr(fd), d.path), d, ""}, nil
	}
	if !errors.Is(err, unix.EOPNOTSUPP) && !errors.Is(err, unix.EISDIR) && !errors.Is(err, unix.EINVAL) {
		return nil, d.fault("create file in", "", err)
	}
	name := passing()
	if err := note(name); err != nil {
		return nil, err
	}
	f, err := d.Open(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	return &Draft{f, d, name}, nil
}

// Passing tells whether a name is one that Begin gives for a moment.
func Passing(name string) bool {
	return strings.HasPrefix(name, passage) && !strings.Contains(name, "/")
}

const passage = ".vserver-"

// passing is a name for a moment.
func passing() string {
	b := make([]byte, 8)
	rand.Read(b) // never fails
	return passage + hex.EncodeToString(b)
}

// Place gives the file its name, in the place of what else has it, and closes it. A
// directory is not replaced.
func (f *Draft) Place(name string) error {
	if err := f.in.check("create", name); err != nil {
		return err
	}
	if f.name == "" {
		err := f.link(name)
		if err == nil || !errors.Is(err, unix.EEXIST) {
			return errors.Join(f.in.fault("create", name, err), f.File.Close())
		}
		temp := passing()
		if err = f.link(temp); err != nil {
			return errors.Join(f.in.fault("create", temp, err), f.File.Close())
		}
		f.name = temp
	}
	if err := f.in.Rename(f.name, f.in, name); err != nil {
		return errors.Join(err, f.Discard())
	}
	f.name = ""
	return f.File.Close()
}

func (f *Draft) link(name string) error {
	return retry(func() error {
		return unix.Linkat(unix.AT_FDCWD, "/proc/self/fd/"+strconv.Itoa(int(f.Fd())), f.in.fd, name, unix.AT_SYMLINK_FOLLOW)
	})
}

// Discard gives the file up. After Place it does nothing.
func (f *Draft) Discard() error {
	err := f.File.Close()
	if errors.Is(err, os.ErrClosed) {
		err = nil
	}
	if f.name != "" {
		err = errors.Join(f.in.Unlink(f.name), err)
		f.name = ""
	}
	return err
}

// Put makes an entry of a directory by a name for a moment and gives it its own then, in the place of what
// else has that and is no directory. make is called with the name for the moment.
func Put(d *Dir, name string, make func(temp string) error) error {
	temp := passing()
	err := make(temp)
	if err == nil {
		err = d.Rename(temp, d, name)
	}
	if err != nil {
		if gone := d.Unlink(temp); gone != nil && !errors.Is(gone, unix.ENOENT) {
			err = errors.Join(err, gone)
		}
	}
	return err
}
