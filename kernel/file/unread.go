package file

import (
	"os"

	"golang.org/x/sys/unix"
)

// Unread tells how many bytes can be read of a pipe or a terminal now. How its end waits is
// left as it is, since that may be shared.
func Unread(f *os.File) (n int, err error) {
	raw, err := f.SyscallConn()
	if err != nil {
		return 0, err
	}
	failed := raw.Control(func(fd uintptr) { n, err = unix.IoctlGetInt(int(fd), unix.TIOCINQ) })
	if failed != nil {
		return 0, failed
	}
	return n, os.NewSyscallError("ioctl", err)
}
