package proc

import "syscall"

// ExitCode is the end of a process as a shell tells it: its own exit code, or 128 and the
// number of the signal that ended it (POSIX, "Exit Status for Commands").
func ExitCode(ws syscall.WaitStatus) int {
	if ws.Signaled() {
		return 128 + int(ws.Signal())
	}
	return ws.ExitStatus()
}
