package proc

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// What we have open and have locked is counted.
func TestFiles(t *testing.T) {
	d := open(t)
	count := func() (files, locks int) {
		files, err1 := d.Files(os.Getpid())
		locks, err2 := d.LocksOf(os.Getpid())
		if err1 != nil || err2 != nil {
			t.Fatal(err1, err2)
		}
		return files, locks
	}
	files, locks := count()
	for range 5 {
		f, err := os.Create(filepath.Join(t.TempDir(), "f"))
		if err == nil {
			defer f.Close()
			err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if f, l := count(); f != files+5 || l != locks+5 {
		t.Errorf("%d files and %d locks, before five more %d and %d", f, l, files, locks)
	}
	if _, err := d.Files(1 << 22); !os.IsNotExist(err) {
		t.Errorf("of nobody: %v", err)
	}
	if os.Geteuid() != 0 {
		return
	}
	if n, err := d.LockCount(); n < locks+5 || err != nil {
		t.Errorf("%d locks in all, %v", n, err)
	}
}

func TestParseLockCount(t *testing.T) {
	text := "slabinfo - version: 2.1\n# name <active_objs> <num_objs>\nfile_lock_ctx 9 73 56 73 1\nfile_lock_cache 451 462 192 21 1 : tunables 0 0 0\n"
	if n, err := ParseLockCount([]byte(text)); n != 451 || err != nil {
		t.Error(n, err)
	}
	if _, err := ParseLockCount([]byte("filp 1 2\n")); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}
