package console

import (
	"fmt"
	"os"
	"strconv"
	"syscall"

	"vserver/daemon/proto"
	"vserver/guest"
	"vserver/kernel/pidfd"
)

// Reopen gives a new read end of the pipe that the guest's init has as its standard
// output, -1 when it has none. A terminal cannot be had again: its master is gone, and
// it is hung up.
//
// A first process that still waits at its gate has the standard output of the vserver
// that starts it, which may be a pipe as well: reading that would take somebody's
// text. It is left alone; that vserver hands us the console.
func Reopen(s proto.Start) int {
	if s.Console != guest.ConsoleLog {
		return -1
	}
	p, err := pidfd.Open(s.InitPID)
	if err != nil {
		return -1
	}
	defer syscall.Close(p)
	proc := "/proc/" + strconv.Itoa(s.InitPID)
	if isOurs(proc) {
		return -1
	}
	fd, err := pidfd.PipeReader(p, 1)
	if err != nil {
		return -1
	}
	if !isRoots(proc, fd) {
		syscall.Close(fd)
		return -1
	}
	return fd
}

// isOurs tells whether a process still runs our own program.
func isOurs(proc string) bool {
	theirs, err1 := os.Stat(proc + "/exe")
	ours, err2 := os.Stat("/proc/self/exe")
	return err1 != nil || err2 != nil || os.SameFile(theirs, ours)
}

// isRoots tells whether a file belongs to the root of the process's user namespace,
// as the pipes that guests log to do, and the host's own files do not.
func isRoots(proc string, fd int) bool {
	text, err := os.ReadFile(proc + "/uid_map")
	if err != nil {
		return false
	}
	var inside, outside uint32
	if _, err := fmt.Sscan(string(text), &inside, &outside); err != nil || inside != 0 {
		return false
	}
	var st syscall.Stat_t
	return syscall.Fstat(fd, &st) == nil && st.Uid == outside
}
