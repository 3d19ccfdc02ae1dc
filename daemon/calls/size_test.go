package calls

import (
	"runtime"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"vserver/guest"
	"vserver/internal/need"
	"vserver/view"
)

// asker is a thread under a filter that leaves some calls to a listener; what is sent is
// done there.
func asker(t *testing.T, left ...uint32) (listener int, do chan func()) {
	t.Helper()
	fds := make(chan int)
	do = make(chan func())
	go func() {
		runtime.LockOSThread() // and never unlocked: the filter ends with it
		prog := []unix.SockFilter{{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS}}
		for _, nr := range left {
			prog = append(prog, unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: nr, Jf: 1},
				unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_USER_NOTIF})
		}
		prog = append(prog, unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW})
		f := unix.SockFprog{Len: uint16(len(prog)), Filter: &prog[0]}
		fd, _, e := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_NEW_LISTENER, uintptr(unsafe.Pointer(&f)))
		runtime.KeepAlive(prog)
		if e != 0 {
			t.Error(e)
		}
		fds <- int(fd)
		for f := range do {
			f()
		}
	}()
	if listener = <-fds; listener <= 0 {
		t.FailNow()
	}
	t.Cleanup(func() { close(do) })
	return listener, do
}

// A thread is told the guest's machine by the flags of its view; a bad address is its own
// fault, and where nobody knows the guest the kernel answers.
func TestSize(t *testing.T) {
	need.Root(t)
	s, _ := turning(t)
	listener, do := asker(t, unix.SYS_SYSINFO, unix.SYS_SCHED_GETAFFINITY)
	known := make(chan bool, 1)
	known <- false
	s.Views = func(guest.Name) guest.ViewFlags { return guest.VirtLoad }
	s.Size = func(guest.Name) (view.Size, bool) {
		ok := <-known
		known <- ok
		return view.Size{Up: 42 * time.Second, Load: view.Load{1 << 11}, Tasks: 7, CPUs: view.Set{0}}, ok
	}
	init := ourselves(t)
	s.Loop.Post(func() { s.Take("web1", []int{listener, init}) })
	var host, info syscall.Sysinfo_t
	if err := syscall.Sysinfo(&host); err != nil {
		t.Fatal(err)
	}
	done := make(chan error)
	ask := func(f func() error) error {
		do <- func() { done <- f() }
		return <-done
	}
	sysinfo := func() error { return syscall.Sysinfo(&info) }
	if err := ask(sysinfo); err != nil || info.Totalram != host.Totalram || info.Uptime < host.Uptime {
		t.Errorf("of an unknown guest: %v, %+v", err, info)
	}
	<-known
	known <- true
	if err := ask(sysinfo); err != nil || info.Totalram != host.Totalram || info.Uptime != 42 || info.Procs != 7 || info.Loads[0] != 1<<16 {
		t.Errorf("%v, %+v", err, info)
	}
	var set unix.CPUSet
	if err := ask(func() error { return unix.SchedGetaffinity(0, &set) }); err != nil || set.Count() != 1 || !set.IsSet(0) {
		t.Errorf("processors %v, %v", set.Count(), err)
	}
	if err := ask(func() error { return unix.SchedGetaffinity(unix.Gettid(), &set) }); err != nil || set.Count() != 1 {
		t.Errorf("processors %v of its own number, %v", set.Count(), err)
	}
	for _, call := range [][3]uintptr{{unix.SYS_SYSINFO, 8}, {unix.SYS_SCHED_GETAFFINITY, 0, 1}} {
		err := ask(func() error {
			_, _, e := unix.RawSyscall(call[0], call[1], call[2], 0)
			return e
		})
		if err != syscall.EFAULT && err != syscall.EINVAL {
			t.Errorf("call %d: %v", call[0], err)
		}
	}
}
