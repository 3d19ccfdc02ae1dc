package proc

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// What we have open and have locked is counted.
func TestFiles(t *testing.T) {
	d := open(t)
	count := func() (files, locks int) {
		n, err := d.Files(os.Getpid())
		if err != nil {
			t.Fatal(err)
		}
		held, err := d.Locks()
		if err != nil {
			t.Fatal(err)
		}
		return n, held[os.Getpid()]
	}
	files, locks := count()
	var held []*os.File
	for range 5 {
		f, err := os.Create(filepath.Join(t.TempDir(), "f"))
		if err == nil {
			err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX)
		}
		if err != nil {
			t.Fatal(err)
		}
		held = append(held, f)
	}
	if f, l := count(); f != files+5 || l != locks+5 {
		t.Errorf("%d files and %d locks, before five more %d and %d", f, l, files, locks)
	}
	for _, f := range held {
		f.Close()
	}
	if _, err := d.Files(1 << 22); !os.IsNotExist(err) {
		t.Errorf("of nobody: %v", err)
	}
}

func TestParseLocks(t *testing.T) {
	got := ParseLocks([]byte("1: POSIX  ADVISORY  WRITE 3568 fd:00:1 0 EOF\n1: -> POSIX  ADVISORY  READ 3570 fd:00:1 0 EOF\n" +
		"2: FLOCK  ADVISORY  WRITE 3568 fd:00:2 0 EOF\n3: OFDLCK ADVISORY  READ -1 00:05:9 0 EOF\n4: LEASE  ACTIVE\n"))
	if len(got) != 2 || got[3568] != 2 || got[3570] != 1 {
		t.Error(got)
	}
}
