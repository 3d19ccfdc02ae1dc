package proc

import (
	"bytes"
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

// Locks gives how many locks on files each process holds or waits for. Those of open files
// (F_OFD_SETLK, see fcntl(2)) are nobody's.
func (d *Dir) Locks() (map[int]int, error) {
	text, err := d.file("locks")
	if err != nil {
		return nil, &fs.PathError{Op: "read", Path: filepath.Join(d.path, "locks"), Err: err}
	}
	return ParseLocks(text), nil
}

// ParseLocks reads /proc/locks, whose lines are like these (proc_locks(5)); the arrow is that of who waits:
//
//	1: POSIX  ADVISORY  WRITE 3568 fd:00:2531452 0 EOF
//	1: -> FLOCK  ADVISORY  WRITE 3570 fd:00:2531452 0 EOF
func ParseLocks(text []byte) map[int]int {
	held := map[int]int{}
	for line := range bytes.Lines(text) {
		words := bytes.Fields(line)
		at := 4
		if len(words) > 1 && string(words[1]) == "->" {
			at++
		}
		if len(words) <= at {
			continue
		}
		if pid, err := strconv.Atoi(string(words[at])); err == nil && pid > 0 {
			held[pid]++
		}
	}
	return held
}
