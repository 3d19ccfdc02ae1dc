// Package quota bounds what a guest's own files take of the disk, in bytes and in number,
// and what its users may take of that.
//
// A guest's own files lie in one directory of the host's: the private layers of an overlay,
// or a plain root. Trees that it shares with others are not counted. What the directory's
// file system offers is what counts it:
//
//	project  ext4, XFS   the directory is in a project of the guest's (guest.XID.Project),
//	                     and all that is ever made in it; df inside tells the limits
//	qgroup   btrfs       the directory is a subvolume; bytes alone, df tells the whole disk
//	image    others      see quota/sized: a file system of that size; not on a tmpfs
//
// The directory is put into its project, or made a subvolume, when the guest is built, be
// there a limit or not: so use is known from the first file on, a limit is one system call
// at any time, whatever the number of files, and a start needs to do nothing at all about
// it. Limits are kept by the file system and hold at once. Nothing is ever counted by
// looking at files. A guest whose files were copied to another disk by other means is put
// into its project again by Adopt.
//
// Users and groups of a guest have ids of their own on the host, so the quotas that ext4
// and XFS have for those are the guest's quotas inside. They too are kept by the file
// system alone.
//
// What a guest may not do is leave its project: changing it takes rights over the whole
// machine, and the way round that an overlay opens is closed by kernel/seccomp.
package quota

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"syscall"

	"vserver/fault"
	"vserver/guest"
	"vserver/kernel/quota"
	"vserver/quota/sized"
)

// The ways in which a file system counts a guest's own files, as guest.DiskStatus.By.
const (
	ByProject = "project"
	ByQgroup  = "qgroup"
	ByImage   = "image"
)

// Area is the directory with the own files of a guest.
type Area struct {
	dir       *os.File
	project   uint32
	by        string // "" when nothing counts it
	strange   bool   // its file system knows projects, but it is not in that of the guest
	subvolume uint64
	image     *sized.Disk // of ByImage
}

// Make makes the directory for the own files of guest x, with mode 0700, in a way that
// lets them be counted if the file system can.
func Make(path string, x guest.XID) error {
	parent, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer parent.Close()
	btrfs, err := quota.Btrfs(parent)
	if err != nil {
		return err
	}
	if btrfs {
		if err := quota.MakeSubvolume(parent, filepath.Base(path)); err != nil {
			return err
		}
		return os.Chmod(path, 0o700)
	}
	if err := os.Mkdir(path, 0o700); err != nil {
		return err
	}
	return Own(path, x)
}

// Own puts an empty directory into the project of guest x, if its file system has projects.
func Own(path string, x guest.XID) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	defer dir.Close()
	err = quota.SetProject(dir, x.Project())
	if errors.Is(err, quota.ErrNoProjects) {
		return nil
	}
	return err
}

// Open opens the directory of guest x.
func Open(path string, x guest.XID) (*Area, error) {
	dir, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	a := &Area{dir: dir, project: x.Project()}
	if err := a.look(); err != nil {
		dir.Close()
		return nil, err
	}
	return a, nil
}

// OpenHome is Open for a guest's directory of ours, in which there may be an image: one in
// a tree that the guest writes is none.
func OpenHome(path string, x guest.XID) (*Area, error) {
	image, err := sized.Open(path)
	if errors.Is(err, fs.ErrNotExist) && !errors.Is(err, guest.ErrUnsupported) {
		return Open(path, x)
	}
	if err != nil {
		return nil, err
	}
	dir, err := os.Open(path)
	if err != nil {
		return nil, errors.Join(err, image.Close())
	}
	return &Area{dir: dir, project: x.Project(), by: ByImage, image: image}, nil
}

