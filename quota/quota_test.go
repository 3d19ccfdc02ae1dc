package quota

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"vserver/fault"
	"vserver/guest"
	"vserver/internal/need"
	"vserver/kernel/file"
	"vserver/kernel/mount"
	"vserver/kernel/quota"
)

func TestMain(m *testing.M) { need.Main(m) }

const mebi = 1 << 20

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// made gives the directory of guest 8 on the disk at path, and its area.
func made(t *testing.T, path string) (string, *Area) {
	t.Helper()
	dir := filepath.Join(path, "web1")
	check(t, Make(dir, 8))
	return dir, opened(t, dir)
}

func opened(t *testing.T, dir string) *Area {
	t.Helper()
	a, err := Open(dir, 8)
	check(t, err)
	t.Cleanup(func() { a.Close() })
	return a
}

// projects gives disks that count projects, where a kernel surely can.
func projects(t *testing.T, kind, options string) string {
	need.VM(t)
	if kind == "xfs" {
		return need.Disk(t, "xfs", 320*mebi, options)
	}
	return need.Disk(t, "ext4", 96*mebi, options, "-O", "quota,project")
}

func everyKind(t *testing.T, do func(t *testing.T, kind, options string)) {
	t.Run("ext4", func(t *testing.T) { do(t, "ext4", "usrquota,grpquota,prjquota") })
	t.Run("xfs", func(t *testing.T) { do(t, "xfs", "uquota,gquota,pquota") })
}

// as writes n bytes as a host id, which has no right to go over limits.
func as(t *testing.T, id int, path string, n int) error {
	t.Helper()
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o644)
	check(t, err)
	defer f.Close()
	check(t, f.Chown(id, id))
	done := make(chan error)
	go func() {
		// The thread keeps its limits and dies with the goroutine.
		lockThread()
		head := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
		var caps [2]unix.CapUserData
		err := unix.Capset(&head, &caps[0])
		part := bytes.Repeat([]byte("x"), 64<<10) // XFS takes a whole write or nothing of it
		for ; err == nil && n > 0; n -= len(part) {
			_, err = f.Write(part)
		}
		done <- errors.Join(err, f.Sync())
	}()
	return <-done
}

func full(err error) bool {
	return errors.Is(err, syscall.EDQUOT) || errors.Is(err, syscall.ENOSPC)
}

func TestSet(t *testing.T) {
	everyKind(t, func(t *testing.T, kind, options string) {
		dir, a := made(t, projects(t, kind, options))
		u, err := a.Use()
		if err != nil || u == nil || u.By != ByProject || u.Limit != 0 || u.Inodes != 1 {
			t.Fatalf("use when new: %+v %v", u, err)
		}
		check(t, a.Set(guest.Limits{Disk: 8 * mebi, Inodes: 50}))
		if err := as(t, 524288, filepath.Join(dir, "big"), 12*mebi); !full(err) {
			t.Errorf("above the limit: %v", err)
		}
		u, err = a.Use()
		if err != nil || u.Used > 8*mebi || u.Used < 4*mebi || u.Limit != 8*mebi || u.Most != 50 {
			t.Errorf("use when full: %+v %v", u, err)
		}
		check(t, a.Set(guest.Limits{Disk: 24 * mebi}))
		if err := as(t, 524288, filepath.Join(dir, "more"), 2*mebi); err != nil {
			t.Errorf("below the raised limit: %v", err)
		}
		check(t, a.Change(guest.QuotaUser, 3, 8<<16, func(q *guest.Quota) { q.Hard = mebi }))
		check(t, os.Mkdir(filepath.Join(dir, "upper"), 0o755))
		check(t, os.Chown(filepath.Join(dir, "upper"), 8<<16+7, 0)) // as guest root may
		check(t, Abandon(dir))
		check(t, Abandon(dir))
		if u, err = a.Use(); err != nil || u.Limit != 0 || u.Most != 0 {
			t.Errorf("use when released: %+v %v", u, err)
		}
		for _, k := range []quota.Kind{quota.User, quota.Group} {
			check(t, a.each(k, 8<<16, func(r quota.Record) error {
				if r.Limits != (quota.Limits{}) {
					t.Errorf("left: %+v", r)
				}
				return nil
			}))
		}
	})
}

