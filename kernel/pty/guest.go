package pty

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// OpenAt makes a terminal in the devpts that the detached mount devpts is of, its
// slave owned by the host id owner.
func OpenAt(devpts int, owner uint32) (master, slave *os.File, err error) {
	fd, err := unix.Openat(devpts, "ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("open ptmx: %w", err)
	}
	return owned(os.NewFile(uintptr(fd), "ptmx"), owner)
}

// OpenIn makes a terminal in the devpts of the guest that process pid is in, its
// slave owned by the host id owner. The guest may have put anything at /dev/pts: no
// link is followed, and only the multiplexer of a devpts is opened.
func OpenIn(pid int, owner uint32) (master, slave *os.File, err error) {
	node, err := within(pid, "dev/pts/ptmx")
	if err != nil {
		return nil, nil, err
	}
	defer unix.Close(node)
	var st unix.Stat_t
	if err := unix.Fstat(node, &st); err != nil {
		return nil, nil, fmt.Errorf("stat /dev/pts/ptmx: %w", err)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFCHR || st.Rdev != unix.Mkdev(5, 2) {
		return nil, nil, fmt.Errorf("/dev/pts/ptmx: is no terminal multiplexer: %w", unix.ENODEV)
	}
	m, err := open(fmt.Sprintf("/proc/self/fd/%d", node))
	if err != nil {
		return nil, nil, fmt.Errorf("open /dev/pts/ptmx: %w", err)
	}
	return owned(m, owner)
}

// Guest opens the devpts of the guest that process pid is in, at its /dev/pts.
func Guest(pid int) (fd int, err error) { return within(pid, "dev/pts") }

// within opens a path in the root of a process, which must lead to a devpts, by no link.
func within(pid int, path string) (fd int, err error) {
	root, err := unix.Open(fmt.Sprintf("/proc/%d/root", pid), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("root of process %d: %w", pid, err)
	}
	defer unix.Close(root)
	how := unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_SYMLINKS}
	if fd, err = unix.Openat2(root, path, &how); err != nil {
		return -1, fmt.Errorf("open /%s: %w", path, err)
	}
	var fs unix.Statfs_t
	if err = unix.Fstatfs(fd, &fs); err == nil && fs.Type != unix.DEVPTS_SUPER_MAGIC {
		err = unix.ENODEV
	}
	if err != nil {
		unix.Close(fd)
		return -1, fmt.Errorf("/%s: is no file system of terminals: %w", path, err)
	}
	return fd, nil
}

// ttyGroup is the group of terminals in every distribution that follows Debian's or
// Red Hat's base ids.
const ttyGroup = 5

func owned(m *os.File, owner uint32) (master, slave *os.File, err error) {
	p, err := pair(m, 0, 0)
	if err != nil {
		m.Close()
		return nil, nil, err
	}
	if err := p.Slave.Chown(int(owner), int(owner)+ttyGroup); err != nil {
		p.Master.Close()
		p.Slave.Close()
		return nil, nil, err
	}
	return p.Master, p.Slave, nil
}
