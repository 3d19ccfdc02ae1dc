package proc

import (
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Threads gives those of a process, by the host's own /proc.
func Threads(pid int) (tids []int, err error) {
	list, err := os.ReadDir(path(pid, "task"))
	for _, e := range list {
		if tid, err := strconv.Atoi(e.Name()); err == nil {
			tids = append(tids, tid)
		}
	}
	return tids, err
}

// path is that of a file that tells of a process.
func path(pid int, file string) string { return "/proc/" + strconv.Itoa(pid) + "/" + file }

// Niceness gives that of a thread, and sets another one unless that is nil.
func Niceness(tid int, set *int) (int, error) {
	raw, err := unix.Getpriority(unix.PRIO_PROCESS, tid)
	if err == nil && set != nil {
		err = unix.Setpriority(unix.PRIO_PROCESS, tid, *set)
	}
	if err != nil {
		return 0, fmt.Errorf("niceness of %d: %w", tid, err)
	}
	return 20 - raw, nil // as the system call has it
}

// Priority gives the class and level at disks of a thread, as ioprio_set(2) has them, and
// sets another one unless that is nil.
func Priority(tid int, set *int) (int, error) {
	const process = 1 // IOPRIO_WHO_PROCESS
	now, _, errno := unix.Syscall(unix.SYS_IOPRIO_GET, process, uintptr(tid), 0)
	if errno == 0 && set != nil {
		_, _, errno = unix.Syscall(unix.SYS_IOPRIO_SET, process, uintptr(tid), uintptr(*set))
	}
	if errno != 0 {
		return 0, fmt.Errorf("priority at disks of %d: %w", tid, errno)
	}
	return int(now), nil
}

// Badness gives a process's bias when memory is short, oom_score_adj of proc(5), and sets
// another one unless that is nil.
func Badness(pid int, set *int) (int, error) {
	text, err := os.ReadFile(path(pid, "oom_score_adj"))
	if err != nil {
		return 0, err
	}
	now, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err == nil && set != nil {
		err = os.WriteFile(path(pid, "oom_score_adj"), []byte(strconv.Itoa(*set)), 0)
	}
	return now, err
}
