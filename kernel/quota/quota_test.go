package quota

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"vserver/internal/need"
	"vserver/kernel/file"
	"vserver/kernel/mount"
)

func TestMain(m *testing.M) { need.Main(m) }

const mebi = 1 << 20

func open(t *testing.T, path string) *os.File {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// write appends n bytes and takes them to the disk.
func write(path string, n int) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	_, err = f.Write(bytes.Repeat([]byte("x"), n))
	return errors.Join(err, f.Sync(), f.Close())
}

// weakly calls f as guests' processes are: without the capability that lifts limits
// (CAP_SYS_RESOURCE in the initial user namespace, ext4). The thread ends with it.
func weakly(t *testing.T, f func() error) (err error) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread()
		head := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
		var caps [2]unix.CapUserData
		if err = unix.Capget(&head, &caps[0]); err != nil {
			return
		}
		caps[0].Effective &^= 1 << unix.CAP_SYS_RESOURCE
		if err = unix.Capset(&head, &caps[0]); err == nil {
			err = f()
		}
	}()
	<-done
	return err
}

// full tells the answers of file systems at a limit.
func full(err error) bool { return errors.Is(err, unix.EDQUOT) || errors.Is(err, unix.ENOSPC) }

// projectDisk gives a directory in a project on a file system of the kind.
func projectDisk(t *testing.T, kind string) (disk, own *os.File) {
	t.Helper()
	need.VM(t) // elsewhere kernels often lack the quota modules
	var at string
	switch kind {
	case "xfs":
		at = need.Disk(t, "xfs", 320*mebi, "uquota,gquota,pquota")
	default:
		at = need.Disk(t, "ext4", 96*mebi, "usrquota,grpquota,prjquota", "-O", "quota,project")
	}
	dir := filepath.Join(at, "own")
	check(t, os.Mkdir(dir, 0o755))
	own = open(t, dir)
	check(t, SetProject(own, project))
	return open(t, at), own
}

const project = 1985150976 + 8

func TestProject(t *testing.T) {
	for _, kind := range []string{"ext4", "xfs"} {
		t.Run(kind, func(t *testing.T) { testProject(t, kind) })
	}
}

func testProject(t *testing.T, kind string) {
	disk, own := projectDisk(t, kind)
	if counted, enforced, err := State(disk, Project); err != nil || !counted || !enforced {
		t.Fatalf("State = %v %v %v", counted, enforced, err)
	}
	sub := filepath.Join(own.Name(), "sub")
	check(t, os.Mkdir(sub, 0o755))
	if id, inherits, err := ProjectOf(open(t, sub)); err != nil || id != project || !inherits {
		t.Fatalf("project of what is made inside = %d %v %v", id, inherits, err)
	}
	check(t, Set(own, Project, project, Limits{Space: 8 * mebi, Inodes: 20}))
	var st unix.Statfs_t
	check(t, unix.Statfs(sub, &st))
	if size := int64(st.Blocks) * st.Bsize; size != 8*mebi {
		t.Errorf("size told inside is %d", size)
	}
	put := func(name string, n int) error {
		return weakly(t, func() error { return write(filepath.Join(sub, name), n) })
	}
	if err := put("big", 12*mebi); !full(err) {
		t.Errorf("write above the limit: %v", err)
	}
	r, err := Get(own, Project, project)
	check(t, err)
	if r.Space != 8*mebi || r.Inodes != 20 || r.UsedSpace == 0 || r.UsedSpace > 8*mebi || r.UsedInodes != 3 {
		t.Errorf("record = %+v", r)
	}
	check(t, Set(own, Project, project, Limits{Space: 4 * mebi, Inodes: 4})) // below what is used
	if err := put("more", mebi); !full(err) {
		t.Errorf("write below what is used: %v", err)
	}
	check(t, os.RemoveAll(filepath.Join(sub, "big")))
	check(t, os.RemoveAll(filepath.Join(sub, "more")))
	for _, name := range []string{"a", "b", "c", "d"} {
		err = errors.Join(err, put(name, 1))
	}
	if !full(err) {
		t.Errorf("more files than the limit: %v", err)
	}
	check(t, write(filepath.Join(disk.Name(), "other"), 12*mebi))
	if err := os.Rename(filepath.Join(disk.Name(), "other"), filepath.Join(sub, "in")); !errors.Is(err, unix.EXDEV) {
		t.Errorf("rename into another project: %v", err)
	}
}

// An overlay's files belong to the project of its upper directory, its statfs tells the
// limits, and the rights of who mounted it do not lift them.
func TestOverlay(t *testing.T) {
	for _, kind := range []string{"ext4", "xfs"} {
		t.Run(kind, func(t *testing.T) { testOverlay(t, kind) })
	}
}

func overlay(t *testing.T, disk, own *os.File) string {
	t.Helper()
	need.Overlay(t)
	lower, upper, work := filepath.Join(disk.Name(), "lower"), filepath.Join(own.Name(), "upper"), filepath.Join(own.Name(), "work")
	for _, d := range []string{lower, upper, work, filepath.Join(lower, "dir")} {
		check(t, os.Mkdir(d, 0o755))
	}
	check(t, write(filepath.Join(lower, "file"), 1))
	low, err := mount.Clone(lower)
	check(t, err)
	defer unix.Close(low)
	fd, err := mount.Overlay([]int{low}, open(t, upper), open(t, work))
	check(t, err)
	defer unix.Close(fd)
	at := need.TempDir(t)
	check(t, mount.Attach(fd, at))
	t.Cleanup(func() {
		if err := unix.Unmount(at, 0); err != nil {
			t.Error(err)
		}
	})
	return at
}

