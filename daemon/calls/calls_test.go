package calls

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"vserver/daemon/loop"
	"vserver/guest"
	"vserver/internal/need"
	"vserver/kernel/memfd"
	"vserver/kernel/notify"
	"vserver/kernel/pidfd"
)

func TestMain(m *testing.M) { need.Main(m) }

// made is a call of mknod(2): a path and a device.
type made struct {
	path string
	dev  int
}

// caller is a thread under a filter that leaves mknodat(2) to a listener. Each call sent
// is made, and what comes of it comes back.
func caller(t *testing.T) (listener int, calls chan made, results chan syscall.Errno) {
	t.Helper()
	need.Root(t)
	fds := make(chan int)
	calls, results = make(chan made), make(chan syscall.Errno)
	go func() {
		runtime.LockOSThread() // and never unlocked: the filter ends with it
		prog := []unix.SockFilter{
			{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS},
			{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: unix.SYS_MKNODAT, Jf: 1},
			{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_USER_NOTIF},
			{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW},
		}
		f := unix.SockFprog{Len: uint16(len(prog)), Filter: &prog[0]}
		fd, _, e := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_NEW_LISTENER, uintptr(unsafe.Pointer(&f)))
		runtime.KeepAlive(prog)
		if e != 0 {
			t.Error(e)
		}
		fds <- int(fd)
		for c := range calls {
			err := unix.Mknodat(unix.AT_FDCWD, c.path, unix.S_IFCHR|0o600, c.dev)
			e, _ := err.(syscall.Errno)
			results <- e
		}
	}()
	if listener = <-fds; listener <= 0 {
		t.FailNow()
	}
	t.Cleanup(func() { close(calls) })
	return listener, calls, results
}

// turning is a set whose loop turns, with a store of its own.
func turning(t *testing.T) (*Set, map[string]int) {
	t.Helper()
	l, err := loop.New()
	if err != nil {
		t.Fatal(err)
	}
	held := map[string]int{}
	s := &Set{Loop: l, Say: t.Logf,
		Keep:   func(name string, fd int) error { held[name] = fd; return nil },
		Unkeep: func(name string) { delete(held, name) },
		Makes:  func(n guest.Name, block bool, major, minor int) bool { return major == 1 && minor == 3 }}
	end, over := make(chan bool), false
	go func() {
		for !over {
			l.Turn()
		}
		l.Close()
		close(end)
	}()
	t.Cleanup(func() {
		l.Post(func() { over = true })
		<-end
		for _, fd := range held {
			syscall.Close(fd)
		}
	})
	return s, held
}

func ourselves(t *testing.T) int {
	t.Helper()
	fd, err := pidfd.Open(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	return fd
}

// What may be made is made, whatever else is asked is refused, and more calls than one
// turn takes are all answered.
func TestAnswers(t *testing.T) {
	s, held := turning(t)
	listener, calls, results := caller(t)
	init := ourselves(t)
	s.Loop.Post(func() { s.Take("web1", []int{listener, init}) })
	dir := t.TempDir()
	for _, c := range []struct {
		made
		want syscall.Errno
	}{
		{made{filepath.Join(dir, "null"), 0x103}, 0},
		{made{filepath.Join(dir, "null"), 0x103}, syscall.EEXIST},
		{made{filepath.Join(dir, "mem"), 0x101}, syscall.EPERM},
		{made{filepath.Join(dir, "far/null"), 0x103}, syscall.ENOENT},
		{made{"/proc/self/cwd/null", 0x103}, syscall.ELOOP},
		{made{"/" + strings.Repeat("x/", 2100), 0x103}, syscall.ENAMETOOLONG},
	} {
		calls <- c.made
		if got := <-results; got != c.want {
			t.Errorf("%+v: %v", c, got)
		}
	}
	for i := range 3 * turn {
		calls <- made{filepath.Join(dir, fmt.Sprint(i)), 0x103}
		if e := <-results; e != 0 {
			t.Fatalf("call %d: %v", i, e)
		}
	}
	done := make(chan int)
	s.Loop.Post(func() { done <- len(held) })
	if n := <-done; n != 3 {
		t.Errorf("%d files in the store", n)
	}
}

// What a worker had taken when it died the next one answers; files that are not all
// there are let go.
func TestInherit(t *testing.T) {
	s, held := turning(t)
	listener, calls, results := caller(t)
	dir := t.TempDir()
	calls <- made{filepath.Join(dir, "null"), 0x103}
	page, err := memfd.Shared("test", notify.Size)
	if err != nil {
		t.Fatal(err)
	}
	dead := &tree{name: "web1", id: 7, files: [3]int{listener, ourselves(t), page}}
	if err := dead.mapPage(); err != nil {
		t.Fatal(err)
	}
	if r, err := notify.TakeInto(listener, dead.request); err != nil || r.ID == 0 {
		t.Fatalf("%+v, %v", r, err)
	}
	syscall.Munmap(dead.request)
	lone, err := memfd.Shared("test", notify.Size)
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]int{kept + "web2 9 0": lone, "other": 0}
	for n, fd := range dead.files {
		files[dead.kept(n)], held[dead.kept(n)] = fd, fd
	}
	s.Loop.Post(func() { s.Inherit(files) })
	if e := <-results; e != 0 {
		t.Errorf("the call: %v", e)
	}
	if _, err := os.Lstat(filepath.Join(dir, "null")); err != nil {
		t.Error(err)
	}
	calls <- made{filepath.Join(dir, "next"), 0x103}
	if e := <-results; e != 0 {
		t.Errorf("the next call: %v", e)
	}
	done := make(chan int)
	s.Loop.Post(func() { done <- len(files) })
	if n := <-done; n != 1 {
		t.Errorf("%d files are left", n)
	}
}
