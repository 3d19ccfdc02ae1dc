package notify

import (
	"fmt"
	"os"
	"syscall"
)

// Put writes into the memory of the thread whose request it is, which must still wait.
// The error is syscall.EFAULT where it has no memory at that address, syscall.ESRCH when
// it waits no more.
func Put(listener int, r Request, at uint64, data []byte) error {
	// The open file is of this thread's memory, whoever has its number afterwards; that it
	// was this thread's is known by its waiting.
	mem, err := os.OpenFile(fmt.Sprintf("/proc/%d/mem", r.PID), os.O_WRONLY, 0)
	if err != nil {
		return syscall.ESRCH
	}
	defer mem.Close()
	if !Waits(listener, r.ID) {
		return syscall.ESRCH
	}
	if int64(at) <= 0 {
		return syscall.EFAULT
	}
	if _, err := mem.WriteAt(data, int64(at)); err != nil {
		return syscall.EFAULT
	}
	return nil
}

// Get reads from the memory of the thread whose request it is, which must still wait. The
// errors are those of Put.
func Get(listener int, r Request, at uint64, data []byte) error {
	mem, err := os.Open(fmt.Sprintf("/proc/%d/mem", r.PID))
	if err != nil {
		return syscall.ESRCH
	}
	defer mem.Close()
	if !Waits(listener, r.ID) {
		return syscall.ESRCH
	}
	if int64(at) <= 0 {
		return syscall.EFAULT
	}
	if n, err := mem.ReadAt(data, int64(at)); err != nil || n != len(data) {
		return syscall.EFAULT
	}
	return nil
}

// Leave has the kernel do the call as if there were no filter. What it is about may
// have changed since the request was taken: it is no way to let through what others are
// not to do.
func Leave(listener int, id uint64) error { return answer(listener, id, 0, 0, goOn) }

const goOn = 1 // SECCOMP_USER_NOTIF_FLAG_CONTINUE
