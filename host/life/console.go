package life

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"

	"vserver/daemon/proto"
	"vserver/guest"
	"vserver/host/stdio"
	"vserver/kernel/pty"
)

// makeConsole makes what the guest's init has as its standard files, and keeps the
// other end for vserverd.
func (r *Run) makeConsole(context.Context) error {
	switch r.spec.Console.Type {
	case guest.ConsoleLog:
		if r.front {
			return r.makeFront()
		}
		return r.makeLog()
	case guest.ConsoleTTY:
		return nil // made when the guest's devpts is there: see attachConsole
	}
	return r.makeSilence()
}

func (r *Run) makeSilence() error {
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	r.stdio = [3]*os.File{null, null, null}
	if r.visitor != nil {
		r.stdio[0] = r.visitor
	}
	return err
}

// makeLog gives the guest a pipe to write to. It belongs to whom the init runs as, so
// that /dev/stdout can be opened.
func (r *Run) makeLog() error {
	if err := r.makeSilence(); err != nil {
		return err
	}
	read, write, err := os.Pipe()
	if err != nil {
		return err
	}
	r.console = read
	r.stdio[1], r.stdio[2] = write, write
	return write.Chown(int(r.plan.Base+r.plan.UID), int(r.plan.Base+r.plan.GID))
}

// makeFront gives the guest the caller's own standard files, as Exec does.
func (r *Run) makeFront() error {
	var err error
	if r.pumps, err = stdio.Plain(nil, r.files[0], r.files[1]); err != nil {
		return err
	}
	for i, fd := range r.pumps.Child {
		dup, err := syscall.Dup(fd)
		if err != nil {
			return err
		}
		syscall.CloseOnExec(dup)
		r.stdio[i] = os.NewFile(uintptr(dup), "stdio")
	}
	return nil
}

// tell hands the console and the watch over the guest to vserverd. A guest runs
// without it as well, only unwatched, so that a vserverd that cannot start is no
// reason not to start a guest.
func (r *Run) tell(context.Context) error {
	pidfd, err := r.child.Pidfd()
	if err != nil {
		return err
	}
	pid, err := r.child.Forked()
	if err != nil {
		return err
	}
	console := -1
	if r.console != nil {
		console = int(r.console.Fd())
	}
	r.told, err = proto.Tell(r.dirs, proto.Start{
		Name: r.name, InitPID: pid, Console: r.spec.Console.Type,
		LogSize: r.spec.Console.LogSize, Restart: r.spec.Restart,
	}, pidfd, console)
	return r.complain(err)
}

// attachConsole opens the guest's first terminal, /dev/pts/0, to which its
// /dev/console leads.
func (r *Run) attachConsole(devpts int) error {
	master, slave, err := pty.OpenAt(devpts, r.plan.Base)
	if err != nil {
		return fmt.Errorf("console: %w", err)
	}
	r.console, r.stdio = master, [3]*os.File{slave, slave, slave}
	if r.plan.UID != 0 {
		return slave.Chown(int(r.plan.Base+r.plan.UID), -1)
	}
	return nil
}

func (r *Run) closeConsole() error {
	var errs []error
	for _, f := range append(r.stdio[:], r.console) {
		if f != nil {
			if err := f.Close(); err != nil && !errors.Is(err, os.ErrClosed) {
				errs = append(errs, err)
			}
		}
	}
	r.stdio, r.console = [3]*os.File{}, nil
	return errors.Join(errs...)
}
