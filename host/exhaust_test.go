package host_test

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// exhaust takes, as a program in a guest, one more of what a ceiling bounds until it is
// refused, and prints how many it had and why no more; see TestAllCeilingHits.
func exhaust(what string) {
	const most = 50
	fd, path := -1, ""
	takes := map[string]func(n int) error{
		"inotify_watches": func(n int) (err error) {
			if n == 0 {
				fd, err = unix.InotifyInit1(0)
			}
			if err == nil {
				_, err = unix.InotifyAddWatch(fd, path, unix.IN_ATTRIB)
			}
			return err
		},
		"fanotify_groups": func(int) (err error) {
			fd, err = unix.FanotifyInit(unix.FAN_CLASS_NOTIF|unix.FAN_REPORT_FID, 0)
			return err
		},
		"fanotify_marks": func(n int) (err error) {
			if n == 0 {
				fd, err = unix.FanotifyInit(unix.FAN_CLASS_NOTIF|unix.FAN_REPORT_FID, 0)
			}
			if err == nil {
				err = unix.FanotifyMark(fd, unix.FAN_MARK_ADD, unix.FAN_ATTRIB, unix.AT_FDCWD, path)
			}
			return err
		},
		"sigpending": func(int) error {
			var id int32
			return call(unix.SYS_TIMER_CREATE, unix.CLOCK_MONOTONIC, 0, uintptr(unsafe.Pointer(&id)))
		},
		"msgqueue": func(n int) error {
			name, _ := unix.BytePtrFromString(strconv.Itoa(n))
			attr := [8]int{1: 8, 2: 1024}
			return call(unix.SYS_MQ_OPEN, uintptr(unsafe.Pointer(name)), unix.O_CREAT|unix.O_RDWR, 0o600, uintptr(unsafe.Pointer(&attr)))
		},
		"memlock": func(int) error { // what mlock(2) locks is counted by process
			id, err := unix.SysvShmGet(unix.IPC_PRIVATE, 64<<10, 0o600)
			if err == nil {
				err = call(unix.SYS_SHMCTL, uintptr(id), 11 /* SHM_LOCK */, 0)
			}
			return err
		},
	}
	for name, flag := range map[string]int{"user": unix.CLONE_NEWUSER, "mnt": unix.CLONE_NEWNS, "pid": unix.CLONE_NEWPID, "uts": unix.CLONE_NEWUTS,
		"ipc": unix.CLONE_NEWIPC, "cgroup": unix.CLONE_NEWCGROUP, "time": unix.CLONE_NEWTIME, "net": unix.CLONE_NEWNET} {
		takes[name+"_namespaces"] = func(n int) error { return hold(flag) }
	}
	take, n := takes[what], 0
	err := errors.New("never")
	for ; n < most; n++ {
		if path = "/run/exhaust" + strconv.Itoa(n); strings.HasSuffix(what, "s") && !strings.HasSuffix(what, "_namespaces") {
			os.WriteFile(path, nil, 0o600)
		}
		if err = take(n); err != nil {
			break
		}
	}
	fmt.Print(n, " ", err)
	os.Exit(0)
}

// hold has a thread in a namespace of its own that stays there.
func hold(flag int) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread()
		err := call(unix.SYS_UNSHARE, uintptr(flag)|unix.CLONE_FS)
		done <- err
		if err == nil {
			select {}
		}
	}()
	return <-done
}

// call is a system call.
func call(number uintptr, args ...uintptr) error {
	var a [4]uintptr
	copy(a[:], args)
	if _, _, errno := unix.Syscall6(number, a[0], a[1], a[2], a[3], 0, 0); errno != 0 {
		return errno
	}
	return nil
}

// takeLocks takes, as a program in a guest, so many locks on a file, of the process's and as many of
// the open file's, says so and waits.
func takeLocks(count string) {
	n, _ := strconv.Atoi(count)
	f, err := os.CreateTemp("/tmp", "locks")
	for i := range n {
		for at, kind := range []int{unix.F_SETLK, unix.F_OFD_SETLK} {
			l := unix.Flock_t{Type: unix.F_WRLCK, Start: int64(4*i + 2*at), Len: 1}
			if err == nil {
				err = unix.FcntlFlock(f.Fd(), kind, &l)
			}
		}
	}
	fmt.Println("taken", err)
	unix.Pause()
}
