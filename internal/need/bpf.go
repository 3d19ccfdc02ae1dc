package need

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// bpfPrograms gives the ids of all loaded programs; none without the right to ask.
func bpfPrograms() []uint32 {
	var out []uint32
	for id, ok := nextProgram(0); ok; id, ok = nextProgram(id) {
		out = append(out, id)
	}
	return out
}

// nextProgram gives the lowest id above after.
func nextProgram(after uint32) (uint32, bool) {
	const progGetNextID = 11 // BPF_PROG_GET_NEXT_ID, linux/bpf.h
	attr := struct{ start, next, flags uint32 }{start: after}
	_, _, errno := unix.Syscall(unix.SYS_BPF, progGetNextID, uintptr(unsafe.Pointer(&attr)), unsafe.Sizeof(attr))
	return attr.next, errno == 0
}
