// Package eventfd is a number in the kernel that one process adds to and another waits for.
// Unlike a pipe it does no harm to who writes when nobody is left to read.
package eventfd

import (
	"encoding/binary"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// New gives such a number, which is 0. Who reads waits until it is not; closing the file ends
// the wait.
func New(name string) (*os.File, error) {
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("eventfd: %w", err)
	}
	return os.NewFile(uintptr(fd), name), nil
}

// Wait waits until the number is not 0, and takes it.
func Wait(f *os.File) (uint64, error) {
	var b [8]byte
	if _, err := f.Read(b[:]); err != nil {
		return 0, err
	}
	return binary.NativeEndian.Uint64(b[:]), nil
}
