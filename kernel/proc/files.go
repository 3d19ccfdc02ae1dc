package proc

import (
	"bufio"
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
)

// Files gives how many files a process has open.
func (d *Dir) Files(pid int) (int, error) {
	dir := filepath.Join(d.path, strconv.Itoa(pid), "fd")
	info, err := os.Stat(dir)
	if err != nil {
		return 0, err
	}
	if n := info.Size(); n > 0 { // Linux 6.2
		return int(n), nil
	}
	names, err := os.ReadDir(dir)
	return len(names), err
}

// LockCount gives how many locks on files there are on this machine, as far as the kernel tells what it
// has allocated (CONFIG_SLUB_DEBUG); fs.ErrNotExist where it does not. /proc/locks would tell as well, in a
// time that grows with the square of their number.
func (d *Dir) LockCount() (int, error) {
	text, err := d.file("slabinfo")
	if err != nil {
		return 0, &fs.PathError{Op: "read", Path: filepath.Join(d.path, "slabinfo"), Err: err}
	}
	return ParseLockCount(text)
}

// ParseLockCount reads /proc/slabinfo, whose lines have the objects in use behind the name.
func ParseLockCount(text []byte) (int, error) {
	for line := range bytes.Lines(text) {
		if words := bytes.Fields(line); len(words) > 1 && string(words[0]) == "file_lock_cache" {
			return strconv.Atoi(string(words[1]))
		}
	}
	return 0, fmt.Errorf("slabinfo: file_lock_cache: %w", fs.ErrNotExist) // one with another cache
}

// LocksOf gives how many locks a process holds on the files that it has open, those of open files
// too. It looks at each of them.
func (d *Dir) LocksOf(pid int) (n int, err error) {
	dir := filepath.Join(d.path, strconv.Itoa(pid), "fdinfo")
	names, err := os.ReadDir(dir)
	for _, name := range names {
		f, err := os.Open(filepath.Join(dir, name.Name()))
		if err != nil {
			continue // closed
		}
		lines := bufio.NewScanner(f)
		for lines.Scan() {
			if bytes.HasPrefix(lines.Bytes(), []byte("lock:")) {
				n++
			}
		}
		f.Close()
	}
	return n, err
}