func testOverlay(t *testing.T, kind string) {
	disk, own := projectDisk(t, kind)
	at := overlay(t, disk, own)
	check(t, Set(own, Project, project, Limits{Space: 8 * mebi, Inodes: 100}))
	var st unix.Statfs_t
	check(t, unix.Statfs(at, &st))
	if size := int64(st.Blocks) * st.Bsize; size != 8*mebi || st.Files != 100 {
		t.Errorf("df tells %d bytes, %d inodes", size, st.Files)
	}
	if err := write(filepath.Join(at, "file"), 12*mebi); !full(err) {
		t.Errorf("write above the limit: %v", err)
	}
	check(t, os.Remove(filepath.Join(at, "file")))
	check(t, write(filepath.Join(at, "file"), 1)) // over a whiteout
	r, err := Get(own, Project, project)
	check(t, err)
	if r.UsedSpace > 8*mebi {
		t.Errorf("used %d", r.UsedSpace)
	}
}

// The hole that package seccomp closes: flags that are said again as they are are set on
// what is copied up meanwhile, by the rights of who mounted, and without the flag to
// inherit; a project in the same way. Should it fail here, that rule can go.
func TestHole(t *testing.T) {
	disk, own := projectDisk(t, "ext4")
	at := overlay(t, disk, own)
	dir := open(t, filepath.Join(at, "dir"))
	flags, err := unix.IoctlGetInt(int(dir.Fd()), unix.FS_IOC_GETFLAGS)
	check(t, err)
	check(t, unix.IoctlSetPointerInt(int(dir.Fd()), unix.FS_IOC_SETFLAGS, flags))
	if id, inherits, err := ProjectOf(open(t, filepath.Join(own.Name(), "upper/dir"))); err != nil || id != project || inherits {
		t.Errorf("directory with its flags set again: project %d, inherits %v, %v", id, inherits, err)
	}
	var a fsxattr
	f := open(t, filepath.Join(at, "file"))
	check(t, ioctl(f, getAttr, unsafe.Pointer(&a)))
	check(t, ioctl(f, setAttr, unsafe.Pointer(&a)))
	if id, _, err := ProjectOf(open(t, filepath.Join(own.Name(), "upper/file"))); err != nil || id != 0 {
		t.Errorf("file with its attributes set again: project %d, %v", id, err)
	}
}

func TestUser(t *testing.T) {
	for _, kind := range []string{"ext4", "xfs"} {
		t.Run(kind, func(t *testing.T) {
			disk, _ := projectDisk(t, kind)
			const uid = 524288 + 1000
			check(t, Set(disk, User, uid, Limits{Space: 2 * mebi, SoftSpace: mebi, Inodes: 5}))
			path := filepath.Join(disk.Name(), "mine")
			check(t, write(path, 1))
			check(t, os.Chown(path, uid, uid))
			r, err := Next(disk, User, 524288)
			check(t, err)
			if r.ID != uid || r.Space != 2*mebi || r.SoftSpace != mebi || r.Inodes != 5 || r.UsedInodes != 1 {
				t.Errorf("record = %+v", r)
			}
			if _, err := Next(disk, User, uid+1); !errors.Is(err, unix.ENOENT) {
				t.Errorf("past the last: %v", err)
			}
			check(t, Set(disk, User, uid, Limits{}))
		})
	}
}

// A file system without quotas says so.
func TestNone(t *testing.T) {
	need.Root(t)
	fd, err := mount.New("tmpfs", 0)
	check(t, err)
	defer unix.Close(fd)
	dir := open(t, fmt.Sprintf("/proc/self/fd/%d", fd)) // the mount's own is good for little
	if counted, enforced, err := State(dir, Project); err != nil || counted || enforced {
		t.Errorf("State = %v %v %v", counted, enforced, err)
	}
	if _, err := Get(dir, Project, 8); err == nil {
		t.Error("Get gives a quota")
	}
	if err := SetProject(dir, 8); !errors.Is(err, ErrNoProjects) {
		t.Errorf("SetProject: %v", err)
	}
}

func TestGroup(t *testing.T) {
	at := need.Disk(t, "btrfs", 128*mebi, "")
	disk := open(t, at)
	if is, err := Btrfs(disk); err != nil || !is {
		t.Fatalf("Btrfs = %v %v", is, err)
	}
	check(t, MakeSubvolume(disk, "own"))
	dir, err := os.Open(filepath.Join(at, "own"))
	check(t, err)
	defer dir.Close()
	id, err := Subvolume(dir)
	if err != nil || id < subvolRoot {
		t.Fatalf("Subvolume = %d %v", id, err)
	}
	if _, err := GetGroup(dir, id); !errors.Is(err, ErrNoGroups) {
		t.Errorf("without quotas: %v", err)
	}
	if err := SetGroup(dir, id, mebi); !errors.Is(err, ErrNoGroups) {
		t.Errorf("without quotas: %v", err)
	}
	check(t, EnableGroups(disk))
	check(t, SetGroup(dir, id, 8*mebi))
	if err := write(filepath.Join(dir.Name(), "big"), 12*mebi); !full(err) {
		t.Errorf("write above the limit: %v", err)
	}
	check(t, write(filepath.Join(at, "outside"), 12*mebi))
	d, err := file.OpenDir(at)
	check(t, err)
	defer d.Close()
	check(t, file.SyncAll(d))
	r, err := GetGroup(dir, id)
	check(t, err)
	if r.Space != 8*mebi || r.UsedSpace == 0 || r.UsedSpace > 9*mebi {
		t.Errorf("record = %+v", r)
	}
	check(t, SetGroup(dir, id, 0))
	if r, err = GetGroup(dir, id); err != nil || r.Space != 0 {
		t.Errorf("lifted: %+v %v", r, err)
	}
}