func TestQuotas(t *testing.T) {
	const base = 8 << 16
	everyKind(t, func(t *testing.T, kind, options string) {
		dir, a := made(t, projects(t, kind, options))
		check(t, a.Change(guest.QuotaUser, 1000, base, func(q *guest.Quota) { q.Hard, q.Soft = 2*mebi, mebi }))
		check(t, a.Change(guest.QuotaUser, 1000, base, func(q *guest.Quota) { q.HardInodes = 10 }))
		check(t, a.Change(guest.QuotaGroup, 65535, base, func(q *guest.Quota) { q.Hard = mebi }))
		// A neighbour's, on both sides.
		check(t, quota.Set(a.dir, quota.User, base-1, quota.Limits{Space: mebi}))
		check(t, quota.Set(a.dir, quota.User, base+guest.IDs, quota.Limits{Space: mebi}))
		if err := as(t, base+1000, filepath.Join(dir, "alice"), 3*mebi); !errors.Is(err, syscall.EDQUOT) {
			t.Errorf("alice writes above her limit: %v", err)
		}
		if err := as(t, base+1001, filepath.Join(dir, "bob"), 3*mebi); err != nil {
			t.Errorf("bob: %v", err)
		}
		list, err := a.Quotas(guest.QuotaUser, base)
		check(t, err)
		if len(list) != 2 || list[0].ID != 1000 || list[0].Hard != 2*mebi || list[0].Soft != mebi ||
			list[0].HardInodes != 10 || list[0].Used < mebi || list[0].GraceEnds == 0 || list[1].ID != 1001 || list[1].Hard != 0 {
			t.Errorf("users: %+v", list)
		}
		list, err = a.Quotas(guest.QuotaGroup, base)
		if err != nil || len(list) != 3 || list[2].ID != 65535 {
			t.Errorf("groups: %+v %v", list, err)
		}
		if err := a.Change(guest.QuotaUser, 65536, base, func(*guest.Quota) {}); !errors.Is(err, guest.ErrInvalid) {
			t.Errorf("id of a neighbour: %v", err)
		}
		if err := a.Change(guest.QuotaUser, 5, base, func(q *guest.Quota) { q.Hard, q.Soft = 1, 2 }); !errors.Is(err, guest.ErrInvalid) {
			t.Errorf("soft above hard: %v", err)
		}
		if _, err := a.Quotas(guest.QuotaUser, 0); !errors.Is(err, guest.ErrUnsupported) {
			t.Errorf("the host's ids: %v", err)
		}
	})
}

// What was not born in the project is put there, and an overlay works with it.
func TestAdopt(t *testing.T) {
	everyKind(t, func(t *testing.T, kind, options string) {
		disk := projects(t, kind, options)
		need.Overlay(t)
		dir := filepath.Join(disk, "web1")
		for _, d := range []string{"upper/sub", "work", "lower"} {
			check(t, os.MkdirAll(filepath.Join(dir, d), 0o755))
		}
		in := func(p string) string { return filepath.Join(dir, p) }
		check(t, os.WriteFile(in("lower/gone"), nil, 0o644))
		check(t, os.WriteFile(in("upper/sub/file"), []byte("x"), 0o640))
		check(t, os.Symlink("../file", in("upper/link")))
		check(t, os.Lchown(in("upper/link"), 524288, 7))
		check(t, syscall.Mkfifo(in("upper/fifo"), 0o600))
		check(t, syscall.Mknod(in("upper/gone"), syscall.S_IFCHR, 0))
		before, err := os.Lstat(in("upper/sub"))
		check(t, err)
		if err := opened(t, dir).Set(guest.Limits{Disk: mebi}); !errors.Is(err, guest.ErrUnsupported) || !strings.Contains(fault.HintOf(err), "adopt") {
			t.Errorf("limit of a stranger: %v", err)
		}
		check(t, Adopt(t.Context(), dir, 8))
		check(t, Adopt(t.Context(), dir, 8))
		a := opened(t, dir)
		u, err := a.Use()
		// XFS frees an inode some time after its file is gone.
		for end := time.Now().Add(10 * time.Second); err == nil && u != nil && u.Inodes > 10 && time.Now().Before(end); {
			time.Sleep(10 * time.Millisecond)
			u, err = a.Use()
		}
		if err != nil || u == nil || u.Inodes != 10 {
			t.Fatalf("use = %+v %v", u, err)
		}
		check(t, a.Set(guest.Limits{Disk: 8 * mebi}))
		after, err := os.Lstat(in("upper/sub"))
		if err != nil || !after.ModTime().Equal(before.ModTime()) {
			t.Errorf("time of sub: %v, was %v", after.ModTime(), before.ModTime())
		}
		link, err := os.Lstat(in("upper/link"))
		check(t, err)
		if st := link.Sys().(*syscall.Stat_t); st.Uid != 524288 || st.Gid != 7 {
			t.Errorf("owner of the link: %d:%d", st.Uid, st.Gid)
		}
		at := overlaid(t, in("lower"), in("upper"), in("work"))
		if _, err := os.Stat(filepath.Join(at, "gone")); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("what was removed: %v", err)
		}
		check(t, os.WriteFile(filepath.Join(at, "gone"), nil, 0o644)) // over the whiteout
		check(t, os.Rename(filepath.Join(at, "link"), filepath.Join(at, "sub/link")))
		check(t, os.Rename(filepath.Join(at, "fifo"), filepath.Join(at, "sub/fifo")))
	})
}