// look finds out what counts the directory.
func (a *Area) look() error {
	btrfs, err := quota.Btrfs(a.dir)
	if err != nil {
		return err
	}
	if btrfs {
		if a.subvolume, err = quota.Subvolume(a.dir); err != nil || a.subvolume == 0 {
			return err
		}
		_, err = quota.GetGroup(a.dir, a.subvolume)
		if err == nil {
			a.by = ByQgroup
		} else if errors.Is(err, quota.ErrNoGroups) {
			err = nil
		}
		return err
	}
	counted, _, err := quota.State(a.dir, quota.Project)
	if err != nil || !counted {
		return err
	}
	id, inherits, err := quota.ProjectOf(a.dir)
	if errors.Is(err, quota.ErrNoProjects) {
		return nil
	}
	if a.strange = id != a.project || !inherits; err == nil && !a.strange {
		a.by = ByProject
	}
	return err
}

// Close closes the directory.
func (a *Area) Close() error {
	if a.image != nil {
		return errors.Join(a.image.Close(), a.dir.Close())
	}
	return a.dir.Close()
}

// Imageable tells whether nothing counts the directory, but an image for it can be made.
func (a *Area) Imageable() bool {
	return a.by == "" && !a.strange && fsType(a.dir) != "tmpfs"
}

// Set gives the guest the limits of disk and inodes that l has; 0 is none. They hold when
// it returns. The error is guest.ErrUnsupported when the file system cannot hold one of
// them; lifting limits that it never had is none. A limit below what is used lets nothing
// be added.
func (a *Area) Set(l guest.Limits) error {
	if err := a.Check(l); err != nil {
		return err
	}
	switch a.by {
	case ByProject:
		return quota.Set(a.dir, quota.Project, a.project, quota.Limits{Space: uint64(l.Disk), Inodes: uint64(l.Inodes)})
	case ByQgroup:
		return quota.SetGroup(a.dir, a.subvolume, uint64(l.Disk))
	case ByImage:
		return a.image.Set(l)
	}
	return nil
}

// Check tells whether Set can set these limits.
func (a *Area) Check(l guest.Limits) error {
	switch {
	case a.by == ByImage:
		return a.image.Check(l)
	case l.Disk == 0 && l.Inodes == 0:
		return nil
	case a.by == ByQgroup && l.Inodes > 0:
		return fault.Hint(fmt.Errorf("limits.inodes: btrfs bounds no number of files: %w", guest.ErrUnsupported),
			"keep its files on ext4 or XFS: see doc/limits.md")
	case a.by == ByQgroup:
		return nil
	case a.strange:
		return fault.Hint(fmt.Errorf("limits.disk: %s is not in the guest's project %d: %w", a.dir.Name(), a.project, guest.ErrUnsupported),
			"its files were made before, or copied here: stop it and use `vserver NAME quota adopt`")
	case a.by == "":
		return a.without("limits.disk", quota.Project)
	}
	return a.enforced("limits.disk", quota.Project)
}

// enforced refuses a quota that is counted but not held.
func (a *Area) enforced(what string, k quota.Kind) error {
	_, on, err := quota.State(a.dir, k)
	if err == nil && !on {
		err = a.without(what, k)
	}
	return err
}

// without is the error for a quota that the file system does not have.
func (a *Area) without(what string, k quota.Kind) error {
	kind := fsType(a.dir)
	hint := "move " + filepath.Dir(a.dir.Name()) + " to ext4 or XFS with quotas: see doc/limits.md"
	switch kind {
	case "btrfs":
		hint = "btrfs quota enable --simple " + filepath.Dir(a.dir.Name())
		if k != quota.Project || a.subvolume == 0 {
			hint = "keep its files on ext4 or XFS: see doc/limits.md"
		}
	case "ext4":
		hint = "unmount it, tune2fs -O quota,project -Q usrquota,grpquota,prjquota DEVICE, and mount it with the options usrquota,grpquota,prjquota: see doc/limits.md"
	case "xfs":
		hint = "mount it with the options uquota,gquota,pquota; the host's root file system by rootflags= of the boot loader: see doc/limits.md"
	}
	return fault.Hint(fmt.Errorf("%s: %s on %s holds no quotas of %ss: %w", what, a.dir.Name(), kind, k, guest.ErrUnsupported), hint)
}

