package quota

import (
	"errors"
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Requests of ioctl(2), linux/fs.h.
const (
	getAttr = 0x801c581f // FS_IOC_FSGETXATTR
	setAttr = 0x401c5820 // FS_IOC_FSSETXATTR
	inherit = 0x200      // FS_XFLAG_PROJINHERIT
)

// fsxattr is struct fsxattr.
type fsxattr struct {
	flags, extentSize, extents, project, cowSize uint32
	_                                            [8]byte
}

// ErrNoProjects says that the file system gives files no projects.
var ErrNoProjects = errors.New("no projects on this file system")

// ProjectOf tells the project of an open file or directory, and whether what is made in
// the directory will belong to it.
func ProjectOf(f *os.File) (id uint32, inherits bool, err error) {
	var a fsxattr
	if err := ioctl(f, getAttr, unsafe.Pointer(&a)); err != nil {
		return 0, false, noProjects("project", f, err)
	}
	return a.project, a.flags&inherit != 0, nil
}

// SetProject puts an open file or directory into a project; what is made in a directory
// from now on will belong to it too.
func SetProject(f *os.File, id uint32) error {
	st, err := f.Stat()
	if err != nil {
		return err
	}
	return assign(f, id, st.IsDir())
}

// Opened is an open file of any package.
type Opened interface {
	Fd() uintptr
	Name() string
}

// LeaveProject puts an open file or directory into no project: it can be linked from
// everywhere, and is counted for nobody.
func LeaveProject(f Opened) error { return assign(f, 0, false) }

func assign(f Opened, id uint32, inherits bool) error {
	var a fsxattr
	if err := ioctl(f, getAttr, unsafe.Pointer(&a)); err != nil {
		return noProjects("set project", f, err)
	}
	want := a
	want.project = id
	want.flags &^= inherit
	if inherits {
		want.flags |= inherit
	}
	if want == a {
		return nil
	}
	return noProjects("set project", f, ioctl(f, setAttr, unsafe.Pointer(&want)))
}

func ioctl(f Opened, request uintptr, arg unsafe.Pointer) error {
	for {
		_, _, no := unix.Syscall(unix.SYS_IOCTL, f.Fd(), request, uintptr(arg))
		if no == 0 {
			return nil
		}
		if no != unix.EINTR {
			return no
		}
	}
}

func noProjects(op string, f Opened, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, unix.ENOTTY), errors.Is(err, unix.EOPNOTSUPP), errors.Is(err, unix.ENOSYS):
		return fmt.Errorf("%s %s: %w", op, f.Name(), ErrNoProjects)
	}
	return fmt.Errorf("%s %s: %w", op, f.Name(), err)
}
