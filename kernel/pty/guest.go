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
	root, err := unix.Open(fmt.Sprintf("/proc/%d/root", pid), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("root of process %d: %w", pid, err)
	}
	defer unix.Close(root)
	how := unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_SYMLINKS}
	node, err := unix.Openat2(root, "dev/pts/ptmx", &how)
	if err != nil {
		return nil, nil, fmt.Errorf("open /dev/pts/ptmx: %w", err)
	}
	defer unix.Close(node)
	var st unix.Stat_t
	var fs unix.Statfs_t
	if err := unix.Fstat(node, &st); err != nil {
		return nil, nil, fmt.Errorf("stat /dev/pts/ptmx: %w", err)
	}
	if err := unix.Fstatfs(node, &fs); err != nil {
		return nil, nil, fmt.Errorf("statfs /dev/pts/ptmx: %w", err)
	}
	if fs.Type != unix.DEVPTS_SUPER_MAGIC || st.Mode&unix.S_IFMT != unix.S_IFCHR || st.Rdev != unix.Mkdev(5, 2) {
		return nil, nil, fmt.Errorf("/dev/pts/ptmx: is no terminal multiplexer: %w", unix.ENODEV)
	}
	m, err := open(fmt.Sprintf("/proc/self/fd/%d", node))
	if err != nil {
		return nil, nil, fmt.Errorf("open /dev/pts/ptmx: %w", err)
	}
	return owned(m, owner)
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