func overlaid(t *testing.T, lower, upper, work string) string {
	t.Helper()
	low, err := mount.Clone(lower)
	check(t, err)
	defer unix.Close(low)
	up, err := os.Open(upper)
	check(t, err)
	defer up.Close()
	down, err := os.Open(work)
	check(t, err)
	defer down.Close()
	fd, err := mount.Overlay([]int{low}, up, down)
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

func TestAdoptEnds(t *testing.T) {
	need.Root(t)
	dir := t.TempDir()
	check(t, os.WriteFile(filepath.Join(dir, "file"), nil, 0o600))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := Adopt(ctx, dir, 8); !errors.Is(err, context.Canceled) {
		t.Errorf("Adopt = %v", err)
	}
}

// Quotas that are counted but not held are no limits.
func TestCounted(t *testing.T) {
	_, a := made(t, projects(t, "ext4", "noquota"))
	if err := a.Set(guest.Limits{Disk: mebi}); !errors.Is(err, guest.ErrUnsupported) {
		t.Errorf("Set = %v", err)
	}
	if _, err := a.Quotas(guest.QuotaUser, 8<<16); !errors.Is(err, guest.ErrUnsupported) {
		t.Errorf("Quotas = %v", err)
	}
}

func TestBtrfs(t *testing.T) {
	disk := need.Disk(t, "btrfs", 128*mebi, "")
	dir, a := made(t, disk)
	if st, err := os.Stat(dir); err != nil || st.Mode().Perm() != 0o700 {
		t.Errorf("mode %v %v", st.Mode(), err)
	}
	if err := a.Set(guest.Limits{Disk: mebi}); !errors.Is(err, guest.ErrUnsupported) || !strings.Contains(fault.HintOf(err), "btrfs quota enable --simple "+disk) {
		t.Errorf("without quotas: %v", err)
	}
	check(t, Abandon(dir))
	top, err := os.Open(disk)
	check(t, err)
	defer top.Close()
	check(t, quota.EnableGroups(top))
	a = opened(t, dir)
	check(t, a.Set(guest.Limits{Disk: 8 * mebi}))
	if err := a.Set(guest.Limits{Disk: mebi, Inodes: 100}); !errors.Is(err, guest.ErrUnsupported) {
		t.Errorf("number of files: %v", err)
	}
	if err := as(t, 524288, filepath.Join(dir, "big"), 12*mebi); !full(err) {
		t.Errorf("above the limit: %v", err)
	}
	d, err := file.OpenDir(dir)
	check(t, err)
	defer d.Close()
	check(t, file.SyncAll(d))
	u, err := a.Use()
	if err != nil || u.By != ByQgroup || u.Limit != 8*mebi || u.Used < mebi {
		t.Errorf("use = %+v %v", u, err)
	}
	if _, err := a.Quotas(guest.QuotaUser, 8<<16); !errors.Is(err, guest.ErrUnsupported) {
		t.Errorf("users: %v", err)
	}
	check(t, Abandon(dir))
	if u, err = a.Use(); err == nil && u != nil && u.Limit != 0 {
		t.Errorf("released: %+v", u)
	}
}

// Where nothing counts, nothing is said, and limits are refused.
func TestNone(t *testing.T) {
	need.Root(t)
	dir := need.TempDir(t)
	check(t, syscall.Mount("tmpfs", dir, "tmpfs", 0, ""))
	defer syscall.Unmount(dir, syscall.MNT_DETACH)
	dir, a := made(t, dir)
	defer a.Close()
	if u, err := a.Use(); u != nil || err != nil {
		t.Errorf("use = %v %v", u, err)
	}
	check(t, a.Set(guest.Limits{}))
	check(t, Abandon(dir))
	if err := a.Set(guest.Limits{Disk: mebi}); !errors.Is(err, guest.ErrUnsupported) || fault.HintOf(err) == "" {
		t.Errorf("Set = %v", err)
	}
}
