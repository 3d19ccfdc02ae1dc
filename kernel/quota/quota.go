package quota

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Kind is what a quota counts by.
type Kind int

// The kinds of quotas, as quotactl(2) numbers them.
const (
	User    Kind = 0
	Group   Kind = 1
	Project Kind = 2
)

// String is the kind's word.
func (k Kind) String() string { return [...]string{"user", "group", "project"}[k] }

// Limits bound what an id may have. 0 is no limit. Above a soft limit one may be for a
// time of grace, above a hard one never.
type Limits struct {
	Space, SoftSpace   uint64 // bytes; kernels keep them in units of 1024
	Inodes, SoftInodes uint64
}

// Record is what is known of an id.
type Record struct {
	ID uint32
	Limits
	UsedSpace, UsedInodes uint64 // bytes; files of all types
	// SpaceGrace and InodesGrace are when the time of grace ends, in seconds since 1970;
	// 0 below the soft limit.
	SpaceGrace, InodesGrace uint64
}

// Commands of quotactl(2), linux/quota.h and linux/dqblk_xfs.h.
const (
	CmdGet  = 0x800007 // Q_GETQUOTA
	CmdSet  = 0x800008 // Q_SETQUOTA
	CmdNext = 0x800009 // Q_GETNEXTQUOTA

	cmdState   = 'X'<<8 + 8 // Q_XGETQSTATV
	setLimits  = 1 | 4      // QIF_BLIMITS, QIF_ILIMITS
	block      = 1024       // QIF_DQBLKSIZE
	stateFirst = 1          // FS_QSTATV_VERSION1
)

// dqblk is struct if_nextdqblk, which begins as struct if_dqblk does.
type dqblk struct {
	spaceHard, spaceSoft, space    uint64
	inodesHard, inodesSoft, inodes uint64
	spaceTime, inodesTime          uint64
	valid, id                      uint32
}

// BlockSize is the size of what callers of CmdGet and CmdSet have memory for, struct
// if_dqblk, in bytes.
const BlockSize = 72

// Syscall is the number of quotactl_fd(2).
const Syscall = unix.SYS_QUOTACTL_FD

// Bytes gives the record as the kernel writes it for CmdGet, or with its id for CmdNext.
func (r Record) Bytes(next bool) []byte {
	const all = 0x3f // QIF_ALL
	var out []byte
	for _, n := range []uint64{blocks(r.Space), blocks(r.SoftSpace), r.UsedSpace, r.Inodes, r.SoftInodes, r.UsedInodes,
		r.SpaceGrace, r.InodesGrace} {
		out = binary.NativeEndian.AppendUint64(out, n)
	}
	out = binary.NativeEndian.AppendUint32(out, all)
	id := uint32(0)
	if next {
		id = r.ID
	}
	return binary.NativeEndian.AppendUint32(out, id)
}

// ParseLimits reads what a caller of CmdSet wants to set: soft and hard limit of space in
// bytes, and of inodes; nil is what stays. The error is unix.EPERM for what is no limit:
// what is used, and times of grace.
func ParseLimits(b []byte) (space, inodes *[2]uint64, err error) {
	if len(b) != BlockSize {
		return nil, nil, unix.EINVAL
	}
	at := func(i int) uint64 { return binary.NativeEndian.Uint64(b[8*i:]) }
	valid := binary.NativeEndian.Uint32(b[64:])
	if valid&^setLimits != 0 {
		return nil, nil, unix.EPERM
	}
	if valid&1 != 0 {
		const most = 1<<63/block - 1
		space = &[2]uint64{min(at(1), most) * block, min(at(0), most) * block}
	}
	if valid&4 != 0 {
		inodes = &[2]uint64{min(at(4), 1<<63-1), min(at(3), 1<<63-1)}
	}
	return space, inodes, nil
}

// statv is struct fs_quota_statv.
type statv struct {
	version, _ uint8
	flags      uint16
	_          uint32
	files      [3][3]uint64
	times      [3]int32
	warnings   [4]uint16
	_          uint32
	_          [7]uint64
}

// control calls quotactl_fd for a directory's file system.
func control(dir *os.File, cmd int, k Kind, id uint32, addr unsafe.Pointer) error {
	for {
		_, _, no := unix.Syscall6(unix.SYS_QUOTACTL_FD, dir.Fd(), uintptr(cmd<<8|int(k)), uintptr(id), uintptr(addr), 0, 0)
		if no == 0 {
			return nil
		}
		if no != unix.EINTR {
			return no
		}
	}
}

// Get tells what is known of an id. An id that never had a file or a limit has zeros.
func Get(dir *os.File, k Kind, id uint32) (Record, error) {
	var b dqblk
	err := control(dir, CmdGet, k, id, unsafe.Pointer(&b))
	if errors.Is(err, unix.ENOENT) { // XFS, of an id without any
		return Record{ID: id}, nil
	}
	b.id = id
	return b.record(), fault("read", dir, k, id, err)
}

// Next tells what is known of the first id from id on that has a file or a limit.
// ENOENT says that there is none.
func Next(dir *os.File, k Kind, id uint32) (Record, error) {
	var b dqblk
	err := control(dir, CmdNext, k, id, unsafe.Pointer(&b))
	return b.record(), fault("read", dir, k, id, err)
}

// Set sets the limits of an id. They hold at once; one that is below what is used lets
// nothing be added.
func Set(dir *os.File, k Kind, id uint32, l Limits) error {
	b := dqblk{
		spaceHard: blocks(l.Space), spaceSoft: blocks(l.SoftSpace),
		inodesHard: l.Inodes, inodesSoft: l.SoftInodes, valid: setLimits,
	}
	return fault("set", dir, k, id, control(dir, CmdSet, k, id, unsafe.Pointer(&b)))
}

// State tells whether use is counted and limits are enforced. A file system without
// quotas of the kind has neither, and is no error.
func State(dir *os.File, k Kind) (counted, enforced bool, err error) {
	s := statv{version: stateFirst}
	err = control(dir, cmdState, k, 0, unsafe.Pointer(&s))
	switch {
	case errors.Is(err, unix.ENOSYS), errors.Is(err, unix.ESRCH), errors.Is(err, unix.EOPNOTSUPP), errors.Is(err, unix.ENOTTY):
		return false, false, nil
	case err != nil:
		return false, false, fmt.Errorf("state of %s quota %s: %w", k, dir.Name(), err)
	}
	// FS_QUOTA_UDQ_ACCT is bit 0, FS_QUOTA_UDQ_ENFD bit 1; groups and projects follow.
	bits := s.flags >> (2 * k)
	return bits&1 != 0, bits&2 != 0, nil
}

func (b *dqblk) record() Record {
	return Record{
		ID: b.id,
		Limits: Limits{
			Space: b.spaceHard * block, SoftSpace: b.spaceSoft * block,
			Inodes: b.inodesHard, SoftInodes: b.inodesSoft,
		},
		UsedSpace: b.space, UsedInodes: b.inodes,
		SpaceGrace: b.spaceTime, InodesGrace: b.inodesTime,
	}
}

// blocks rounds up: a limit must not become none.
func blocks(bytes uint64) uint64 {
	n := bytes / block
	if bytes%block != 0 {
		n++
	}
	return n
}

func fault(op string, dir *os.File, k Kind, id uint32, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s quota of %s %d on %s: %w", op, k, id, dir.Name(), err)
}
