package proc

import (
	"strconv"

	"golang.org/x/sys/unix"
)

// Tasks are threads, counted as the kernel's load average counts them.
type Tasks struct {
	Running int // on a processor or waiting for one
	Blocked int // in uninterruptible sleep
	All     int
}

// Tasks counts the threads of the processes, leaving out those that have ended.
func (d *Dir) Tasks(pids []int) (t Tasks, err error) {
	for _, pid := range pids {
		st, err := d.Stat(pid)
		if ended(err) {
			continue
		}
		if err != nil {
			return t, err
		}
		if st.Threads <= 1 {
			t.add(st.State)
			continue
		}
		if err := d.threads(pid, &t); err != nil && !ended(err) {
			return t, err
		}
	}
	return t, nil
}

func (t *Tasks) add(state byte) {
	switch state {
	case 'R':
		t.Running++
	case 'D':
		t.Blocked++
	}
	t.All++
}

// threads counts the threads of one process.
func (d *Dir) threads(pid int, t *Tasks) error {
	dir := strconv.Itoa(pid) + "/task"
	fd, err := openat(d.fd, dir, unix.O_DIRECTORY)
	if err != nil {
		return nil // it has ended
	}
	defer unix.Close(fd)
	buf := make([]byte, 8<<10)
	for {
		n, err := unix.ReadDirent(fd, buf)
		if err == unix.EINTR {
			continue
		}
		if err != nil || n <= 0 {
			return nil
		}
		var names []string
		_, _, names = unix.ParseDirent(buf[:n], -1, names)
		for _, name := range names {
			text, err := d.file(dir + "/" + name + "/stat")
			if err != nil {
				continue
			}
			if st, err := ParseStat(text); err == nil {
				t.add(st.State)
			}
		}
	}
}
