package cgroup

import (
	"bytes"
	"io/fs"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// Group is one open control group. It keeps naming that group, even when the group
// has been removed and another made under its name.
type Group struct {
	fd   int
	path string // absolute, for errors and Path
	rel  string // below the mount
	tree Hierarchy
}

// FD is the descriptor of the group's directory, as CLONE_INTO_CGROUP wants it. It
// belongs to the group and is valid until Close.
func (g *Group) FD() int { return g.fd }

// Path is where the group is in the host's file system.
func (g *Group) Path() string { return g.path }

// Close gives the descriptor back. The group stays.
func (g *Group) Close() error { return unix.Close(g.fd) }

// Above opens the group above. The error is fs.ErrNotExist for the topmost.
func (g *Group) Above() (*Group, error) {
	if g.rel == "." {
		return nil, g.fail("open", "..", fs.ErrNotExist)
	}
	return g.tree.Open(filepath.Dir(g.rel))
}

// Top opens the topmost group of the hierarchy that we see.
func (g *Group) Top() (*Group, error) { return g.tree.Open(".") }

// Write writes a value to one of the group's files, in a single write.
func (g *Group) Write(file, value string) error {
	if value == "" {
		value = "\n" // what is nothing at all never comes to the kernel's ears
	}
	fd, err := openat(g.fd, file, unix.O_WRONLY|unix.O_NOFOLLOW)
	if err == nil {
		err = retry(func() error {
			_, err := unix.Write(fd, []byte(value))
			return err
		})
		unix.Close(fd)
	}
	return g.fail("write", file, err)
}

// Tasks opens the file of a v1 group that takes the process which writes "0" to it, if
// that has one thread. Unlike cgroup.procs it waits for nobody then (5.5).
func (g *Group) Tasks() (fd int, err error) {
	if fd, err = unix.Openat(g.fd, "tasks", unix.O_WRONLY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0); err != nil {
		return -1, g.fail("open", "tasks", err)
	}
	return fd, nil
}

// Read gives the content of one of the group's files, without the newline at its end.
func (g *Group) Read(file string) (string, error) {
	b, err := readAt(g.fd, file)
	if err != nil {
		return "", g.fail("read", file, err)
	}
	return string(bytes.TrimRight(b, "\n")), nil
}

// Has tells whether the group has a file, as this kernel and its controllers give it.
func (g *Group) Has(file string) (bool, error) {
	err := retry(func() error { return unix.Faccessat(g.fd, file, unix.F_OK, unix.AT_SYMLINK_NOFOLLOW) })
	if err == unix.ENOENT {
		return false, nil
	}
	return err == nil, g.fail("look for", file, err)
}

// Delegate gives the group to a user of the host: the right to make groups below it,
// to move processes about in it and to enable controllers below it, and no right to
// change the group's own limits. These are the files that cgroups(7) names under
// "Cgroup delegation"; those of a v1 hierarchy without controllers are fewer.
func (g *Group) Delegate(uid, gid uint32) error {
	files := []string{".", "cgroup.procs", "cgroup.threads", "cgroup.subtree_control"}
	if !g.tree.V2 {
		files = []string{".", "cgroup.procs", "tasks"}
	}
	for _, file := range files {
		err := retry(func() error {
			return unix.Fchownat(g.fd, file, int(uid), int(gid), unix.AT_SYMLINK_NOFOLLOW)
		})
		if err != nil {
			return g.fail("chown", file, err)
		}
	}
	return nil
}

// fail gives err the operation and the file; nil stays nil.
func (g *Group) fail(op, file string, err error) error {
	if err == nil {
		return nil
	}
	return &fs.PathError{Op: op, Path: filepath.Join(g.path, file), Err: err}
}

// readAt reads the whole of a file. 256 bytes hold every limit, 4 KiB nearly all else: the
// read then takes open, read and close. Who reads for all guests reads often, and what is
// smaller is less to be collected.
func readAt(dir int, file string) ([]byte, error) {
	room := 256
	if strings.HasSuffix(file, "stat") || strings.HasSuffix(file, ".procs") {
		room = 4096
	}
	fd, err := openat(dir, file, unix.O_RDONLY|unix.O_NOFOLLOW)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	return readAll(fd, make([]byte, 0, room))
}

// readAll appends to buf, which is empty, what there is to be read from fd.
func readAll(fd int, buf []byte) ([]byte, error) {
	for {
		if len(buf) == cap(buf) {
			buf = append(buf, 0)[:len(buf)]
		}
		var n int
		err := retry(func() (err error) {
			n, err = unix.Pread(fd, buf[len(buf):cap(buf)], int64(len(buf)))
			return err
		})
		if err != nil {
			return nil, err
		}
		buf = buf[:len(buf)+n]
		// The kernel fills a page as far as lines fit, so with half of it free this is the end.
		if n == 0 || n < cap(buf)/2 && len(buf) == n {
			return buf, nil
		}
	}
}

// value finds key in the text of a flat keyed file such as cgroup.events or memory.stat.
func value(text []byte, key string) ([]byte, bool) {
	for line := range bytes.Lines(text) {
		if k, v, ok := bytes.Cut(bytes.TrimSuffix(line, []byte("\n")), []byte(" ")); ok && string(k) == key {
			return v, true
		}
	}
	return nil, false
}
