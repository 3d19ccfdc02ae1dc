// Package memfd makes files that exist in memory alone.
package memfd

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// Executable gives a file of the given content that anybody who holds it may read
// and execute and nobody, whatever his rights, can change: sealed, mode 0555. The
// name is what /proc shows. The file is close-on-exec and is gone with its last user.
func Executable(name string, content []byte) (fd int, err error) {
	const flags = unix.MFD_CLOEXEC | unix.MFD_ALLOW_SEALING
	fd, err = create(name, flags|unix.MFD_EXEC)
	if err == unix.EINVAL {
		fd, err = create(name, flags) // before 6.3 all are executable, and the flag is unknown
	}
	if err != nil {
		return -1, fmt.Errorf("memfd_create %s: %w", name, err)
	}
	if err := fill(fd, content); err != nil {
		unix.Close(fd)
		return -1, fmt.Errorf("memfd %s: %w", name, err)
	}
	return fd, nil
}

func create(name string, flags int) (fd int, err error) {
	for {
		if fd, err = unix.MemfdCreate(name, flags); err != unix.EINTR {
			return fd, err
		}
	}
}

// fill writes the content and seals it.
func fill(fd int, content []byte) error {
	for len(content) > 0 {
		n, err := unix.Write(fd, content)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return err
		}
		content = content[n:]
	}
	if err := unix.Fchmod(fd, 0o555); err != nil {
		return err
	}
	const seals = unix.F_SEAL_WRITE | unix.F_SEAL_GROW | unix.F_SEAL_SHRINK
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, seals|unix.F_SEAL_EXEC|unix.F_SEAL_SEAL); err != unix.EINVAL {
		return err
	}
	// F_SEAL_EXEC, which holds the mode, came with 6.3.
	_, err := unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, seals|unix.F_SEAL_SEAL)
	return err
}

// Shared gives an empty file of size bytes for processes to share memory by,
// close-on-exec and not executable. The name is what /proc shows.
func Shared(name string, size int64) (fd int, err error) {
	fd, err = create(name, unix.MFD_CLOEXEC|unix.MFD_NOEXEC_SEAL)
	if err == unix.EINVAL {
		fd, err = create(name, unix.MFD_CLOEXEC) // before 6.3
	}
	if err != nil {
		return -1, fmt.Errorf("memfd_create %s: %w", name, err)
	}
	if err := unix.Ftruncate(fd, size); err != nil {
		unix.Close(fd)
		return -1, fmt.Errorf("memfd %s: %w", name, err)
	}
	return fd, nil
}
