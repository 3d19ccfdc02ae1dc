package quota

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Requests of ioctl(2), linux/btrfs.h.
const (
	subvolCreate = 0x5000940e // BTRFS_IOC_SUBVOL_CREATE
	snapCreate   = 0x50009417 // BTRFS_IOC_SNAP_CREATE_V2
	treeSearch   = 0xd0009411 // BTRFS_IOC_TREE_SEARCH
	inoLookup    = 0xd0009412 // BTRFS_IOC_INO_LOOKUP
	quotaCtl     = 0xc0109428 // BTRFS_IOC_QUOTA_CTL
	qgroupCreate = 0x4010942a // BTRFS_IOC_QGROUP_CREATE
	qgroupLimit  = 0x8030942b // BTRFS_IOC_QGROUP_LIMIT
)

// Objects and keys of btrfs's trees, linux/btrfs_tree.h.
const (
	subvolRoot = 256 // BTRFS_FIRST_FREE_OBJECTID: inode of a subvolume's root
	quotaTree  = 8   // BTRFS_QUOTA_TREE_OBJECTID
	infoKey    = 242 // BTRFS_QGROUP_INFO_KEY
	limitKey   = 244 // BTRFS_QGROUP_LIMIT_KEY
	byRefer    = 1   // BTRFS_QGROUP_LIMIT_MAX_RFER
)

// ErrNoGroups says that the btrfs counts by no qgroups: its quotas are not enabled.
var ErrNoGroups = errors.New("quotas of this btrfs are not enabled")

// Btrfs tells whether the directory is on a btrfs.
func Btrfs(dir *os.File) (bool, error) {
	var st unix.Statfs_t
	if err := unix.Fstatfs(int(dir.Fd()), &st); err != nil {
		return false, &os.PathError{Op: "statfs", Path: dir.Name(), Err: err}
	}
	return uint32(st.Type) == unix.BTRFS_SUPER_MAGIC, nil // it has the sign of the machine
}

// MakeSubvolume makes a subvolume in a directory of a btrfs, with the mode that the umask
// leaves of 0777. rmdir(2) removes it when it is empty.
func MakeSubvolume(dir *os.File, name string) error {
	var args struct {
		fd   int64
		name [4088]byte
	}
	if len(name) >= len(args.name) {
		return fmt.Errorf("make subvolume %s: %w", name, unix.ENAMETOOLONG)
	}
	copy(args.name[:], name)
	return about("make subvolume", filepath.Join(dir.Name(), name), ioctl(dir, subvolCreate, unsafe.Pointer(&args)))
}

// SnapSubvolume makes a subvolume in a directory with all that the subvolume whose root src
// is holds at this moment. Its files can be changed.
func SnapSubvolume(src, dir *os.File, name string) error {
	var args struct {
		fd                 int64
		transaction, flags uint64
		_                  [4]uint64
		name               [4040]byte
	}
	if len(name) >= len(args.name) {
		return fmt.Errorf("snapshot %s: %w", src.Name(), unix.ENAMETOOLONG)
	}
	args.fd = int64(src.Fd())
	copy(args.name[:], name)
	return about("snapshot", src.Name(), ioctl(dir, snapCreate, unsafe.Pointer(&args)))
}

// Subvolume gives the number of the subvolume whose root the directory is; 0 when it is
// no root of one.
func Subvolume(dir *os.File) (uint64, error) {
	var st unix.Stat_t
	if err := unix.Fstat(int(dir.Fd()), &st); err != nil {
		return 0, &os.PathError{Op: "stat", Path: dir.Name(), Err: err}
	}
	if st.Ino != subvolRoot {
		return 0, nil
	}
	var args struct {
		tree, object uint64
		name         [4080]byte
	}
	args.object = subvolRoot
	if err := ioctl(dir, inoLookup, unsafe.Pointer(&args)); err != nil {
		return 0, about("subvolume", dir.Name(), err)
	}
	return args.tree, nil
}

// EnableGroups has the btrfs of the directory count by qgroups, as btrfs quota enable
// does; use that is there already is counted by the kernel in the background.
func EnableGroups(dir *os.File) error {
	args := struct{ cmd, status uint64 }{cmd: 1} // BTRFS_QUOTA_CTL_ENABLE
	return about("enable quotas of", dir.Name(), ioctl(dir, quotaCtl, unsafe.Pointer(&args)))
}

// SetGroup bounds the bytes that a subvolume refers to; 0 lifts the bound.
func SetGroup(dir *os.File, subvolume, space uint64) error {
	args := struct{ id, flags, refer, exclusive, reserved, reservedExclusive uint64 }{id: subvolume, flags: byRefer, refer: space}
	if space == 0 {
		args.refer = ^uint64(0) // BTRFS_QGROUP_CLEAR_VALUE
	}
	return about("limit qgroup of", dir.Name(), ioctl(dir, qgroupLimit, unsafe.Pointer(&args)))
}

// RemoveGroup removes the qgroup of a subvolume. Since Linux 6.11 it goes with the
// subvolume by itself, and is busy (EBUSY) before.
func RemoveGroup(dir *os.File, subvolume uint64) error {
	args := struct{ create, id uint64 }{id: subvolume}
	return about("remove qgroup of", dir.Name(), ioctl(dir, qgroupCreate, unsafe.Pointer(&args)))
}

// searchArgs is struct btrfs_ioctl_search_args.
type searchArgs struct {
	tree, minObject, maxObject, minOffset, maxOffset, minTransaction, maxTransaction uint64
	minType, maxType, items, _                                                       uint32
	_                                                                                [4]uint64
	found                                                                            [3992]byte
}

// GetGroup tells the bytes that a subvolume refers to, and its bound, as of the last
// commit. The other fields of the record are zero.
func GetGroup(dir *os.File, subvolume uint64) (Record, error) {
	args := searchArgs{
		tree: quotaTree, minOffset: subvolume, maxOffset: subvolume,
		maxTransaction: ^uint64(0), minType: infoKey, maxType: limitKey, items: 16,
	}
	if err := ioctl(dir, treeSearch, unsafe.Pointer(&args)); err != nil {
		return Record{}, about("qgroup of", dir.Name(), err)
	}
	r, found := parseGroup(args.found[:], args.items, subvolume)
	if !found {
		return Record{}, about("qgroup of", dir.Name(), ErrNoGroups)
	}
	return r, nil
}

// parseGroup reads the items that a search of the quota tree found.
func parseGroup(b []byte, items uint32, subvolume uint64) (r Record, found bool) {
	const header = 32 // struct btrfs_ioctl_search_header
	for range items {
		if len(b) < header {
			break
		}
		offset, kind, size := binary.NativeEndian.Uint64(b[16:]), binary.NativeEndian.Uint32(b[24:]), binary.NativeEndian.Uint32(b[28:])
		b = b[header:]
		if uint64(size) > uint64(len(b)) {
			break
		}
		item := bytes.Clone(b[:size])
		b = b[size:]
		switch {
		case offset != subvolume || len(item) < 16:
		case kind == infoKey:
			r.UsedSpace, found = binary.LittleEndian.Uint64(item[8:]), true
		case kind == limitKey && binary.LittleEndian.Uint64(item)&byRefer != 0:
			r.Space = binary.LittleEndian.Uint64(item[8:])
		}
	}
	return r, found
}

func about(op, path string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, unix.ENOTCONN), errors.Is(err, unix.ENOENT):
		err = ErrNoGroups // ENOENT of a search: there is no quota tree
	}
	return fmt.Errorf("%s %s: %w", op, path, err)
}
