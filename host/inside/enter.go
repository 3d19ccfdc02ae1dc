// Package inside is what is done in a guest that runs: a command executed with the rights
// the guest was started with, a signal sent.
package inside

import (
	"errors"
	"fmt"
	"io/fs"
	"syscall"

	"vserver/guest"
	"vserver/host/state"
	"vserver/kernel/cgroup"
	"vserver/kernel/file"
	"vserver/kernel/pidfd"
)

// Guest is a running guest, held so that it cannot be mistaken for another: its group
// and its init.
type Guest struct {
	Note  *state.Note
	Group *cgroup.Group

	dirs  guest.Dirs
	name  guest.Name
	cg    cgroup.Host
	pidfd int
	leaf  string // the group that a command was born in
}

// Enter finds the init of a running guest. The error is guest.ErrStopped when there is
// none.
func Enter(d guest.Dirs, n guest.Name) (*Guest, error) {
	cg, err := cgroup.Find()
	if err != nil {
		return nil, err
	}
	g, err := cg.Open(d.Group(n))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, state.Absent(d, n)
	}
	if err != nil {
		return nil, err
	}
	in := &Guest{dirs: d, name: n, cg: cg, Group: g, pidfd: -1}
	if in.Note, err = state.ReadNote(d, n); err == nil {
		err = in.findInit()
	}
	if err != nil {
		in.Close()
		return nil, err
	}
	return in, nil
}

// findInit opens the init that the note names, and believes it only if it is the
// process it was. Until that has executed the init it is being started, and its root may
// still be the host's: who entered now would have the host's files before him, and the
// guest his working directory.
func (in *Guest) findInit() error {
	if in.Note == nil {
		return guest.ErrStopped
	}
	fd, err := pidfd.Open(in.Note.PID)
	if errors.Is(err, syscall.ESRCH) {
		return guest.ErrStopped
	}
	if err != nil {
		return err
	}
	in.pidfd = fd
	began, executed, err := state.Look(in.Note.PID)
	if errors.Is(err, fs.ErrNotExist) || err == nil && (began != in.Note.Began || !executed) {
		return guest.ErrStopped
	}
	return err
}

// Signal sends a signal to the init.
func (in *Guest) Signal(sig syscall.Signal) error { return pidfd.Signal(in.pidfd, sig) }

// Close lets go of the guest.
func (in *Guest) Close() {
	if in.pidfd >= 0 {
		syscall.Close(in.pidfd)
	}
	in.Group.Close()
}

// Root opens the root of the guest's init.
func (in *Guest) Root() (*file.Root, error) {
	r, err := file.OpenRoot(fmt.Sprintf("/proc/%d/root", in.Note.PID))
	if ended, gone := in.Ended(); gone != nil || ended { // else it may be another process's
		if err == nil {
			r.Close()
		}
		return nil, errors.Join(gone, guest.ErrStopped)
	}
	if errors.Is(err, fs.ErrNotExist) { // it is ending
		err = guest.ErrStopped
	}
	return r, err
}

// Ended tells whether the guest's init has ended.
func (in *Guest) Ended() (bool, error) { return pidfd.Ended(in.pidfd) }
