// Package pidfd is a process by a file descriptor: a name that no other process can
// inherit, unlike its number. The descriptor becomes readable when the process ends.
package pidfd

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Open gives a descriptor of the process pid; the caller closes it. It is
// close-on-exec.
func Open(pid int) (fd int, err error) {
	err = retry(func() error {
		fd, err = unix.PidfdOpen(pid, 0)
		return err
	})
	if err != nil {
		return -1, fmt.Errorf("open process %d: %w", pid, err)
	}
	return fd, nil
}

// Signal sends sig to the process.
func Signal(fd int, sig syscall.Signal) error {
	if err := retry(func() error { return unix.PidfdSendSignal(fd, sig, nil, 0) }); err != nil {
		return fmt.Errorf("signal process: %w", err)
	}
	return nil
}

// Ended tells, without waiting, whether the process has ended.
func Ended(fd int) (bool, error) {
	p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	var n int
	err := retry(func() (err error) {
		n, err = unix.Poll(p, 0)
		return err
	})
	if err != nil {
		return false, fmt.Errorf("poll process: %w", err)
	}
	return n > 0, nil
}

// ErrNoStatus says that the kernel does not (or does not yet) tell how a process
// ended: before Linux 6.15 never, later from the moment its parent has taken it.
var ErrNoStatus = errors.New("exit status is not known")

// Status gives the wait status of a process that has ended, for any process and not
// only the caller's children. It needs Linux 6.15 (PIDFD_INFO_EXIT).
//
// Beware: it is the exit code of the process's first thread, not what wait(2) says.
// An init that a reboot(2) in its pid namespace took down is SIGHUP or SIGINT to
// wait(2); here it is exit code 0 when it made the call itself and SIGKILL when a
// child of it did (seen on 6.18).
func Status(fd int) (syscall.WaitStatus, error) {
	var i info
	i.mask = unix.PIDFD_INFO_EXIT
	err := retry(func() error {
		_, _, e := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), getInfo, uintptr(unsafe.Pointer(&i)))
		if e != 0 {
			return e
		}
		return nil
	})
	switch {
	case err == unix.ENOTTY || err == unix.EINVAL: // before 6.13, before 6.15
		return 0, ErrNoStatus
	case err == unix.ESRCH: // taken, and by a kernel that keeps no status
		return 0, ErrNoStatus
	case err != nil:
		return 0, fmt.Errorf("status of process: %w", err)
	case i.mask&unix.PIDFD_INFO_EXIT == 0:
		return 0, ErrNoStatus
	}
	return syscall.WaitStatus(i.status), nil
}

// Zombie gives the wait status of a process that has ended and that its parent has
// not taken yet, as that will see it; ok is false at any other time.
func Zombie(fd int) (status syscall.WaitStatus, ok bool) {
	pid, err := PID(fd)
	if err != nil || pid <= 0 {
		return 0, false
	}
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if now, _ := PID(fd); err != nil || now != pid { // else it may be another's
		return 0, false
	}
	return zombie(string(b))
}

// zombie reads /proc/PID/stat, see proc_pid_stat(5): the state is the third field, the
// exit code the last.
func zombie(stat string) (status syscall.WaitStatus, ok bool) {
	f := strings.Fields(stat[strings.LastIndexByte(stat, ')')+1:]) // the name may be anything
	if len(f) != 50 || f[0] != "Z" {
		return 0, false
	}
	n, err := strconv.ParseUint(f[49], 10, 32)
	return syscall.WaitStatus(n), err == nil
}

// info is struct pidfd_info as of Linux 6.15, without what came later.
type info struct {
	mask, cgroup             uint64
	pid, tgid, ppid          uint32
	ruid, rgid, euid, egid   uint32
	suid, sgid, fsuid, fsgid uint32
	status                   int32
}

// getInfo is PIDFD_GET_INFO for the size of info: _IOWR(0xff, 11, struct).
const getInfo = 3<<30 | unsafe.Sizeof(info{})<<16 | 0xff<<8 | 11

// PID gives the process's number in the caller's pid namespace: -1 when it has been
// taken by its parent, 0 when it is of another namespace.
func PID(fd int) (int, error) {
	b, err := os.ReadFile("/proc/self/fdinfo/" + strconv.Itoa(fd))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(b)) {
		if v, ok := strings.CutPrefix(line, "Pid:"); ok {
			return strconv.Atoi(strings.TrimSpace(v))
		}
	}
	return 0, fmt.Errorf("descriptor %d: not a process: %w", fd, unix.EINVAL)
}

// retry calls f again as long as a signal interrupts it.
func retry(f func() error) error {
	for {
		if err := f(); err != unix.EINTR {
			return err
		}
	}
}

// File gives a copy of the descriptor n of the process: the caller's, close-on-exec.
func File(fd, n int) (copied int, err error) {
	err = retry(func() error {
		copied, err = unix.PidfdGetfd(fd, n, 0)
		return err
	})
	if err != nil {
		return -1, fmt.Errorf("descriptor %d of process: %w", n, err)
	}
	return copied, nil
}

// PipeReader gives a new reading end, which does not block, of the pipe that the
// process has open for writing as its descriptor n. The error is EINVAL when that is
// no pipe.
func PipeReader(fd, n int) (reader int, err error) {
	copied, err := File(fd, n)
	if err != nil {
		return -1, err
	}
	defer unix.Close(copied)
	var st unix.Stat_t
	var fs unix.Statfs_t
	if err := errors.Join(unix.Fstat(copied, &st), unix.Fstatfs(copied, &fs)); err != nil {
		return -1, fmt.Errorf("descriptor %d of process: %w", n, err)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFIFO || fs.Type != unix.PIPEFS_MAGIC {
		return -1, fmt.Errorf("descriptor %d of process: is no pipe: %w", n, unix.EINVAL)
	}
	err = retry(func() error {
		reader, err = unix.Open("/proc/self/fd/"+strconv.Itoa(copied), unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
		return err
	})
	if err != nil {
		return -1, fmt.Errorf("pipe of process: %w", err)
	}
	return reader, nil
}
