package facade

import (
	"errors"
	"fmt"
	"os"
	"syscall"

	"vserver/kernel/cgroup"
	"vserver/kernel/pidfd"
)

// Find gives the servers of the guest of group that are not known, from what they
// have open themselves.
func Find(group *cgroup.Group, known func(pid int) bool) []*Tree {
	pids, err := group.Servers()
	if err != nil {
		return nil
	}
	var found []*Tree
	for _, pid := range pids {
		if known(pid) {
			continue
		}
		if t, err := open(pid); err == nil {
			found = append(found, t)
		}
	}
	return found
}

// open takes copies of what a server has open.
func open(pid int) (*Tree, error) {
	// One that is just being started has the files of its starter, who tells of it.
	proc := fmt.Sprintf("/proc/%d", pid)
	if to, err := os.Readlink(proc + "/fd/0"); err != nil || to != "anon_inode:seccomp notify" {
		return nil, errors.Join(err, syscall.ENOENT)
	}
	t := &Tree{-1, -1, -1, -1, -1}
	var errs [5]error
	t.Network, errs[0] = syscall.Open(proc+"/ns/net", syscall.O_RDONLY|syscall.O_CLOEXEC, 0)
	if t.Server, errs[1] = pidfd.Open(pid); errs[1] == nil {
		t.Listener, errs[2] = pidfd.File(t.Server, 0)
		t.Page, errs[3] = pidfd.File(t.Server, 1)
		t.Init, errs[4] = pidfd.File(t.Server, 2)
	}
	if err := errors.Join(errs[:]...); err != nil {
		t.Close()
		return nil, err
	}
	return t, nil
}

// find takes the server that has the tree's page, if there is one.
func (t *Tree) find(group *cgroup.Group) bool {
	pids, err := group.Servers()
	if err != nil {
		return false
	}
	var ours, theirs syscall.Stat_t
	if syscall.Fstat(t.Page, &ours) != nil {
		return false
	}
	for _, pid := range pids {
		fd, err := pidfd.Open(pid)
		if err != nil {
			continue
		}
		// The page is the standard output of servers alone.
		err = syscall.Stat(fmt.Sprintf("/proc/%d/fd/1", pid), &theirs)
		if err == nil && theirs.Dev == ours.Dev && theirs.Ino == ours.Ino {
			t.Server = fd
			return true
		}
		syscall.Close(fd)
	}
	return false
}
