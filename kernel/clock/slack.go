package clock

import "syscall"

// Relax lets the runtime's monitor thread wake up to 1 ms late instead of 50 µs
// (PR_SET_TIMERSLACK(2const)). In the first milliseconds of a program's life it looks
// around every 20 µs, and each look costs as much as several system calls: a tenth of
// the processor time of a start (measured 2026-11, Go 1.26). Nothing is lost but
// that: a goroutine that waits for a processor held by a long system call waits that
// much longer. What cannot be set stays as it is.
func Relax() {
	dir, err := syscall.Open("/proc/self/task", syscall.O_RDONLY|syscall.O_DIRECTORY|syscall.O_CLOEXEC, 0)
	if err != nil {
		return
	}
	var entries [512]byte
	n, _ := syscall.ReadDirent(dir, entries[:])
	syscall.Close(dir)
	_, _, threads := syscall.ParseDirent(entries[:max(n, 0)], 2, nil)
	if len(threads) < 2 {
		return
	}
	// The first thread after the main one: runtime.main begins with it.
	fd, err := syscall.Open("/proc/"+threads[1]+"/timerslack_ns", syscall.O_WRONLY|syscall.O_CLOEXEC, 0)
	if err != nil {
		return
	}
	syscall.Write(fd, []byte("1000000"))
	syscall.Close(fd)
}
