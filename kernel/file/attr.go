package file

import (
	"os"

	"golang.org/x/sys/unix"
)

// immutable is FS_IMMUTABLE_FL of linux/fs.h.
const immutable = 0x10

// Immutable tells whether nobody may change the open file.
func Immutable(f *os.File) (bool, error) {
	flags, err := unix.IoctlGetInt(int(f.Fd()), unix.FS_IOC_GETFLAGS)
	return flags&immutable != 0, os.NewSyscallError("attributes of "+f.Name(), err)
}

// SetImmutable says whether anybody may change the open file.
func SetImmutable(f *os.File, on bool) error {
	flags, err := unix.IoctlGetInt(int(f.Fd()), unix.FS_IOC_GETFLAGS)
	if err == nil {
		want := flags &^ immutable
		if on {
			want |= immutable
		}
		err = unix.IoctlSetPointerInt(int(f.Fd()), unix.FS_IOC_SETFLAGS, want)
	}
	return os.NewSyscallError("attributes of "+f.Name(), err)
}