// fsType names the file system.
func fsType(dir *os.File) string {
	var st syscall.Statfs_t
	if err := syscall.Fstatfs(int(dir.Fd()), &st); err != nil {
		return "its file system"
	}
	// Magic numbers of linux/magic.h.
	names := map[int64]string{0xef53: "ext4", 0x58465342: "xfs", 0x9123683e: "btrfs", 0x01021994: "tmpfs", 0x2fc12fc1: "zfs", 0x6969: "nfs", 0xf2f52010: "f2fs"}
	if name := names[int64(st.Type)]; name != "" {
		return name
	}
	return fmt.Sprintf("its file system (type %#x)", st.Type)
}

// Use tells what the guest's own files take, and their limits; nil when nothing counts
// them. On btrfs it is what the last commit knew, up to 30 s ago.
func (a *Area) Use() (*guest.DiskStatus, error) {
	var r quota.Record
	var err error
	switch a.by {
	case ByProject:
		r, err = quota.Get(a.dir, quota.Project, a.project)
	case ByQgroup:
		r, err = quota.GetGroup(a.dir, a.subvolume)
	case ByImage:
		return a.image.Use()
	default:
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return &guest.DiskStatus{
		By: a.by, Used: size(r.UsedSpace), Limit: size(r.Space),
		Inodes: number(r.UsedInodes), Most: number(r.Inodes),
	}, nil
}

// Taken is what the guest's own files take of the host's disk, by what Use tells.
func (a *Area) Taken(st *guest.DiskStatus) (guest.Bytes, error) {
	if a.by == ByImage {
		return a.image.Taken()
	}
	return st.Used, nil
}

// Abandon lifts the limits of a guest whose directory is about to be removed, and the
// quotas inside it. It works from the directory alone, may be called again, and does
// nothing for one of which nothing is counted.
func Abandon(path string) error {
	if there, err := sized.There(path); err != nil || there {
		return err
	}
	a, err := Open(path, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer a.Close()
	if a.by == ByQgroup {
		err := quota.SetGroup(a.dir, a.subvolume, 0)
		// Newer kernels remove it with the subvolume, and do not let it go before.
		if busy := quota.RemoveGroup(a.dir, a.subvolume); !errors.Is(busy, syscall.EBUSY) {
			err = errors.Join(err, busy)
		}
		return err
	}
	if !a.strange { // no project, for there is no guest 0
		return nil
	}
	id, _, err := quota.ProjectOf(a.dir)
	if _, ours := guest.OfProject(id); err != nil || !ours {
		return err
	}
	errs := []error{quota.Set(a.dir, quota.Project, id, quota.Limits{})}
	base := baseOf(path)
	if base == 0 {
		return errs[0]
	}
	for _, k := range []quota.Kind{quota.User, quota.Group} {
		errs = append(errs, a.each(k, base, func(r quota.Record) error {
			if r.Limits == (quota.Limits{}) {
				return nil
			}
			return quota.Set(a.dir, k, r.ID, quota.Limits{})
		}))
	}
	return errors.Join(errs...)
}

// baseOf gives where the host ids of a guest begin, by the owner of its root, which is
// some id of the guest's; 0 when it has the host's own.
func baseOf(path string) uint32 {
	for _, root := range []string{"upper", "root"} {
		if st, err := os.Lstat(filepath.Join(path, root)); err == nil { //house:allow the root itself, which no guest can exchange
			if sys, ok := st.Sys().(*syscall.Stat_t); ok {
				return sys.Uid &^ (guest.IDs - 1)
			}
		}
	}
	return 0
}

func size(n uint64) guest.Bytes { return guest.Bytes(min(n, math.MaxInt64)) }

func number(n uint64) guest.Count { return guest.Count(min(n, math.MaxInt64)) }
