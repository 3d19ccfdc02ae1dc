package notify

import (
	"encoding/binary"
	"errors"
	"runtime"
	"syscall"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"vserver/internal/need"
)

func TestMain(m *testing.M) { need.Main(m) }

// caller is a thread under a filter that leaves getpgid(2) to the listener; each
// number sent makes it call, and its results come back.
func caller(t *testing.T) (listener int, calls chan int, results chan syscall.Errno) {
	t.Helper()
	need.Root(t)
	fds := make(chan int)
	calls, results = make(chan int), make(chan syscall.Errno)
	go func() {
		runtime.LockOSThread() // and never unlocked: the filter ends with it
		prog := []unix.SockFilter{
			{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS},
			{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: unix.SYS_GETPGID, Jf: 1},
			{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_USER_NOTIF},
			{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW},
		}
		f := unix.SockFprog{Len: uint16(len(prog)), Filter: &prog[0]}
		fd, _, e := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_NEW_LISTENER, uintptr(unsafe.Pointer(&f)))
		runtime.KeepAlive(prog)
		if e != 0 {
			t.Error(e)
			close(fds)
			return
		}
		fds <- int(fd)
		for arg := range calls {
			n, _, e := unix.Syscall(unix.SYS_GETPGID, uintptr(arg), 0, 0)
			if e == 0 && n != uintptr(arg)+1 {
				t.Errorf("%d gave %d", arg, n)
			}
			results <- e
		}
		close(results)
	}()
	fd, ok := <-fds
	if !ok {
		t.FailNow()
	}
	t.Cleanup(func() { unix.Close(fd) })
	return fd, calls, results
}

func TestAnswer(t *testing.T) {
	listener, calls, results := caller(t)
	for arg, want := range []syscall.Errno{0, syscall.EPERM, 0, syscall.ENOBUFS} {
		calls <- arg
		r, err := Take(listener)
		if err != nil {
			t.Fatal(err)
		}
		if r.Nr != unix.SYS_GETPGID || r.Args[0] != uint64(arg) || r.PID <= 0 || r.ID == 0 {
			t.Errorf("request %+v", r)
		}
		if !Waits(listener, r.ID) || Waits(listener, r.ID+1) {
			t.Error("another request waits")
		}
		if err := Answer(listener, r.ID, int64(arg)+1, want); err != nil {
			t.Error(err)
		}
		if got := <-results; got != want {
			t.Errorf("the call gave %v, want %v", got, want)
		}
		if Waits(listener, r.ID) {
			t.Error("it waits still")
		}
		if err := Answer(listener, r.ID, 0, 0); !errors.Is(err, syscall.ENOENT) {
			t.Errorf("answered again: %v", err)
		}
	}
	if over, err := Over(listener); over || err != nil {
		t.Errorf("over %v, %v", over, err)
	}
	close(calls)
	<-results
}

func TestParse(t *testing.T) {
	b := make([]byte, Size)
	if _, ok := Parse(b); ok {
		t.Error("a request of zeros")
	}
	binary.NativeEndian.PutUint64(b, 7)
	binary.NativeEndian.PutUint32(b[8:], 8)
	binary.NativeEndian.PutUint32(b[16:], 9)
	binary.NativeEndian.PutUint64(b[72:], 10)
	want := Request{ID: 7, PID: 8, Nr: 9, Args: [6]uint64{5: 10}}
	if r, ok := Parse(b); r != want || !ok {
		t.Errorf("%+v, %v", r, ok)
	}
	if _, ok := Parse(b[:Size-1]); ok {
		t.Error("a request that is cut off")
	}
}
