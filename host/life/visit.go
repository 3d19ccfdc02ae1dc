package life

import (
	"context"
	"errors"
	"io"
	"os"
	"syscall"
	"time"

	"vserver/guest"
	"vserver/host/inside"
	"vserver/reaper"
)

// Visit has a guest that is stopped be there while do runs, for commands that are executed
// in it: with its files, namespaces, network, rights and limits, and without its init and its
// hooks. It is gone when do returns, and when this process ends in any way. The error
// is guest.ErrRunning when the guest runs.
func Visit(ctx context.Context, d guest.Dirs, n guest.Name, output io.Writer, do func() error) (err error) {
	// Not a pipe: that could be opened by the guest's root, in /proc, and be kept open.
	ends, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	r, err := Start(ctx, d, n, StartOptions{Output: output, visitor: os.NewFile(uintptr(ends[1]), "visitor")})
	if err != nil {
		syscall.Close(ends[0])
		syscall.Close(ends[1])
		return err
	}
	init, _ := r.child.Forked() // it has
	r.Leave(ctx)
	r.Close()
	defer func() {
		syscall.Close(ends[0]) // somebody who stops it may have the lock, and wait for its end
		gone := Stop(context.WithoutCancel(ctx), d, n, StopOptions{Kill: true, Output: output, init: init})
		if !errors.Is(gone, guest.ErrStopped) { // somebody else stopped it
			err = errors.Join(err, gone)
		}
	}()
	return do()
}

// visitWait bounds how long a guest may be seen stopped and then running: it is between the two.
const visitWait = 2 * time.Second

// Exec runs a command in a guest as inside.Exec does: in one that is stopped by a visit.
func Exec(ctx context.Context, d guest.Dirs, n guest.Name, c inside.Command) (code int, err error) {
	for end := (time.Time{}); ; time.Sleep(time.Millisecond) {
		c.Visit = false
		if code, err = inside.Exec(ctx, d, n, c); !errors.Is(err, guest.ErrStopped) {
			return code, err
		}
		c.Visit = true
		err = Visit(ctx, d, n, c.Stderr, func() (err error) {
			code, err = inside.Exec(ctx, d, n, c)
			return err
		})
		// It may have been started between the two looks, by somebody who took long.
		if end.IsZero() {
			end = time.Now().Add(visitWait)
		}
		if !errors.Is(err, guest.ErrRunning) || time.Now().After(end) {
			return code, err
		}
	}
}

// visited is a run as a visit.
func (r *Run) visited(visitor *os.File) {
	if visitor == nil {
		return
	}
	r.visit, r.visitor = true, visitor
	r.plan.Init.Argv = reaper.Hold()
}
