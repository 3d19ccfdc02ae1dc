package calls

import (
	"encoding/binary"
	"errors"
	"path/filepath"
	"syscall"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"vserver/guest"
	"vserver/internal/need"
	"vserver/kernel/proc"
	"vserver/quota"
)

// asking makes a set answer a thread under a filter; ask has a call made there.
func asking(t *testing.T, s *Set, left ...uint32) (ask func(do func() error) error) {
	t.Helper()
	listener, do := asker(t, left...)
	init := ourselves(t)
	s.Loop.Post(func() { s.Take("web1", []int{listener, init}) })
	return func(f func() error) error {
		done := make(chan error)
		do <- func() { done <- f() }
		return <-done
	}
}

// A hard limit that was lowered is raised again, but not above that of the init; what is
// of another process, and no raise, the kernel judges.
func TestRaise(t *testing.T) {
	need.VM(t) // where root has all capabilities, and may end with low limits
	s, _ := turning(t)
	ask := asking(t, s, unix.SYS_PRLIMIT64, unix.SYS_SETRLIMIT)
	const what = unix.RLIMIT_MSGQUEUE
	was, err := proc.Limit(0, what, nil)
	if err != nil || was.Hard < 4096 {
		t.Fatal(was, err)
	}
	set := func(soft, hard uint64) error {
		return ask(func() error { return unix.Prlimit(0, what, &unix.Rlimit{Cur: soft, Max: hard}, nil) })
	}
	now := func() (l unix.Rlimit) {
		if err := ask(func() error { return unix.Prlimit(0, what, nil, &l) }); err != nil {
			t.Error(err)
		}
		return l
	}
	// Here the init is the caller itself: so what is lowered stays low.
	if err := set(100, 200); err != nil || now() != (unix.Rlimit{Cur: 100, Max: 200}) {
		t.Errorf("lowered: %+v, %v", now(), err)
	}
	if err := set(100, 300); err != unix.EPERM {
		t.Errorf("above that of the init: %v", err)
	}
	if err := ask(func() error { return unix.Prlimit(1, unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 1, Max: 1 << 40}, nil) }); err == nil {
		t.Error("a limit of another process above the kernel's own")
	}
	if err := set(300, 200); err != unix.EINVAL {
		t.Errorf("soft above hard: %v", err)
	}
	if err := ask(func() error {
		if _, _, e := unix.Syscall(unix.SYS_SETRLIMIT, what, 8, 0); e != 0 {
			return e
		}
		return nil
	}); err != unix.EFAULT {
		t.Errorf("no memory: %v", err)
	}
	if _, err := proc.Limit(0, what, &was); err != nil {
		t.Error(err)
	}
}

// Quotas of the guest's own ids are told and set; nothing else is.
func TestQuota(t *testing.T) {
	need.VM(t)
	const base = 700000
	at := filepath.Join(need.Disk(t, "ext4", 64<<20, "usrquota,grpquota", "-O", "quota"), "web1")
	if err := quota.Make(at, 8); err != nil {
		t.Fatal(err)
	}
	s, _ := turning(t)
	s.Area = func(guest.Name) (*quota.Area, uint32, error) {
		a, err := quota.Open(at, 8)
		return a, base, err
	}
	ask := asking(t, s, unix.SYS_QUOTACTL, unix.SYS_QUOTACTL_FD)
	const get, set, next, user, group, project = 0x800007, 0x800008, 0x800009, 0, 1, 2
	b := [9]uint64{}
	call := func(cmd, kind, id int, at unsafe.Pointer) error {
		return ask(func() error {
			_, _, e := unix.Syscall6(unix.SYS_QUOTACTL, uintptr(cmd<<8|kind), 0, uintptr(id), uintptr(at), 0, 0)
			if e != 0 {
				return e
			}
			return nil
		})
	}
	b[0], b[1], b[3] = 2048, 1024, 77 // KiB hard and soft, inodes
	binary.NativeEndian.PutUint32((*[72]byte)(unsafe.Pointer(&b))[64:], 5)
	if err := call(set, user, 33, unsafe.Pointer(&b)); err != nil {
		t.Fatal(err)
	}
	a, err := quota.Open(at, 8)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	if list, err := a.Quotas(guest.QuotaUser, base); err != nil || len(list) != 1 || list[0].ID != 33 || list[0].Hard != 2<<20 || list[0].HardInodes != 77 {
		t.Errorf("%+v, %v", list, err)
	}
	b = [9]uint64{}
	if err := call(get, user, 33, unsafe.Pointer(&b)); err != nil || b[0] != 2048 || b[1] != 1024 || b[3] != 77 {
		t.Errorf("get: %v, %v", b, err)
	}
	if err := call(next, user, 3, unsafe.Pointer(&b)); err != nil || b[8]>>32 != 33 {
		t.Errorf("next: %v, %v", b, err)
	}
	for _, c := range []struct {
		cmd, kind, id int
		at            unsafe.Pointer
		want          syscall.Errno
	}{
		{next, user, 34, unsafe.Pointer(&b), unix.ENOENT}, {get, user, 65536, unsafe.Pointer(&b), unix.ENOENT},
		{set, user, 1 << 20, unsafe.Pointer(&b), unix.EPERM}, {get, project, 1, unsafe.Pointer(&b), unix.EINVAL},
		{0x800002, user, 0, unsafe.Pointer(&b), unix.EINVAL}, {get, group, 1, nil, unix.EFAULT},
	} {
		if err := call(c.cmd, c.kind, c.id, c.at); !errors.Is(err, c.want) {
			t.Errorf("%+v: %v", c, err)
		}
	}
}
