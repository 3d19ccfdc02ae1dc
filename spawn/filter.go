package spawn

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// Seccomp installs a filter. It needs CAP_SYS_ADMIN or NoNewPrivs.
func (t *Table) Seccomp(filter []unix.SockFilter) {
	t.call("install system call filter", unix.SYS_SECCOMP, num(setModeFilter), num(0), t.program(filter))
}

const (
	setModeFilter = 1 // SECCOMP_SET_MODE_FILTER, seccomp(2)
	listened      = unix.SECCOMP_FILTER_FLAG_NEW_LISTENER | unix.SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV
)

func (t *Table) program(filter []unix.SockFilter) arg {
	return at(put(t, unix.SockFprog{Len: uint16(len(filter)), Filter: &puts(t, filter)[0]}))
}

// SeccompListened is Seccomp for a filter that leaves some calls to a supervisor. The
// file by which that answers them goes through the gate to Child.Listener. A caller
// whose question has been taken waits for the answer over signals that do not kill it.
func (t *Table) SeccompListened(filter []unix.SockFilter) {
	fd := t.saved("install system call filter", unix.SYS_SECCOMP, num(setModeFilter), num(listened), t.program(filter))
	t.handOver([]byte{1}, fd)
	t.call("close the filter's listener", unix.SYS_CLOSE, fd.arg())
}

// SeccompServed is SeccompListened for an Image: the process hands the listener over itself,
// to the server that the image's gate leads to, with the message that this takes and another
// file, and goes on when the answer is "ok".
func (t *Table) SeccompServed(filter []unix.SockFilter, message string, with Reg) {
	fd := t.saved("install system call filter", unix.SYS_SECCOMP, num(setModeFilter), num(listened), t.program(filter))
	t.handOver([]byte(message), fd, with)
	t.served = true
	buf := put(t, [8]byte{})
	t.call("wait for the filter's server", unix.SYS_RECVFROM, regGate.arg(), at(buf), num(len(buf)), num(unix.MSG_TRUNC), num(0), num(0)).want = len("ok")
}

// handOver sends a message with files through the gate.
func (t *Table) handOver(message []byte, files ...Reg) {
	control := puts(t, make([]byte, unix.CmsgSpace(4*len(files))))
	h := (*unix.Cmsghdr)(unsafe.Pointer(&control[0]))
	h.Level, h.Type = unix.SOL_SOCKET, unix.SCM_RIGHTS
	h.SetLen(unix.CmsgLen(4 * len(files)))
	for i, file := range files {
		t.call("name a file to hand over", 0, file.arg(), at(&control[unix.CmsgLen(0)+4*i])).kind = kindStore
	}
	t.call("hand over the filter's listener", unix.SYS_SENDMSG, regGate.arg(), at(t.message(message, control)), num(0)).want = len(message)
}
