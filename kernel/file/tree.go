package file

import (
	"errors"
	"io"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// deepest is how many directories RemoveAll holds open at once. What lies deeper is
// first moved up, so that no tree is too deep for it.
const deepest = 100

// RemoveAll removes an entry with all that is below it, follows nothing, and does not
// cross a mount: it gives EBUSY then and leaves what is mounted alone. An entry that
// is not there is no error. It must be called in a directory that only root can
// write.
func (d *Dir) RemoveAll(name string) error {
	r := remover{top: d}
	err := r.entry(d, name, 0)
	for i := 0; i < r.moved && err == nil; i++ {
		err = r.entry(d, r.name(i), 0)
	}
	return err
}

type remover struct {
	top   *Dir
	moved int // directories moved up so far
}

// name is where the i-th too deep directory was moved.
func (r *remover) name(i int) string {
	return ".deep-" + strconv.Itoa(os.Getpid()) + "-" + strconv.Itoa(i)
}

func (r *remover) entry(d *Dir, name string, depth int) error {
	err := d.Unlink(name)
	if err == nil || errors.Is(err, unix.ENOENT) {
		return nil
	}
	if errors.Is(err, unix.EROFS) {
		if _, gone := d.Stat(name); errors.Is(gone, unix.ENOENT) {
			return nil
		}
	}
	if !errors.Is(err, unix.EISDIR) {
		return err
	}
	if err := d.Rmdir(name); err == nil || !errors.Is(err, unix.ENOTEMPTY) && !errors.Is(err, unix.EEXIST) {
		return err
	}
	if depth == deepest {
		to := r.name(r.moved)
		r.moved++
		return d.Rename(name, r.top, to)
	}
	st, err := d.Stat(name)
	if err != nil {
		return err
	}
	if st.MountRoot {
		return d.fault("remove", name, unix.EBUSY)
	}
	sub, err := d.Dir(name)
	if err != nil {
		return err
	}
	defer sub.Close()
	names, err := sub.Names()
	for _, n := range names {
		err = errors.Join(err, r.entry(sub, n, depth+1))
	}
	if err != nil {
		return err
	}
	return d.Rmdir(name)
}

// CopyData copies a regular file's content, sharing blocks where the file system can
// (btrfs, XFS) and keeping holes.
func CopyData(dst, src *os.File) error {
	return CopyDataTold(dst, src, func(int64) error { return nil })
}

// part is how much is copied between two calls of tell: some milliseconds' worth.
const part = 4 << 20

// CopyDataTold is CopyData that calls tell with each number of bytes copied, holes not
// counted, and ends with its error.
func CopyDataTold(dst, src *os.File, tell func(n int64) error) error {
	st, err := src.Stat()
	if err != nil {
		return err
	}
	if unix.IoctlFileClone(int(dst.Fd()), int(src.Fd())) == nil {
		return tell(st.Size())
	}
	for at := int64(0); at < st.Size(); {
		from, err := src.Seek(at, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) {
			break // a hole to the end
		}
		if err != nil {
			return err
		}
		to, err := src.Seek(from, unix.SEEK_HOLE)
		if err != nil {
			return err
		}
		for at = from; at < to; {
			n := min(to-at, part)
			if err := copyRange(dst, src, at, n); err != nil {
				return err
			}
			if err := tell(n); err != nil {
				return err
			}
			at += n
		}
	}
	return dst.Truncate(st.Size())
}

func copyRange(dst, src *os.File, from, n int64) error {
	if _, err := src.Seek(from, io.SeekStart); err != nil {
		return err
	}
	if _, err := dst.Seek(from, io.SeekStart); err != nil {
		return err
	}
	_, err := io.CopyN(dst, src, n)
	if errors.Is(err, io.EOF) {
		return nil // the file became shorter meanwhile
	}
	return err
}

// SyncAll writes everything of the file system that holds the directory to the disk.
func SyncAll(d *Dir) error {
	return d.fault("syncfs", "", retry(func() error { return unix.Syncfs(d.fd) }))
}

// Ordered tells whether an fsync of what was changed last takes all earlier changes of names
// on its file system to the disk: so it is with ext4's journal, which writes them in one go.
// Contents of files do not go with them (the blocks of a new file are noted as not written
// yet until they are): those are waited for before, by Settle or Land. It is what a few
// small files need, where SyncAll would wait for everything that others are writing.
func Ordered(d *Dir) bool {
	var st unix.Statfs_t
	err := retry(func() error { return unix.Fstatfs(d.fd, &st) })
	return err == nil && st.Type == unix.EXT4_SUPER_MAGIC
}

// Flush begins to write a file's content to the disk, and gives it its place there.
func Flush(f *os.File) error { return syncRange(f, unix.SYNC_FILE_RANGE_WRITE) }

func syncRange(f *os.File, how int) error {
	err := retry(func() error { return unix.SyncFileRange(int(f.Fd()), 0, 0, how) })
	if err != nil {
		return &os.PathError{Op: "sync_file_range", Path: f.Name(), Err: err}
	}
	return nil
}

// Settle makes sure that a rename of what the file is in does not reach the disk before
// the file's content does.
func Settle(f *os.File) error {
	var st unix.Statfs_t
	if err := retry(func() error { return unix.Fstatfs(int(f.Fd()), &st) }); err == nil && st.Type == unix.EXT4_SUPER_MAGIC {
		return syncRange(f, unix.SYNC_FILE_RANGE_WAIT_BEFORE|unix.SYNC_FILE_RANGE_WRITE|unix.SYNC_FILE_RANGE_WAIT_AFTER)
	}
	return f.Sync()
}

// Land is Settle for all files of a tree. Those that Flush was called for are on their way
// together.
func Land(d *Dir) error {
	list, err := Items(d)
	if err != nil {
		return err
	}
	for _, it := range list {
		st, err := d.Stat(it.Name)
		if err == nil {
			err = d.land(it.Name, st.Type())
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (d *Dir) land(name string, kind uint32) error {
	switch kind {
	case TypeDir:
		sub, err := d.Dir(name)
		if err != nil {
			return err
		}
		return errors.Join(Land(sub), sub.Close())
	case TypeFile:
		f, err := d.Open(name, os.O_RDONLY, 0)
		if err != nil {
			return err
		}
		return errors.Join(Settle(f), f.Close())
	}
	return nil
}

// Exchange gives each of two files or directories the other's path, in one go.
func Exchange(a, b string) error {
	err := retry(func() error { return unix.Renameat2(unix.AT_FDCWD, a, unix.AT_FDCWD, b, unix.RENAME_EXCHANGE) })
	if err != nil {
		return &os.LinkError{Op: "exchange", Old: a, New: b, Err: err}
	}
	return nil
}

// Sync writes the directory's own entries to the disk.
func Sync(d *Dir) error {
	return d.fault("fsync", "", retry(func() error { return unix.Fsync(d.fd) }))
}
