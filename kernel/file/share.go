package file

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Item is an entry of a directory as a list of it shows it.
type Item struct {
	Name string
	Ino  uint64
	Type uint32 // as Stat.Type; 0 where the file system's lists do not tell
}

// Items lists the directory without looking at its entries, some hundred thousand of which
// are told in a moment.
func Items(d *Dir) (out []Item, err error) {
	again, err := d.Again() // with a position of its own
	if err != nil {
		return nil, err
	}
	defer again.Close()
	buf := make([]byte, 1<<16)
	for {
		n := 0
		err := retry(func() (err error) {
			n, err = unix.ReadDirent(again.fd, buf)
			return err
		})
		if err != nil || n <= 0 {
			return out, d.fault("read directory", "", err)
		}
		out = items(out, buf[:n])
	}
}

// items reads what getdents64(2) wrote: records of a number (8 bytes), a position (8),
// the record's length (2), a type (1) and a name that ends with 0.
func items(out []Item, b []byte) []Item {
	const head = 19
	for len(b) > head {
		size := int(binary.NativeEndian.Uint16(b[16:]))
		if size <= head || size > len(b) {
			return out
		}
		name, _, _ := bytes.Cut(b[head:size], []byte{0})
		if n := string(name); n != "." && n != ".." {
			out = append(out, Item{n, binary.NativeEndian.Uint64(b), uint32(b[18]) << 12})
		}
		b = b[size:]
	}
	return out
}

// ErrUnlike says that two files differ that were to have their blocks in common.
var ErrUnlike = errors.New("contents differ")

// Dedupe gives an open file the blocks of another whose first n bytes are its own: the
// kernel compares them while nobody can write. The times of both stay. It gives ErrUnlike
// where they differ, and an error that Unshared tells of on a file system that cannot.
func Dedupe(from, to *os.File, n int64) error {
	const most = 16 << 20 // btrfs does no more in a call
	for at := int64(0); at < n; {
		r := unix.FileDedupeRange{
			Src_offset: uint64(at), Src_length: uint64(min(n-at, most)),
			Info: []unix.FileDedupeRangeInfo{{Dest_fd: int64(to.Fd()), Dest_offset: uint64(at)}},
		}
		err := retry(func() error { return unix.IoctlFileDedupeRange(int(from.Fd()), &r) })
		if done := r.Info[0]; err == nil && done.Status < 0 {
			err = unix.Errno(-done.Status)
		} else if err == nil && (done.Status == unix.FILE_DEDUPE_RANGE_DIFFERS || done.Bytes_deduped == 0) {
			err = ErrUnlike
		}
		if err != nil {
			return &os.PathError{Op: "dedupe", Path: to.Name(), Err: err}
		}
		at += int64(r.Info[0].Bytes_deduped)
	}
	return nil
}

// Reflink gives dst all blocks of src, and no others: the disk has them once.
func Reflink(dst, src *os.File) error {
	err := retry(func() error { return unix.IoctlFileClone(int(dst.Fd()), int(src.Fd())) })
	if err != nil {
		return &os.PathError{Op: "reflink", Path: dst.Name(), Err: err}
	}
	return nil
}

// Unshared tells whether an error of Dedupe or Reflink says that these file systems have
// no blocks in common.
func Unshared(err error) bool {
	return errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.ENOTTY) || errors.Is(err, unix.EXDEV) || errors.Is(err, unix.EINVAL)
}

// The layout of FS_IOC_FIEMAP (linux/fiemap.h): the head says from where and how much, and
// how many extents there is room for.
type fiemap struct {
	start, length          uint64
	flags, mapped, room, _ uint32
	extents                [32]fiemapExtent
}

type fiemapExtent struct {
	logical, physical, length uint64
	_                         [2]uint64
	flags                     uint32
	_                         [3]uint32
}

const (
	fsIocFiemap  = 0xc020660b // _IOWR('f', 11, struct fiemap), whose head alone is counted
	extentLast   = 0x1
	extentShared = 0x2000
)

// Shares tells whether a file has blocks that other files have as well, by reflinks.
func Shares(f *os.File) (bool, error) {
	for at := uint64(0); ; {
		m := fiemap{start: at, length: ^uint64(0) - at}
		m.room = uint32(len(m.extents))
		err := retry(func() error {
			_, _, errno := unix.Syscall(unix.SYS_IOCTL, f.Fd(), fsIocFiemap, uintptr(unsafe.Pointer(&m)))
			if errno != 0 {
				return errno
			}
			return nil
		})
		if err != nil {
			return false, &os.PathError{Op: "fiemap", Path: f.Name(), Err: err}
		}
		for _, e := range m.extents[:min(m.mapped, m.room)] {
			if e.flags&extentShared != 0 {
				return true, nil
			}
			if at = e.logical + e.length; e.flags&extentLast != 0 {
				return false, nil
			}
		}
		if m.mapped == 0 {
			return false, nil
		}
	}
}

// SameDevice tells whether files can be renamed and linked between two directories, as far
// as their device tells.
func SameDevice(a, b os.FileInfo) bool {
	x, ok1 := a.Sys().(*syscall.Stat_t)
	y, ok2 := b.Sys().(*syscall.Stat_t)
	return ok1 && ok2 && x.Dev == y.Dev
}
