package cgroup

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"vserver/guest"
)

// maxDepth is how deep groups below a group are followed. A guest may not make them
// that deep (the ceiling cgroup_depth).
const maxDepth = 128

// RemoveWait is how long Remove waits for processes that are about to end. One that is ending
// is listed no more, but leaves the group only when its memory is freed: EndWait is for that.
const (
	RemoveWait = 200 * time.Millisecond
	EndWait    = 10 * time.Second
)

// Procs gives the processes in the group and below it, as the caller's pid namespace
// numbers them, sorted, without those in the group ServerLeaf. One that moves
// meanwhile may be missed.
func (g *Group) Procs() ([]int, error) {
	text, err := readAt(g.fd, procsFile)
	return g.procs(text, err)
}

// ProcsOf is Procs for who holds the group's cgroup.procs open. buf is for what it says.
func (g *Group) ProcsOf(list *File, buf []byte) ([]int, error) {
	text, err := readAll(list.fd, buf[:0])
	return g.procs(text, err)
}

const procsFile = "cgroup.procs"

func (g *Group) procs(text []byte, err error) ([]int, error) {
	pids, err := procs(g.fd, text, err, nil, 0)
	slices.Sort(pids)
	return slices.Compact(pids), g.fail("read", procsFile, err)
}

// procs appends the processes of dir, of which cgroup.procs said text or err, and of the groups below it.
func procs(dir int, text []byte, err error, pids []int, depth int) ([]int, error) {
	switch err {
	case nil:
		pids = parsePids(text, pids)
	case unix.EOPNOTSUPP: // threaded: its processes are listed further up
	case unix.ENODEV, unix.ENOENT:
		return pids, nil // removed meanwhile
	default:
		return pids, err
	}
	if leaf(dir) {
		return pids, nil
	}
	err = children(dir, depth, func(child int, name string) (err error) {
		if depth > 0 || !serves(child, name) {
			text, err := readAt(child, procsFile)
			pids, err = procs(child, text, err, pids, depth+1)
			return err
		}
		return err
	})
	return pids, err
}

// parsePids appends the numbers of text, one a line. 0 stands for a process of another
// pid namespace and is left out.
func parsePids(text []byte, pids []int) []int {
	for line := range bytes.Lines(text) {
		if n, err := strconv.Atoi(string(bytes.TrimSpace(line))); err == nil && n > 0 {
			pids = append(pids, n)
		}
	}
	return pids
}

// Remove removes the group with all groups below it, however it was opened before.
func (g *Group) Remove() error { return g.tree.Remove(g.rel) }

// Remove removes the group at path with all groups below it, which a guest may have
// made. It works from the name alone; a group that is not there is a success. The
// error is guest.ErrBusy, and names the processes, when some are in it still after
// RemoveWait or EndWait.
func (m Hierarchy) Remove(path string) error {
	abs := filepath.Join(m.Mount, path)
	begin := time.Now()
	for try := 0; ; try++ {
		err := m.rmdir(path)
		if err == nil || !errors.Is(err, unix.EBUSY) {
			return err
		}
		g, err := m.Open(path)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		err = removeBelow(g.fd, 0)
		pids, _ := g.Procs()
		servers, _ := g.Servers()
		pids = append(pids, servers...)
		g.Close()
		if err != nil && err != unix.EBUSY {
			return &fs.PathError{Op: "rmdir", Path: abs, Err: err}
		}
		patience := EndWait
		if len(pids) > 0 {
			patience = RemoveWait
		}
		if time.Since(begin) > patience {
			return fmt.Errorf("rmdir %s: %w: %w", abs, guest.ErrBusy, who(pids))
		}
		if try > 0 || len(pids) > 0 { // else the groups below were all that was in it
			time.Sleep(time.Millisecond)
		}
	}
}

// Prune removes the group at path if nothing is in it. That something is, is no error.
func (m Hierarchy) Prune(path string) error {
	err := m.rmdir(path)
	if errors.Is(err, unix.EBUSY) {
		return nil
	}
	return err
}

// rmdir removes one group, if it is there.
func (m Hierarchy) rmdir(path string) error {
	root, err := m.root(path)
	if err != nil {
		return err
	}
	defer unix.Close(root)
	err = retry(func() error { return unix.Unlinkat(root, path, unix.AT_REMOVEDIR) })
	if err == nil || err == unix.ENOENT {
		return nil
	}
	return &fs.PathError{Op: "rmdir", Path: filepath.Join(m.Mount, path), Err: err}
}

// who says which processes keep a group busy.
func who(pids []int) error {
	if len(pids) == 0 {
		return errors.New("processes whose end takes long")
	}
	if len(pids) > 5 {
		return fmt.Errorf("%d processes, the first %v", len(pids), pids[:5])
	}
	return fmt.Errorf("processes %v", pids)
}

// removeBelow removes the groups below dir, deepest first. It goes on over those that
// are busy and says so in the end.
func removeBelow(dir, depth int) error {
	busy := false
	err := children(dir, depth, func(child int, name string) error {
		err := removeBelow(child, depth+1)
		if err == nil {
			err = retry(func() error { return unix.Unlinkat(dir, name, unix.AT_REMOVEDIR) })
		}
		switch err {
		case unix.EBUSY:
			busy = true
			return nil
		case unix.ENOENT:
			return nil
		}
		return err
	})
	if err == nil && busy {
		return unix.EBUSY
	}
	return err
}

// leaf says that dir has certainly no group below it: a directory's link count is two
// and one more for each subdirectory.
func leaf(dir int) bool {
	var st unix.Stat_t
	return unix.Fstat(dir, &st) == nil && st.Nlink == 2
}

// children calls do for each group right below dir with a descriptor of it.
func children(dir, depth int, do func(fd int, name string) error) error {
	if depth == maxDepth {
		return fmt.Errorf("more than %d groups deep: %w", maxDepth, unix.ELOOP)
	}
	// Another descriptor: the position in a directory belongs to the open file.
	list, err := openat(dir, ".", unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return gone(err)
	}
	defer unix.Close(list)
	for _, name := range subdirs(list) {
		fd, err := openat(dir, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW)
		if err == nil {
			err = do(fd, name)
			unix.Close(fd)
		}
		if gone(err) != nil {
			return err
		}
	}
	return nil
}

// gone drops the errors of a group that was removed meanwhile.
func gone(err error) error {
	if err == unix.ENOENT || err == unix.ENODEV {
		return nil
	}
	return err
}

// subdirs gives the names of the directories in dir. The kernel tells the kind of each
// entry (d_type), so that none of the files, 20 and more, is looked at.
func subdirs(dir int) []string {
	var names []string
	buf := make([]byte, 8192)
	for {
		n, err := unix.ReadDirent(dir, buf)
		if err == unix.EINTR {
			continue
		}
		if err != nil || n <= 0 {
			return names
		}
		names = appendDirs(buf[:n], names)
	}
}

// Children gives the names of the groups right below g, in no order.
func (g *Group) Children() ([]string, error) {
	list, err := openat(g.fd, ".", unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return nil, g.fail("open", ".", gone(err))
	}
	defer unix.Close(list)
	return subdirs(list), nil
}
