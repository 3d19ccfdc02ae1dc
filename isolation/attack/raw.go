package attack

import (
	"runtime"
	"unsafe"
)

// withBytes makes a system call whose third argument is memory.
func withBytes(nr uintptr, b []byte, first, second uintptr) error {
	err := raw(nr, first, second, uintptr(unsafe.Pointer(&b[0])))
	runtime.KeepAlive(b)
	return err
}
