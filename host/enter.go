package host

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"syscall"

	"vserver/guest"
	"vserver/kernel/cgroup"
	"vserver/kernel/pidfd"
)

// inside is a running guest, held so that it cannot be mistaken for another: its
// group and its init.
type inside struct {
	dirs  guest.Dirs
	name  guest.Name
	note  *note
	cg    cgroup.Host
	path  string // of the group
	group *cgroup.Group
	pidfd int
}

// enter finds the init of a running guest. The error is guest.ErrStopped when there
// is none.
func (h *Host) enter(n guest.Name) (*inside, error) {
	cg, err := cgroup.Find()
	if err != nil {
		return nil, err
	}
	g, err := cg.Open(h.group(n))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, h.absent(n)
	}
	if err != nil {
		return nil, err
	}
	in := &inside{dirs: h.Dirs, name: n, cg: cg, path: h.group(n), group: g, pidfd: -1}
	if in.note, err = h.readNote(n); err == nil {
		err = in.findInit()
	}
	if err != nil {
		in.close()
		return nil, err
	}
	return in, nil
}

// findInit opens the init that the note names, and believes it only if it is the
// process it was.
func (in *inside) findInit() error {
	if in.note == nil {
		return guest.ErrStopped
	}
	fd, err := pidfd.Open(in.note.PID)
	if errors.Is(err, syscall.ESRCH) {
		return guest.ErrStopped
	}
	if err != nil {
		return err
	}
	in.pidfd = fd
	began, err := born(in.note.PID)
	if errors.Is(err, fs.ErrNotExist) || err == nil && began != in.note.Began {
		return guest.ErrStopped
	}
	return err
}

func (in *inside) signal(sig syscall.Signal) error { return pidfd.Signal(in.pidfd, sig) }

func (in *inside) close() {
	if in.pidfd >= 0 {
		syscall.Close(in.pidfd)
	}
	in.group.Close()
}

// signalInside sends sig to those of the host's processes members that have one of
// the numbers pids in their own pid namespace.
func signalInside(members, pids []int, sig syscall.Signal) error {
	want := map[int]bool{}
	for _, p := range pids {
		want[p] = true
	}
	for _, m := range members {
		inner, ok := innerPID(m)
		if !ok || !want[inner] {
			continue
		}
		if err := syscall.Kill(m, sig); err != nil && err != syscall.ESRCH {
			return fmt.Errorf("process %d: %w", inner, err)
		}
		delete(want, inner)
	}
	for p := range want {
		return fmt.Errorf("process %d: %w", p, syscall.ESRCH)
	}
	return nil
}

// innerPID gives the number of a process in the innermost pid namespace it is in.
func innerPID(pid int) (int, bool) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, false
	}
	_, rest, ok := bytes.Cut(text, []byte("\nNSpid:"))
	line, _, _ := strings.Cut(string(rest), "\n")
	fields := strings.Fields(line)
	if !ok || len(fields) < 2 {
		return 0, false
	}
	inner, err := strconv.Atoi(fields[len(fields)-1])
	return inner, err == nil
}
