// Package proc reads what /proc tells of processes and of the machine.
//
// The parsers take text and trust none of it: a process chooses its own name, and with
// it what stands in its stat and status. Dir reads the files of many processes with one
// buffer and one open directory: about 8 µs for each, nearly all of it the kernel's.
package proc

import (
	"fmt"
	"io/fs"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"
)

// Hertz is how many clock ticks a second has in /proc: USER_HZ, 100 on all
// architectures that we are built for.
const Hertz = 100

// pageSize is the least that a page is on any architecture.
const pageSize = 4096

// Dir is an open /proc. It is not for use by several goroutines at once.
type Dir struct {
	fd   int
	path string
	buf  []byte
}

// Open opens /proc. Close closes it.
func Open() (*Dir, error) {
	const path = "/proc"
	fd, err := openat(unix.AT_FDCWD, path, unix.O_DIRECTORY)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	return &Dir{fd: fd, path: path, buf: make([]byte, pageSize)}, nil
}

// Close gives the descriptor back.
func (d *Dir) Close() error { return unix.Close(d.fd) }

// Stat reads /proc/PID/stat. The error is fs.ErrNotExist when there is no such process.
func (d *Dir) Stat(pid int) (Stat, error) {
	text, err := d.read(pid, "stat")
	if err != nil {
		return Stat{}, err
	}
	st, err := ParseStat(text)
	if err != nil {
		return Stat{}, fmt.Errorf("/proc/%d/stat: %w", pid, err)
	}
	return st, nil
}

// Stats reads the stat of each of the processes, leaving out those that have ended.
func (d *Dir) Stats(pids []int) ([]Stat, error) {
	out := make([]Stat, 0, len(pids))
	for _, pid := range pids {
		st, err := d.Stat(pid)
		if ended(err) {
			continue
		}
		if err != nil {
			return nil, err
		}
		out = append(out, st)
	}
	return out, nil
}

// Status reads /proc/PID/status. The error is fs.ErrNotExist when there is no such
// process.
func (d *Dir) Status(pid int) (Status, error) {
	text, err := d.read(pid, "status")
	if err != nil {
		return Status{}, err
	}
	return ParseStatus(text), nil
}

// PIDs gives all processes that /proc shows.
func (d *Dir) PIDs() ([]int, error) {
	// Another descriptor: the position in a directory belongs to the open file.
	fd, err := openat(d.fd, ".", unix.O_DIRECTORY)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: d.path, Err: err}
	}
	defer unix.Close(fd)
	var pids []int
	buf := make([]byte, 32<<10)
	for {
		n, err := unix.ReadDirent(fd, buf)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return nil, &fs.PathError{Op: "read", Path: d.path, Err: err}
		}
		if n <= 0 {
			return pids, nil
		}
		var names []string
		_, _, names = unix.ParseDirent(buf[:n], -1, names)
		for _, name := range names {
			if pid, err := strconv.Atoi(name); err == nil {
				pids = append(pids, pid)
			}
		}
	}
}

// ended says whether err is that of a process that has ended.
func ended(err error) bool {
	p, ok := err.(*fs.PathError)
	return ok && (p.Err == unix.ENOENT || p.Err == unix.ESRCH)
}

// read reads a file of a process into the buffer of d, which the result lies in.
func (d *Dir) read(pid int, file string) ([]byte, error) {
	name := strconv.Itoa(pid) + "/" + file
	text, err := d.file(name)
	if err == unix.ESRCH { // it ended between open and read
		err = unix.ENOENT
	}
	if err != nil {
		return nil, &fs.PathError{Op: "read", Path: filepath.Join(d.path, name), Err: err}
	}
	return text, nil
}

func (d *Dir) file(name string) ([]byte, error) {
	fd, err := openat(d.fd, name, unix.O_RDONLY)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	for n := 0; ; {
		if n == len(d.buf) {
			d.buf = append(d.buf, make([]byte, len(d.buf))...)
		}
		more, err := unix.Read(fd, d.buf[n:])
		switch {
		case err == unix.EINTR:
			continue
		case err != nil:
			return nil, err
		// The kernel fills a page as far as lines fit, so with half of it free this is the end.
		case more == 0, n == 0 && more < pageSize/2:
			return d.buf[:n+more], nil
		}
		n += more
	}
}

func openat(dir int, name string, flags int) (fd int, err error) {
	for {
		fd, err = unix.Openat(dir, name, flags|unix.O_CLOEXEC, 0)
		if err != unix.EINTR {
			return fd, err
		}
	}
}
