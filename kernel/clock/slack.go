package clock

import (
	"strconv"
	"syscall"
	"time"
)

// near is how far behind the process's own number its first thread's is looked for. On
// a machine where more begins at once the monitor stays as it is.
const near = 16

// Relax lets the runtime's monitor thread wake as much as late behind time instead of 50 µs
// (PR_SET_TIMERSLACK(2const)). In the first milliseconds of a program's life it looks
// around every 20 µs, and each look costs as much as several system calls: a tenth of
// the processor time of a start (measured 2026-11, Go 1.26); a server that sleeps often
// has it look fifty times after each sleep. Nothing is lost but that: a goroutine that waits
// for a processor held by a long system call waits that much longer. What cannot be set
// stays as it is.
func Relax(late time.Duration) {
	pid := syscall.Getpid()
	// The first thread after the main one: runtime.main begins with it. To list them in
	// /proc/self/task would make an entry for each there, which our end has to wait for:
	// 0.1 to 0.2 ms.
	for monitor := pid + 1; monitor <= pid+near; monitor++ {
		if syscall.Tgkill(pid, monitor, 0) != nil {
			continue
		}
		fd, err := syscall.Open("/proc/"+strconv.Itoa(monitor)+"/timerslack_ns", syscall.O_WRONLY|syscall.O_CLOEXEC, 0)
		if err != nil {
			return
		}
		syscall.Write(fd, strconv.AppendInt(nil, late.Nanoseconds(), 10))
		syscall.Close(fd)
		return
	}
}
