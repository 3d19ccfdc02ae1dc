package warm

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// place is where a process is, as the kernel says: what it sees, what holds it and what it is.
type place struct {
	spaces  [8]string // namespaces
	root    node
	program node
	badness string // oom_score_adj
	label   string // of a security module
	groups  string // of cgroup v1 that have controllers
}

// node is a file, as it is now.
type node struct {
	dev, ino     uint64
	size         int64
	sec, nanosec int64 // of its last change
}

// look finds the place of a process by its name in /proc.
func look(process string) (p place, err error) {
	dir := filepath.Join("/proc", process)
	for i, name := range [len(p.spaces)]string{"user", "mnt", "pid", "net", "cgroup", "ipc", "uts", "time"} {
		if p.spaces[i], err = os.Readlink(dir + "/ns/" + name); err != nil {
			return p, err
		}
	}
	root, err := stat(dir + "/root")
	if err != nil {
		return p, err
	}
	p.root = node{dev: root.dev, ino: root.ino} // it is the same whatever is made in it
	if p.program, err = stat(dir + "/exe"); err != nil {
		return p, err
	}
	text, err := os.ReadFile(dir + "/oom_score_adj")
	p.badness = string(bytes.TrimSpace(text))
	if err == nil {
		p.label, err = label(dir)
	}
	if err == nil {
		p.groups, err = groups(dir)
	}
	return p, err
}

func stat(path string) (node, error) {
	var s syscall.Stat_t
	if err := syscall.Stat(path, &s); err != nil {
		return node{}, &fs.PathError{Op: "stat", Path: path, Err: err}
	}
	return node{uint64(s.Dev), s.Ino, s.Size, int64(s.Ctim.Sec), int64(s.Ctim.Nsec)}, nil
}

// label reads what the host's security module calls a process; "" when there is none.
func label(dir string) (string, error) {
	text, err := os.ReadFile(dir + "/attr/current")
	if errors.Is(err, syscall.EINVAL) || errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	return string(text), err
}

// groups gives a process's groups of cgroup v1, which those that it starts inherit. It is born
// into that of v2, and names without a controller hold nobody back.
func groups(dir string) (string, error) {
	text, err := os.ReadFile(dir + "/cgroup")
	var out []byte
	for line := range bytes.Lines(text) {
		parts := bytes.SplitN(line, []byte(":"), 3)
		if len(parts) == 3 && len(parts[1]) > 0 && !bytes.HasPrefix(parts[1], []byte("name=")) {
			out = append(out, line...)
		}
	}
	return string(out), err
}
