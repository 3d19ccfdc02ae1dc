package sockets

import (
	"os"
	"slices"
	"syscall"
	"testing"

	"vserver/daemon/loop"
	"vserver/internal/need"
)

func TestMain(m *testing.M) { need.Main(m) }

// newSet gives a set whose store is a list of names.
func newSet(t *testing.T) (set *Set, kept *[]string) {
	t.Helper()
	l, err := loop.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Close)
	kept = &[]string{}
	return &Set{
		Dirs: need.Dirs(t), Loop: l, Say: t.Logf, Job: func(do func()) { do() },
		Keep: func(name string, _ int) error {
			*kept = append(*kept, name)
			return nil
		},
		Unkeep: func(name string) { *kept = slices.DeleteFunc(*kept, func(n string) bool { return n == name }) },
	}, kept
}

// files are n descriptors.
func files(t *testing.T, n int) (fds []int) {
	t.Helper()
	for range n {
		fd, err := syscall.Open(os.DevNull, syscall.O_RDONLY|syscall.O_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		fds = append(fds, fd)
	}
	return fds
}

func closed(t *testing.T, fds []int) {
	t.Helper()
	for _, fd := range fds {
		var st syscall.Stat_t
		if err := syscall.Fstat(fd, &st); err != syscall.EBADF {
			t.Errorf("descriptor %d is open: %v", fd, err)
		}
	}
}

// What is no server's is closed and not kept.
func TestTakeRefuses(t *testing.T) {
	set, kept := newSet(t)
	for _, n := range []int{0, 1, 4, 5, 6} {
		fds := files(t, n)
		set.Take("web1", fds)
		closed(t, fds)
	}
	if len(*kept) > 0 {
		t.Errorf("kept %q", *kept)
	}
}

// Of a server whose files are not all there, nothing stays; files of others do.
func TestInheritHalf(t *testing.T) {
	set, kept := newSet(t)
	fds := files(t, 4)
	held := map[string]int{
		"serves web1 7 0": fds[0], "serves web1 7 1": fds[1], "serves web1 7 4": fds[2], "guest web1 7": fds[3],
	}
	for name := range held {
		*kept = append(*kept, name)
	}
	set.Inherit(held)
	closed(t, fds[:3])
	if !slices.Equal(*kept, []string{"guest web1 7"}) {
		t.Errorf("kept %q", *kept)
	}
	syscall.Close(fds[3])
}

// A guest that is not there has no servers.
func TestAdoptNobody(t *testing.T) {
	need.Cgroup2(t)
	set, kept := newSet(t)
	set.Adopt("web1")
	if len(*kept) > 0 {
		t.Errorf("kept %q", *kept)
	}
}
